//! `metagate logs`: the output of a deployment's workers.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use ureq::Body;
use ureq::http::Response;

use crate::cli::client::Client;
use crate::cli::client::events::Events;
use crate::cli::stderr;

/// Show the output of a deployment's workers.
#[derive(Debug, Args)]
#[command(
    long_about = "Show the log of a deployment: the output of its workers, of the installation of its dependencies, \
    and messages of the gateway. Each line has a time, a source (out, err, install or gateway) and a text. With \
    --follow, new lines are shown until the gateway stops.\n\n\
    Example:\n  metagate logs text\n  metagate logs text --follow"
)]
pub(super) struct Logs {
    /// The deployment.
    name: String,
    /// Show new lines as they arrive.
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    client: Client,
}

impl Logs {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let name = percent_encoding::utf8_percent_encode(&self.name, percent_encoding::NON_ALPHANUMERIC);
        if !self.follow {
            let mut answer = self.get(&format!("/api/logs/{name}"))?;
            std::io::copy(&mut answer.body_mut().as_reader(), out)?;
            return Ok(ExitCode::SUCCESS);
        }
        let answer = self.get(&format!("/api/logs/{name}?follow=true"))?;
        for event in Events::new(answer.into_body().into_reader()) {
            writeln!(out, "{}", event?.data)?;
            out.flush()?;
        }
        stderr::print_line(format_args!("the gateway has closed the log"));
        Ok(ExitCode::SUCCESS)
    }

    fn get(&self, path: &str) -> anyhow::Result<Response<Body>> {
        self.client.get(path).map_err(|error| self.client.with_known_names(&self.name, error))
    }
}
