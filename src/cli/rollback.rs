//! `metagate rollback`: an earlier release serves again.

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

/// Bring an earlier release of a deployment back.
#[derive(Debug, Args)]
#[command(
    long_about = "Put an earlier release of a deployment back into service, or a later one: it is loaded while the \
        current one serves \
    and takes its place. Without a number it is the one before the one that serves.\n\n\
    Example:\n  metagate rollback math\n  metagate rollback math 2"
)]
pub(super) struct Rollback {
    /// The deployment.
    #[arg(value_parser = DeploymentName::new)]
    name: DeploymentName,
    /// The release's number, as "metagate releases" shows it.
    release: Option<u64>,
    #[command(flatten)]
    client: Client,
}

impl Rollback {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let started = Instant::now();
        let name = &self.name;
        let progress = Progress::start();
        let _words = Interrupt::watch(&format!(
            "the gateway continues the change; \"metagate inspect {name}\" shows the result"
        ));
        let wanted = match self.release {
            Some(release) => json!({ "release": release }),
            None => json!({}),
        };
        let answer = self.client.post_for_events(&format!("/api/rollback/{name}"), &wanted.to_string())?;
        let outcome = outcome::follow(answer, &progress)?;
        progress.end();
        let Some(deployed) = outcome.report(name)? else { return Ok(ExitCode::FAILURE) };
        let seconds = started.elapsed().as_secs_f64();
        match deployed.release.or(self.release) {
            Some(release) => writeln!(out, "release {release} of {name:?} serves again, after {seconds:.1} s")?,
            None => writeln!(out, "the release of {name:?} before serves again, after {seconds:.1} s")?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
