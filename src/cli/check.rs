//! `metagate check`: read everything that serve would, start nothing.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::config::{self, Config, Fault, Faults};
use crate::gateway::deploy::{self, Refusal};
use crate::runtime::RuntimeError;
use crate::runtime::scripts::WorkerScripts;

/// Check a configuration without starting anything.
#[derive(Debug, Args)]
#[command(long_about = "Read everything that serve would read: the configuration, each deployment's folder, its \
    metacall.json and scripts, and whether its runtime is installed. Starts nothing and writes nothing.\n\n\
    Prints each fault with file, line and column, all of them at once.\n\n\
    Example:\n  metagate check examples/quickstart/metagate.toml\n\n\
    Exit codes: 0 no fault, 1 faults.")]
pub(super) struct Check {
    /// The configuration.
    #[arg(default_value = "metagate.toml")]
    config: PathBuf,
}

impl Check {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let config = match config::load(&self.config) {
            Ok(config) => config,
            Err(faults) => {
                eprintln!("{faults}");
                return Ok(ExitCode::FAILURE);
            }
        };
        let faults = deployment_faults(&config);
        if !faults.is_empty() {
            eprintln!("{faults}");
            return Ok(ExitCode::FAILURE);
        }
        writeln!(out, "{}: {} deployments, no faults", self.config.display(), config.deployments.len())?;
        Ok(ExitCode::SUCCESS)
    }
}

fn deployment_faults(config: &Config) -> Faults {
    // The worker scripts are part of the binary; only where they would be written is needed here.
    let scripts = WorkerScripts::in_place(&config.server.data_dir);
    let mut faults = Faults::default();
    for deployment in &config.deployments {
        if let Err(refusal) = deploy::prepare(deployment, &scripts) {
            let message = format!("deployment {:?}: {refusal}", deployment.name);
            let key = match &refusal {
                Refusal::Runtime(RuntimeError::Program(error)) => error.key(),
                Refusal::Runtime(_) | Refusal::Source(_) => "path",
            };
            let place = deployment.places.of(key).or_else(|| deployment.places.of("path"));
            faults.push(Fault::new(place, message));
        }
    }
    faults
}
