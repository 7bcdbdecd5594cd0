//! `metagate logs`: what a deployment's workers print.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;

use crate::cli::client::Client;
use crate::cli::client::events::Events;
use crate::cli::stderr;

/// Show what a deployment's workers print.
#[derive(Debug, Args)]
#[command(
    long_about = "Show what the workers of a deployment have printed, and with --follow what they print from now \
    on, until the gateway ends. Each line has its time, its source (out, err, install, or gateway for metagate's own \
    words) and its text.\n\n\
    Example:\n  metagate logs text\n  metagate logs text --follow"
)]
pub(super) struct Logs {
    /// The deployment.
    name: String,
    /// Go on with new lines as they come.
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    client: Client,
}

impl Logs {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let name = percent_encoding::utf8_percent_encode(&self.name, percent_encoding::NON_ALPHANUMERIC);
        if !self.follow {
            let mut answer = self.client.get(&format!("/api/logs/{name}"))?;
            std::io::copy(&mut answer.body_mut().as_reader(), out)?;
            return Ok(ExitCode::SUCCESS);
        }
        let answer = self.client.get(&format!("/api/logs/{name}?follow=true"))?;
        for event in Events::new(answer.into_body().into_reader()) {
            writeln!(out, "{}", event?.data)?;
            out.flush()?;
        }
        stderr::print_line(format_args!("the gateway has ended this log"));
        Ok(ExitCode::SUCCESS)
    }
}
