//! The table `[plugins]`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::values::field;

/// `[plugins]`: settings of all plugins.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct PluginsConfig {
    /// Drop-in folder: every *.wasm in it is loaded as a plugin, in the order of file names, after the plugins of this
    /// file. A `<name>.toml` next to it holds the keys of a `[[plugin]]` table, without "name" and "path". Default:
    /// none.
    #[serde(deserialize_with = "field::path")]
    pub dir: Option<PathBuf>,
}
