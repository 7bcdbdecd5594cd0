//! `metagate plugin …`: the tools of plugin authors, one file each. This file has the part that they share: the file of a
//! plugin with its settings. None of the tools needs a gateway.

mod bench;
mod inspect;
mod new;
mod test;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};

use crate::cli::compiled;
use crate::config::{self, Faults, PluginConfig, PluginName};
use crate::plugin::cases::{Common, Runner};
use crate::plugin::load::Loader;

/// Factor on the default timeout of a hook, so that a busy machine does not fail a test.
const PATIENCE: u32 = 10;

/// Create, inspect, test and benchmark plugins.
#[derive(Debug, Args)]
#[command(long_about = "Create, inspect, test and benchmark plugins. None of these commands needs a gateway.\n\n\
    Example:\n  metagate plugin new greeter --lang rust\n  metagate plugin test greeter.wasm cases.toml")]
pub(super) struct Plugin {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    New(new::New),
    Inspect(inspect::Inspect),
    Test(test::Test),
    Bench(bench::Bench),
}

impl Plugin {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::New(command) => command.run(out),
            Command::Inspect(command) => command.run(out),
            Command::Test(command) => command.run(out),
            Command::Bench(command) => command.run(out),
        }
    }
}

/// The arguments that name a plugin and its settings.
#[derive(Debug, Args)]
struct Subject {
    /// The plugin: a WebAssembly component.
    file: PathBuf,
    /// Settings file, as for a drop-in: the keys of a `[[plugin]]` table without name and path. Only config, timeout,
    /// max_memory, instances, env and secrets have an effect.
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
}

impl Subject {
    /// The settings of the plugin. A timeout that is not set becomes ten times the default.
    fn settings(&self) -> Result<PluginConfig, Faults> {
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
            settings.timeout = patient.parse().expect("half a second is a time for a hook");
        }
        Ok(settings)
    }

    /// A runner for cases of the plugin.
    fn runner(&self, settings: PluginConfig, common: Common) -> anyhow::Result<Runner> {
        let bytes = Loader::read(&settings).map_err(|error| error.reason)?;
        Runner::new(&compiled::folder(), bytes, settings, common).with_context(|| format!("{}", self.file.display()))
    }
}

/// The name of a plugin's file without its extension, or "plugin" if that is not a valid name.
fn plugin_name(file: &Path) -> PluginName {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    PluginName::new(&stem).unwrap_or_else(|_| PluginName::new("plugin").expect("it has the form"))
}
