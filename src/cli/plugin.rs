//! `metagate plugin …`: the commands for plugin authors, one file each. `subject` has the arguments that they share: a
//! plugin's file and its settings. None of the commands needs a gateway.

mod bench;
mod inspect;
mod new;
mod subject;
mod test;

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};

/// Create, inspect, test and benchmark plugins.
#[derive(Debug, Args)]
#[command(long_about = "Create, inspect, test and benchmark plugins. None of these commands needs a gateway.\n\n\
    Example:\n  metagate plugin new greeter --lang rust\n  metagate plugin test greeter.wasm cases.toml")]
pub(super) struct Plugin {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    New(new::New),
    Inspect(inspect::Inspect),
    Test(test::Test),
    Bench(bench::Bench),
}

impl Plugin {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::New(command) => command.run(out),
            Command::Inspect(command) => command.run(out),
            Command::Test(command) => command.run(out),
            Command::Bench(command) => command.run(out),
        }
    }
}
