//! The table `[plugins]`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use crate::config::values::field;
use crate::config::values::size::{Size, size_within};

const LEAST_MEMORY: u64 = 1 << 20;
const MOST_MEMORY: u64 = 16 << 40;

/// `[plugins]`: settings of all plugins.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct PluginsConfig {
    /// Drop-in folder: every *.wasm in it is loaded as a plugin, in the order of file names, after the plugins of this
    /// file. A `<name>.toml` next to it holds the keys of a `[[plugin]]` table, without "name" and "path". Default:
    /// none.
    #[serde(deserialize_with = "field::path")]
    pub dir: Option<PathBuf>,
    /// Maximum memory of all instances of all plugins together, idle ones included. When it is used up, idle instances
    /// are dropped, and then hook calls that need more are refused: 503 `overloaded`. Of it, each plugin with isolation
    /// = "process" has a share of its own: its max_memory and an equal part of the rest, at most max_memory times
    /// max_instances; the others share what is left. "1MiB" to "16384GiB", and at least the max_memory of each plugin
    /// with isolation = "process" and the largest one of the others together. Default: a quarter of the machine's
    /// memory, at least "256MiB", that sum, and twice the largest max_memory of a plugin.
    #[serde(deserialize_with = "max_memory")]
    #[schemars(range(min = 1_048_576, max = 17_592_186_044_416_u64))]
    pub max_memory: Option<Size>,
}

fn max_memory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Size>, D::Error> {
    size_within::<LEAST_MEMORY, MOST_MEMORY, D>(deserializer).map(Some)
}
