//! `metagate invoke`: call a function of a running gateway.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde_json::value::RawValue;

use crate::cli::EXIT_USAGE;
use crate::cli::client::Client;

/// Call a function of a running gateway.
#[derive(Debug, Args)]
#[command(long_about = "Call a function of a running gateway and print its result.\n\n\
    Each argument is JSON: a text needs its quotes.\n\n\
    Example:\n  metagate invoke text slugify '\"Hello, World\"'\n  metagate invoke stats summarize '[1, 2, 3]'")]
pub(super) struct Invoke {
    /// The deployment.
    name: String,
    /// The function.
    function: String,
    /// The arguments, each as JSON.
    #[arg(value_name = "JSON")]
    arguments: Vec<String>,
    #[command(flatten)]
    client: Client,
}

impl Invoke {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        for argument in &self.arguments {
            if let Err(error) = serde_json::from_str::<&RawValue>(argument) {
                eprintln!(
                    "error: argument {argument:?} is not JSON: {error}; a text needs its quotes: '\"{argument}\"'"
                );
                return Ok(ExitCode::from(EXIT_USAGE));
            }
        }
        let deployments = self.client.deployments()?;
        let deployment = deployments
            .iter()
            .find(|deployment| deployment.suffix == self.name)
            .with_context(|| unknown(&self.name, deployments.iter().map(|deployment| deployment.suffix.as_str())))?;
        let function = percent_encoding::utf8_percent_encode(&self.function, percent_encoding::NON_ALPHANUMERIC);
        let path = format!("/{}/{}/{}/call/{function}", deployment.prefix, deployment.suffix, deployment.version);
        let mut answer = self.client.post(&path, &format!("[{}]", self.arguments.join(",")))?;
        let mut body = answer.body_mut().as_reader();
        std::io::copy(&mut body, out).context("reading the result")?;
        writeln!(out)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Names what there is, for somebody who asked for something else.
pub(super) fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    if known.is_empty() {
        format!("no deployment {name:?}: nothing is deployed")
    } else {
        format!("no deployment {name:?}: there are {}", known.join(", "))
    }
}
