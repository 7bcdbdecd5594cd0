//! The arguments that name a plugin: its file and its settings.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use crate::cli::compiled;
use crate::config::{self, Faults, PluginConfig, PluginName};
use crate::plugin::cases::{Common, Runner};
use crate::plugin::load::Loader;

/// Factor on the default timeout of a hook: a busy machine must not fail a test.
const PATIENCE: u32 = 10;

/// The arguments that name a plugin and its settings.
#[derive(Debug, Args)]
pub(crate) struct Subject {
    /// The plugin: a WebAssembly component.
    pub(crate) file: PathBuf,
    /// Settings file, as for a drop-in: the keys of a `[[plugin]]` table without name and path. Only config, timeout,
    /// max_memory, instances, and the grants env and secrets have an effect.
    #[arg(long, value_name = "FILE.toml")]
    pub(crate) config: Option<PathBuf>,
}

impl Subject {
    /// The settings of the plugin. A timeout that is not set becomes ten times the default.
    pub(crate) fn settings(&self) -> Result<PluginConfig, Faults> {
        let name = plugin_name(&self.file);
        let plain = PluginConfig::plain(name.clone(), self.file.clone());
        let mut settings = match &self.config {
            None => plain.clone(),
            Some(toml) => {
                let (settings, faults) = config::drop_in(toml, name, self.file.clone());
                settings.filter(|_| faults.is_empty()).ok_or(faults)?
            }
        };
        if !settings.locations.has("timeout") {
            let patient = format!("{}ms", (plain.timeout.get() * PATIENCE).as_millis());
            settings.timeout = patient.parse().expect("half a second is a valid timeout");
        }
        Ok(settings)
    }

    /// A runner for cases of the plugin.
    pub(crate) fn runner(&self, settings: PluginConfig, common: Common) -> anyhow::Result<Runner> {
        let bytes = Loader::read(&settings).map_err(|error| error.reason)?;
        Runner::new(&compiled::folder(), bytes, settings, common).with_context(|| format!("{}", self.file.display()))
    }
}

/// The name of a plugin's file without its extension, or "plugin" if that is not a valid name.
pub(crate) fn plugin_name(file: &Path) -> PluginName {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    PluginName::new(&stem).unwrap_or_else(|_| PluginName::new("plugin").expect("\"plugin\" is a valid name"))
}
