//! `metagate logs`: the output of a deployment's workers.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::io::Write;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Args;
use ureq::Body;
use ureq::http::Response;

use crate::cli::client::Client;
use crate::cli::client::events::Events;
use crate::cli::stderr;

/// Lines that are known as shown: more than a gateway keeps of a log, unless they are very short.
const SHOWN: usize = 20_000;
/// How often the log may end in a row without a new line.
const IN_VAIN: u32 = 20;
/// The time before it is asked for again.
const PAUSE: Duration = Duration::from_millis(200);

/// Show the output of a deployment's workers.
#[derive(Debug, Args)]
#[command(
    long_about = "Show the log of a deployment: the output of its workers, of the installation of its dependencies, \
    and messages of the gateway. Each line has a time, a source (out, err, install or gateway) and a text. With \
    --follow, new lines are shown until the gateway stops; an upgrade does not end them.\n\n\
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

/// The last lines that were shown.
#[derive(Default)]
struct Shown {
    hasher: RandomState,
    digests: HashSet<u64>,
    /// The same, the oldest first.
    order: VecDeque<u64>,
}

impl Shown {
    /// Adds a line. Returns false if it was shown before. Lines have the time in them, so that two are rarely the same.
    fn add(&mut self, line: &str) -> bool {
        let digest = self.hasher.hash_one(line);
        if !self.digests.insert(digest) {
            return false;
        }
        self.order.push_back(digest);
        if self.order.len() > SHOWN
            && let Some(oldest) = self.order.pop_front()
        {
            self.digests.remove(&oldest);
        }
        true
    }
}

impl Logs {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let name = percent_encoding::utf8_percent_encode(&self.name, percent_encoding::NON_ALPHANUMERIC);
        if !self.follow {
            let mut answer = self.get(&format!("/api/logs/{name}"))?;
            std::io::copy(&mut answer.body_mut().as_reader(), out)?;
            return Ok(ExitCode::SUCCESS);
        }
        let path = format!("/api/logs/{name}?follow=true");
        let mut shown = Shown::default();
        let mut answer = self.get(&path)?;
        let mut in_vain = 0;
        while in_vain < IN_VAIN {
            in_vain += 1;
            for event in Events::new(answer.into_body().into_reader()) {
                let line = event?.data;
                if shown.add(&line) {
                    in_vain = 0;
                    writeln!(out, "{line}")?;
                    out.flush()?;
                }
            }
            // After an upgrade another process serves at this address, and shows the lines that it has kept.
            thread::sleep(PAUSE);
            let Ok(again) = self.client.get(&path) else { break };
            answer = again;
        }
        stderr::print_line(format_args!("the gateway has closed the log"));
        Ok(ExitCode::SUCCESS)
    }

    fn get(&self, path: &str) -> anyhow::Result<Response<Body>> {
        self.client.get(path).map_err(|error| self.client.with_known_names(&self.name, error))
    }
}
