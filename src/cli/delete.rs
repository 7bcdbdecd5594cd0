//! `metagate delete`: deletes a deployment with all its releases.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::cli::client::Client;
use crate::cli::confirmation;
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
        if !self.yes {
            let doing = format!("delete {:?} and all its releases", self.name);
            if let Some(refused) = confirmation::refusal(&doing, "deleted", "--yes")? {
                return Ok(refused);
            }
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
}
