//! `metagate backup`: a copy of the data folder, also while a gateway uses it.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;

use crate::cli::counted::counted;
use crate::cli::exit::EXIT_CONFIG;
use crate::cli::stderr;
use crate::config;
use crate::queue;
use crate::registry::store::backup::{self, Copied};

/// Copy the data folder, also while a gateway uses it.
#[derive(Debug, Args)]
#[command(long_about = "Copy the data folder of a configuration: every deployment that was made over HTTP with its \
    releases, variables and uploads, and the users that deployments run as. A gateway may use the folder meanwhile: \
    each deployment is copied as it was at one moment, and so are the asynchronous calls. Logs and compiled code are \
    left out. Calls that wait in the copy are made again by a gateway that uses it.\n\n\
    The copy is a data folder. To restore it, stop the gateway and put the copy in the place of data_dir, or set \
    data_dir to it. It holds the variables of deployments, so only its owner can read it.\n\n\
    Run it as the user that the gateway runs as, or as root.\n\n\
    Example:\n  metagate backup --config /etc/metagate/metagate.toml /backup/metagate-2026-11-29\n\n\
    Exit codes: 0 copied, 1 not or with a damaged deployment left out, 78 configuration refused.")]
pub(super) struct Backup {
    /// The configuration file.
    #[arg(short, long, default_value = "metagate.toml")]
    config: PathBuf,
    /// The folder for the copy. It must not exist, or be empty.
    folder: PathBuf,
}

impl Backup {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let config = match config::load(&self.config) {
            Ok(config) => config,
            Err(faults) => {
                stderr::print_line(&faults);
                return Ok(ExitCode::from(EXIT_CONFIG));
            }
        };
        let Copied { deployments, releases, damaged } = backup::copy(&config.server.data_dir, &self.folder)?;
        let (deployments, releases) = (counted(deployments, "deployment"), counted(releases, "release"));
        let calls = queue::backup::copy(&config.server.data_dir, &self.folder)?;
        let calls = calls.map_or_else(String::new, |calls| {
            format!(", {}", counted(usize::try_from(calls).unwrap_or(usize::MAX), "asynchronous call"))
        });
        writeln!(out, "copied {deployments} with {releases}{calls} to {}", self.folder.display())?;
        if !damaged.is_empty() {
            bail!("left out, because no record of theirs can be read: {}", damaged.join(", "));
        }
        Ok(ExitCode::SUCCESS)
    }
}
