//! `metagate releases`: the releases of a deployment that the gateway keeps.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde::Deserialize;

use crate::cli::client::Client;
use crate::cli::table;
use crate::deployment::DeploymentName;

/// Show the releases of a deployment.
#[derive(Debug, Args)]
#[command(
    long_about = "Show the releases of a deployment that the gateway keeps, the newest first. LIVE marks the release \
    in service, and ENV has the names of the variables that were deployed with a release. \"metagate rollback\" puts \
    another release in service.\n\n\
    Example:\n  metagate releases math"
)]
pub(super) struct Releases {
    /// The deployment.
    #[arg(value_parser = DeploymentName::new)]
    name: DeploymentName,
    #[command(flatten)]
    client: Client,
}

/// `GET /api/releases/<name>`.
#[derive(Deserialize)]
struct Kept {
    releases: Vec<Release>,
}

#[derive(Deserialize)]
struct Release {
    release: u64,
    created: String,
    origin: String,
    #[serde(default)]
    source: Option<String>,
    live: bool,
    #[serde(default)]
    env: Vec<String>,
}

impl Releases {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let answer = self.client.get(&format!("/api/releases/{}", self.name));
        let mut answer = answer.map_err(|error| self.client.with_known_names(self.name.as_str(), error))?;
        let kept: Kept =
            serde_json::from_str(&answer.body_mut().read_to_string()?).context("reading the gateway's answer")?;
        let rows: Vec<_> = kept.releases.into_iter().map(row).collect();
        table::write(["RELEASE", "CREATED", "ORIGIN", "LIVE", "ENV"], &rows, out)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn row(release: Release) -> [String; 5] {
    let origin = match release.source {
        Some(source) => format!("{} {source}", release.origin),
        None => release.origin,
    };
    let live = if release.live { "live" } else { "-" };
    let env = if release.env.is_empty() { "-".to_owned() } else { release.env.join(",") };
    [release.release.to_string(), release.created, origin, live.to_owned(), env]
}
