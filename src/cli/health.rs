//! `metagate health`: whether a gateway is ready, for health checks of containers.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;

use crate::cli::client::Client;

/// Ask a running gateway whether it is ready.
#[derive(Debug, Args)]
#[command(
    long_about = "Ask a running gateway whether everything that it serves is ready: GET /readyz. With --live, only \
    whether it answers: GET /healthz. Needs no other program, so containers can use it as health check.\n\n\
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
        let is_up = self.client.probe(path)?;
        writeln!(out, "{}{state}", if is_up { "" } else { "not " })?;
        Ok(if is_up { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
