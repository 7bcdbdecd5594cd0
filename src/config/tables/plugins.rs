//! The table `[plugins]`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::values::field;

/// `[plugins]`: what holds for all plugins.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct PluginsConfig {
    /// Drop-in folder: every *.wasm in it is loaded in file-name order, after the plugins of this file. `<name>.toml`
    /// beside it holds the keys of a `[[plugin]]` table, without "name" and "path". Default: none.
    #[serde(deserialize_with = "field::path")]
    pub dir: Option<PathBuf>,
}
