//! Why a plugin cannot be loaded.

use crate::config::{self, PluginConfig, PluginName};
use crate::plugin::component::{NotAPlugin, PACKAGE};
use crate::plugin::fault::Fault;

/// Why a plugin was not loaded.
#[derive(Debug, thiserror::Error)]
#[error("plugin {name:?}: {reason}")]
pub struct LoadError {
    /// The plugin's name.
    pub name: PluginName,
    /// The key of the plugin's table that has the fault: `path`, `grants`, `config.rules`; empty for the table itself.
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
        /// The cause.
        cause: std::io::Error,
    },
    /// The SHA-256 of the file differs from the configured one.
    #[error("the file's SHA-256 is {found}, which differs from sha256")]
    Sha256 {
        /// The SHA-256 of the file.
        found: String,
    },
    /// The file is not a plugin.
    #[error(transparent)]
    NotAPlugin(#[from] NotAPlugin),
    /// It imports an interface without a grant.
    #[error("it imports {PACKAGE}/{import}, which is not granted: add to its table  grants = {{ {toml} }}")]
    NotGranted {
        /// The interface.
        import: String,
        /// The TOML that grants it.
        toml: String,
    },
    /// `hooks` names a hook that it does not export.
    #[error("it has no hook {hook:?}: it exports {exported}")]
    NoSuchHook {
        /// The hook.
        hook: String,
        /// The hooks that it exports.
        exported: String,
    },
    /// Its functions do not have the types of the interface.
    #[error("it does not match {PACKAGE}: {0}")]
    Link(String),
    /// Its configuration does not match its schema.
    #[error("its configuration does not match its schema: {0}")]
    Schema(String),
    /// Its schema is not a JSON Schema.
    #[error("its config-schema is not a JSON Schema: {0}")]
    BadSchema(String),
    /// What it declares about itself is not valid.
    #[error("its declarations are not valid: {0}")]
    BadDeclaration(String),
    /// It did not start.
    #[error("it {}", .0.brief())]
    Start(Fault),
    /// The WebAssembly engine does not start.
    #[error("starting the WebAssembly engine: {0}")]
    Engine(String),
    /// It could not be run in a process of its own.
    #[error("its process {0}")]
    Process(String),
    /// Its own process cannot use it.
    #[error("{text}")]
    Refused {
        /// The reason.
        text: String,
        /// The reason with all that the plugin wrote.
        whole: String,
        /// The reason without texts of the plugin.
        public: String,
    },
    /// The file for its recording cannot be opened.
    #[error("opening its recording: {0}")]
    Record(std::io::Error),
}

impl LoadError {
    pub(super) fn new(settings: &PluginConfig, key: &str, reason: Reason) -> Self {
        Self { name: settings.name.clone(), key: key.to_owned(), reason }
    }

    /// The error as a fault of the configuration, with its location in the tables of `plugins`.
    #[must_use]
    pub fn fault(&self, plugins: &[PluginConfig]) -> config::Fault {
        let settings = plugins.iter().find(|plugin| plugin.name == self.name);
        let message = format!("plugin {:?}: {}", self.name, self.reason.whole());
        config::Fault::new(settings.and_then(|settings| settings.locations.of(&self.key)), message)
    }

    /// The reason without texts of the plugin itself, which may contain its secrets.
    #[must_use]
    pub fn without_secrets(&self) -> String {
        self.reason.without_secrets()
    }

    pub(super) fn of_engine(settings: &PluginConfig, error: &anyhow::Error) -> Self {
        Self::new(settings, "", Reason::Engine(format!("{error:#}")))
    }
}

impl Reason {
    /// The reason with all that the plugin wrote before it trapped: for the log and for its author.
    #[must_use]
    pub fn whole(&self) -> String {
        match self {
            Self::Start(fault) => format!("it {fault}"),
            Self::Refused { whole, .. } => whole.clone(),
            reason => reason.to_string(),
        }
    }

    /// The reason without texts of the plugin itself.
    #[must_use]
    pub fn without_secrets(&self) -> String {
        match self {
            Self::Start(Fault::Refused(_)) => "it refused its configuration: the log has the reason".to_owned(),
            Self::Refused { public, .. } => public.clone(),
            reason => reason.to_string(),
        }
    }
}
