//! `metagate rollback`: puts another release that the gateway keeps in service.

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use serde_json::json;

use crate::cli::client::Client;
use crate::cli::deploy::interrupt::Interrupt;
use crate::cli::deploy::outcome;
use crate::cli::deploy::progress::Progress;
use crate::deployment::DeploymentName;

/// Return to an earlier release of a deployment.
#[derive(Debug, Args)]
#[command(
    long_about = "Put another release of a deployment in service, by its number; without a number, the release before \
    the one in service. The current release serves until the other one has loaded.\n\n\
    Example:\n  metagate rollback math\n  metagate rollback math 2"
)]
pub(super) struct Rollback {
    /// The deployment.
    #[arg(value_parser = DeploymentName::new)]
    name: DeploymentName,
    /// The number of the release, as "metagate releases" shows it. Default: the release before the one in service.
    release: Option<u64>,
    /// Which gateways of a cluster to wait for: all, quorum or one. Default: as the gateway's [cluster] says.
    #[arg(long, value_name = "WHICH", value_parser = ["all", "quorum", "one"])]
    wait: Option<String>,
    #[command(flatten)]
    client: Client,
}

impl Rollback {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let started = Instant::now();
        let name = &self.name;
        let progress = Progress::start();
        let _interrupt = Interrupt::watch(&format!(
            "the gateway continues the change; \"metagate inspect {name}\" shows the result"
        ));
        let mut wanted = json!({});
        if let Some(release) = self.release {
            wanted["release"] = release.into();
        }
        if let Some(wait) = self.wait {
            wanted["wait"] = wait.into();
        }
        let answer = self.client.post_for_events(&format!("/api/rollback/{name}"), &wanted.to_string());
        let answer = answer.map_err(|error| self.client.with_known_names(name.as_str(), error))?;
        let outcome = outcome::follow(answer, outcome::DEPLOYED, &progress)?;
        progress.end();
        let Some(deployed) = outcome.report(name)? else { return Ok(ExitCode::FAILURE) };
        let seconds = started.elapsed().as_secs_f64();
        match deployed.release.or(self.release) {
            Some(release) => writeln!(out, "release {release} of {name:?} is in service again, after {seconds:.1} s")?,
            None => writeln!(out, "the previous release of {name:?} is in service again, after {seconds:.1} s")?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
