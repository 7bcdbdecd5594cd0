//! `metagate upgrade`: have a running gateway replace itself by the program that is on disk now.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use serde::Deserialize;

use crate::cli::client::Client;

/// Replace a running gateway by the program that is on disk now, without losing a call.
#[derive(Debug, Args)]
#[command(
    long_about = "Replace a running gateway by the program that is on disk now, at the path that it was started \
    with, and with the configuration as it is now. The new program takes the listening sockets over once its \
    deployments are loaded; the old one finishes its calls and ends. If the new program does not start, the old one \
    goes on, and this command says why.\n\n\
    Example:\n  metagate upgrade\n\n\
    Exit codes: 0 upgraded, 1 failure: the old program serves."
)]
pub(super) struct Upgrade {
    #[command(flatten)]
    client: Client,
}

#[derive(Deserialize)]
struct Upgraded {
    pid: u32,
    previous: u32,
}

impl Upgrade {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let text = self.client.post("/api/upgrade", "")?.body_mut().read_to_string()?;
        let Upgraded { pid, previous } = serde_json::from_str(&text)?;
        writeln!(out, "process {pid} serves; process {previous} finishes its calls and ends")?;
        Ok(ExitCode::SUCCESS)
    }
}
