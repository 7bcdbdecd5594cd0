//! The commands, one file each; this file has the parts that they share: arguments, output, exit codes.

mod backup;
mod calls;
mod check;
mod client;
mod cluster;
mod compiled;
mod completions;
mod confirmation;
mod counted;
mod delete;
mod deploy;
mod diff;
mod doctor;
mod exit;
mod explain;
mod health;
mod init;
mod inspect;
mod invoke;
mod isolation;
mod logs;
mod man;
mod nearby;
mod plain;
mod plugin;
mod releases;
mod reload;
mod rollback;
mod schema;
mod serve;
mod stderr;
mod table;
mod top;
mod typed_client;
mod types;
mod upgrade;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Turns folders of functions into HTTP endpoints.
#[derive(Debug, Parser)]
#[command(
    name = "metagate",
    version,
    about,
    long_about = "metagate serves folders of functions over HTTP. Each deployment has its own worker processes, one \
                  unless configured otherwise. The configuration is a TOML file.\n\nExample:\n  metagate serve \
                  examples/quickstart/metagate.toml"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Init),
    Serve(serve::Serve),
    Check(check::Check),
    Doctor(doctor::Doctor),
    Health(health::Health),
    Backup(backup::Backup),
    Explain(explain::Explain),
    Reload(reload::Reload),
    Deploy(deploy::Deploy),
    Diff(diff::Diff),
    Invoke(invoke::Invoke),
    Inspect(inspect::Inspect),
    Logs(logs::Logs),
    Top(top::Top),
    Releases(releases::Releases),
    Rollback(rollback::Rollback),
    Calls(calls::Calls),
    Cluster(cluster::Cluster),
    Delete(delete::Delete),
    Plugin(plugin::Plugin),
    Schema(schema::Schema),
    Client(typed_client::TypedClient),
    Types(types::Types),
    Upgrade(upgrade::Upgrade),
    Completions(completions::Completions),
    Man(man::Man),
}

/// Runs the command that the process's arguments name, and returns the exit code.
#[must_use]
pub fn run() -> ExitCode {
    let mut out = std::io::stdout().lock();
    let command = Cli::parse().command;
    let failure = match command {
        Command::Diff(_) => ExitCode::from(exit::EXIT_NOTHING_COMPARED),
        _ => ExitCode::FAILURE,
    };
    let result = match command {
        Command::Init(command) => command.run(&mut out),
        Command::Serve(command) => command.run(&mut out),
        Command::Check(command) => command.run(&mut out),
        Command::Doctor(command) => command.run(&mut out),
        Command::Health(command) => command.run(&mut out),
        Command::Backup(command) => command.run(&mut out),
        Command::Explain(command) => command.run(&mut out),
        Command::Reload(command) => command.run(&mut out),
        Command::Deploy(command) => command.run(&mut out),
        Command::Diff(command) => command.run(&mut out),
        Command::Invoke(command) => command.run(&mut out),
        Command::Inspect(command) => command.run(&mut out),
        Command::Logs(command) => command.run(&mut out),
        Command::Top(command) => command.run(&mut out),
        Command::Releases(command) => command.run(&mut out),
        Command::Rollback(command) => command.run(&mut out),
        Command::Calls(command) => command.run(&mut out),
        Command::Cluster(command) => command.run(&mut out),
        Command::Delete(command) => command.run(&mut out),
        Command::Plugin(command) => command.run(&mut out),
        Command::Schema(command) => command.run(&mut out),
        Command::Client(command) => command.run(&mut out),
        Command::Types(command) => command.run(&mut out),
        Command::Upgrade(command) => command.run(&mut out),
        Command::Completions(command) => command.run(Cli::command(), &mut out),
        Command::Man(command) => command.run(Cli::command(), &mut out),
    };
    let flushed = out.flush();
    match result {
        Ok(code) => code,
        // The reader closed the pipe early, as `head` does.
        Err(error) if is_broken_pipe(&error) || flushed.is_err() => ExitCode::SUCCESS,
        Err(error) => {
            // It may be the answer of a function.
            stderr::print_line(plain::plain(&format!("error: {error:#}")));
            failure
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}
