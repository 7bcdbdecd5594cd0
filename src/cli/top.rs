//! `metagate top`: the deployments of a running gateway with their figures, as a live table or once.

mod figures;
mod order;
mod screen;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Args;

use crate::cli::client::Client;
use crate::cli::table;
use crate::cli::top::figures::{HEAD, Overview};
use crate::cli::top::order::Order;

/// Show the deployments with their calls, errors, times, memory, live.
#[derive(Debug, Args)]
#[command(
    long_about = "Show the deployments of a gateway with their workers, calls and errors a second, the times that \
    half and 99 % of the calls stay below, calls in flight and queued, memory and processors of the workers: a live \
    table on a terminal, else once.\n\n\
    Keys: q leaves; c, e, t, m and n sort by calls, errors, p99, memory and name; / filters by name; the arrows choose \
    a deployment, whose failure or last call is shown below.\n\n\
    Rates are those of the last ten seconds, times those of the last one to two minutes. With [metrics] off they are \
    missing.\n\n\
    Example:\n  metagate top\n  metagate top --once --sort errors --url http://localhost:9001"
)]
pub(super) struct Top {
    /// Print the table once and end, also on a terminal.
    #[arg(long)]
    once: bool,
    /// What the table is sorted by.
    #[arg(long, value_enum, default_value_t = Order::Calls)]
    sort: Order,
    #[command(flatten)]
    client: Client,
}

impl Top {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let overview = Overview::fetch(&self.client)?;
        if self.once || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            let rows: Vec<_> = overview.sorted(self.sort, "").iter().map(|deployment| deployment.cells()).collect();
            table::write(HEAD, &rows, out)?;
        } else {
            screen::show(self.client, overview, self.sort)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
