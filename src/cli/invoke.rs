//! `metagate invoke`: call a function of a running gateway.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde_json::value::RawValue;

use crate::cli::client::Client;
use crate::cli::exit::EXIT_USAGE;
use crate::cli::stderr;

/// Call a function of a running gateway.
#[derive(Debug, Args)]
#[command(long_about = "Call a function of a running gateway and print its result.\n\n\
    Each argument is JSON, so a string needs its double quotes.\n\n\
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
                stderr::print_line(format_args!(
                    "error: argument {argument:?} is not JSON: {error}; a string needs double quotes: '\"{argument}\"'"
                ));
                return Ok(ExitCode::from(EXIT_USAGE));
            }
        }
        let deployment = self.client.deployment(&self.name)?;
        let encode = |part| percent_encoding::utf8_percent_encode(part, percent_encoding::NON_ALPHANUMERIC).to_string();
        let function = self.function.split('/').map(encode).collect::<Vec<_>>().join("/");
        let mut answer = self
            .client
            .post(&format!("{}{function}", deployment.calls()), &format!("[{}]", self.arguments.join(",")))?;
        let mut body = answer.body_mut().as_reader();
        std::io::copy(&mut body, out).context("reading the result")?;
        writeln!(out)?;
        Ok(ExitCode::SUCCESS)
    }
}
