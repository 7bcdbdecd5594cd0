//! Why a plugin cannot be loaded.

use crate::config::{self, PluginConfig, PluginName};
use crate::plugin::component::{NotAPlugin, PACKAGE};
use crate::plugin::fault::Fault;

/// Why a plugin was not loaded.
#[derive(Debug, thiserror::Error)]
#[error("plugin {name:?}: {reason}")]
pub struct LoadError {
    /// The plugin.
    pub name: PluginName,
    /// The key of its table that the fault belongs to: `path`, `grants`, `config.rules`; empty for the table itself.
    pub key: String,
    /// The reason.
    pub reason: Reason,
}

/// Why a plugin cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// Its file cannot be read.
    #[error("reading {path}: {cause}")]
    File {
        /// The file.
        path: String,
        /// Why.
        cause: std::io::Error,
    },
    /// The file is not the one that was pinned.
    #[error("the file's SHA-256 is {found}, not the one in sha256")]
    Sha256 {
        /// The file's.
        found: String,
    },
    /// The file is not a plugin.
    #[error(transparent)]
    NotAPlugin(#[from] NotAPlugin),
    /// It imports an interface without a grant.
    #[error("it imports {PACKAGE}/{import}, which it was not granted: add to its table  grants = {{ {toml} }}")]
    NotGranted {
        /// The interface.
        import: String,
        /// The TOML that grants it.
        toml: String,
    },
    /// `hooks` names one that it does not export.
    #[error("it has no hook {hook:?}: it exports {exported}")]
    NoSuchHook {
        /// The hook.
        hook: String,
        /// The hooks that it exports.
        exported: String,
    },
    /// It does not fit the interface.
    #[error("it does not fit {PACKAGE}: {0}")]
    Link(String),
    /// Its configuration does not fit its schema.
    #[error("its configuration: {0}")]
    Schema(String),
    /// Its schema is not a JSON Schema.
    #[error("its config-schema is not a JSON Schema: {0}")]
    BadSchema(String),
    /// It did not start.
    #[error("it {0}")]
    Start(Fault),
    /// The WebAssembly engine does not start.
    #[error("WebAssembly cannot be run: {0}")]
    Engine(String),
    /// The file for its recording cannot be written.
    #[error("its recording: {0}")]
    Record(std::io::Error),
}

impl LoadError {
    /// The fault with its location in the configuration of these plugins.
    #[must_use]
    pub fn fault(&self, plugins: &[PluginConfig]) -> config::Fault {
        let settings = plugins.iter().find(|plugin| plugin.name == self.name);
        config::Fault::new(settings.and_then(|settings| settings.locations.of(&self.key)), self.to_string())
    }

    /// The reason without texts of the plugin itself, which may contain its secrets.
    #[must_use]
    pub fn without_secrets(&self) -> String {
        match &self.reason {
            Reason::Start(Fault::Refused(_)) => "it refused its configuration: the log says why".to_owned(),
            reason => reason.to_string(),
        }
    }

    pub(super) fn of_engine(settings: &PluginConfig, error: &anyhow::Error) -> Self {
        Self { name: settings.name.clone(), key: String::new(), reason: Reason::Engine(format!("{error:#}")) }
    }
}
