//! `metagate delete`: deletes a deployment with all its releases.

use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::cli::client::Client;
use crate::cli::exit::EXIT_USAGE;
use crate::cli::stderr;
use crate::deployment::DeploymentName;

/// Delete a deployment and all its releases.
#[derive(Debug, Args)]
#[command(
    long_about = "Delete a deployment and all its releases. The gateway accepts no new calls for it, waits for the \
    calls in flight, ends its workers, and removes its files. The command asks for confirmation; without a terminal, \
    --yes is required.\n\n\
    Example:\n  metagate delete math\n  metagate delete math --yes"
)]
pub(super) struct Delete {
    /// The deployment.
    #[arg(value_parser = DeploymentName::new)]
    name: DeploymentName,
    /// Delete without asking for confirmation.
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    client: Client,
}

impl Delete {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let deployment = self.client.deployment(self.name.as_str())?;
        if !self.yes && !std::io::stdin().is_terminal() {
            stderr::print_line(format_args!(
                "error: not deleting {:?} without confirmation: standard input is not a terminal; add --yes",
                self.name
            ));
            return Ok(ExitCode::from(EXIT_USAGE));
        }
        if !self.yes && !self.is_confirmed()? {
            stderr::print_line(format_args!("nothing was deleted"));
            return Ok(ExitCode::FAILURE);
        }
        let request = json!({
            "prefix": deployment.prefix,
            "suffix": deployment.suffix,
            "version": deployment.version,
        });
        self.client.post("/api/deploy/delete", &request.to_string())?;
        writeln!(out, "deleted {:?}", self.name)?;
        Ok(ExitCode::SUCCESS)
    }

    fn is_confirmed(&self) -> std::io::Result<bool> {
        stderr::print_question(format_args!("delete {:?} and all its releases? [y/N] ", self.name));
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line)?;
        Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }
}
