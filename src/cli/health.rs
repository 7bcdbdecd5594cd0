//! `metagate health`: whether a gateway is ready, for health checks of containers.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use serde::Deserialize;

use crate::cli::client::{Client, GatewayError};

/// Ask a running gateway whether it is ready.
#[derive(Debug, Args)]
#[command(
    long_about = "Ask a running gateway whether everything that it serves is ready: GET /readyz. With --live, only \
    whether it answers: GET /healthz. Says why not. Needs no other program, so containers can use it as health \
    check.\n\n\
    Example:\n  metagate health --url http://127.0.0.1:9000\n\n\
    Exit codes: 0 yes, 1 no, or no answer within 5 s."
)]
pub(super) struct Health {
    /// Ask only whether the gateway answers.
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    client: Client,
}

impl Health {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let (path, state) = if self.live { ("/healthz", "alive") } else { ("/readyz", "ready") };
        let mut answer = self.client.probe(path)?;
        if answer.status().is_success() {
            writeln!(out, "{state}")?;
            return Ok(ExitCode::SUCCESS);
        }
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        let reasons = reasons(&text).unwrap_or_default();
        if reasons.is_empty() {
            writeln!(out, "not {state}: status {}", answer.status())?;
        } else {
            writeln!(out, "not {state}: {}", reasons.join("; "))?;
        }
        Ok(ExitCode::FAILURE)
    }
}

/// The body of `/readyz`, or of an error.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Readiness {
        status: String,
        deployments: Vec<Part>,
        #[serde(default)]
        storage: Vec<String>,
    },
    Error {
        error: GatewayError,
    },
}

#[derive(Deserialize)]
struct Part {
    name: String,
    status: String,
    error: Option<PartError>,
}

#[derive(Deserialize)]
struct PartError {
    message: String,
}

/// Why the gateway is not ready, each reason on one line.
fn reasons(text: &str) -> Option<Vec<String>> {
    let reasons = match serde_json::from_str(text).ok()? {
        Answer::Error { error } => vec![error.message],
        Answer::Readiness { status, .. } if status == "draining" => vec!["the gateway stops".to_owned()],
        Answer::Readiness { deployments, storage, .. } => {
            let parts = deployments.into_iter().filter(|part| part.status != "ready").map(|part| {
                let Part { name, status, error } = part;
                let error = error.map(|error| format!(": {}", error.message)).unwrap_or_default();
                let state = if status == "failed" { "has failed".to_owned() } else { format!("is {status}") };
                format!("{name:?} {state}{error}")
            });
            parts.chain(storage).collect()
        }
    };
    Some(reasons.iter().map(|reason| reason.lines().collect::<Vec<_>>().join(" ")).collect())
}
