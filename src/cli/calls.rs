//! `metagate calls`: the asynchronous calls of a gateway.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::cli::client::Client;
use crate::cli::confirmation;
use crate::cli::table;
use crate::deployment::DeploymentName;
use crate::queue::CallId;

/// Show, retry and remove asynchronous calls.
#[derive(Debug, Args)]
#[command(
    long_about = "Show, retry and remove asynchronous calls: those that were made with \"Prefer: respond-async\", and \
    those of schedules.\n\n\
    Example:\n  metagate calls list --deployment shop --state dead\n  metagate calls redrive --deployment shop"
)]
pub(super) struct Calls {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Show(Show),
    Dead(Dead),
    Retry(Retry),
    Cancel(Cancel),
    Redrive(Redrive),
    Purge(Purge),
}

/// List calls, the newest first.
#[derive(Debug, Args)]
struct List {
    /// Those of this deployment.
    #[arg(long, value_parser = DeploymentName::new)]
    deployment: Option<DeploymentName>,
    /// Those of this function.
    #[arg(long)]
    function: Option<String>,
    /// Those in this state.
    #[arg(long)]
    state: Option<StateName>,
    #[command(flatten)]
    page: Page,
    #[command(flatten)]
    client: Client,
}

/// List dead calls, the newest first: those that failed for good.
#[derive(Debug, Args)]
struct Dead {
    /// Those of this deployment.
    #[arg(long, value_parser = DeploymentName::new)]
    deployment: Option<DeploymentName>,
    /// Those of this function.
    #[arg(long)]
    function: Option<String>,
    #[command(flatten)]
    page: Page,
    #[command(flatten)]
    client: Client,
}

/// How much of a list is shown.
#[derive(Debug, Args)]
struct Page {
    /// How many calls are listed.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
    /// Older calls than the list that ended with this number.
    #[arg(long)]
    before: Option<i64>,
    /// Print the gateway's answer as JSON.
    #[arg(long)]
    json: bool,
}

/// Show a call with its result.
#[derive(Debug, Args)]
struct Show {
    /// The id of the call.
    id: CallId,
    #[command(flatten)]
    client: Client,
}

/// Queue a call again that is dead or was cancelled.
#[derive(Debug, Args)]
struct Retry {
    /// The id of the call.
    id: CallId,
    #[command(flatten)]
    client: Client,
}

/// Take a call back that has not ended.
#[derive(Debug, Args)]
struct Cancel {
    /// The id of the call.
    id: CallId,
    #[command(flatten)]
    client: Client,
}

/// Queue all dead calls again.
#[derive(Debug, Args)]
struct Redrive {
    /// Those of this deployment. Default: those of all.
    #[arg(long, value_parser = DeploymentName::new)]
    deployment: Option<DeploymentName>,
    /// Those of this function.
    #[arg(long)]
    function: Option<String>,
    #[command(flatten)]
    client: Client,
}

/// Remove calls that have ended, with their results. All of them only with --all, or after a question.
#[derive(Debug, Args)]
struct Purge {
    /// Those of this deployment. Default: those of all.
    #[arg(long, value_parser = DeploymentName::new)]
    deployment: Option<DeploymentName>,
    /// Those of this function.
    #[arg(long)]
    function: Option<String>,
    /// Those in this state. Default: all that have ended.
    #[arg(long)]
    state: Option<EndName>,
    /// Remove all calls that have ended, of all deployments, without asking for confirmation.
    #[arg(long, conflicts_with_all = ["deployment", "function", "state"])]
    all: bool,
    #[command(flatten)]
    client: Client,
}

/// A state, as it is written.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum StateName {
    Queued,
    Running,
    Done,
    Dead,
    Cancelled,
}

/// A state in which a call has ended.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum EndName {
    Done,
    Dead,
    Cancelled,
}

impl Calls {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::List(List { deployment, function, state, page, client }) => {
                list(&client, [text(deployment), function, state.as_ref().map(name_of)], &page, out)?;
            }
            Command::Dead(Dead { deployment, function, page, client }) => {
                list(&client, [text(deployment), function, Some("dead".to_owned())], &page, out)?;
            }
            Command::Show(Show { id, client }) => {
                let text = client.get(&format!("/api/calls/{id}"))?.body_mut().read_to_string()?;
                write_json(&text, out)?;
            }
            Command::Retry(Retry { id, client }) => {
                client.post(&format!("/api/calls/{id}/retry"), "")?;
                writeln!(out, "call {id} is queued again")?;
            }
            Command::Cancel(Cancel { id, client }) => {
                client.delete(&format!("/api/calls/{id}"))?;
                writeln!(out, "call {id} is cancelled")?;
            }
            Command::Redrive(Redrive { deployment, function, client }) => {
                let count = changed(&client, "redrive", [text(deployment), function, None])?;
                writeln!(out, "{} queued again", counted(count))?;
            }
            Command::Purge(purge) => return purge.run(out),
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Purge {
    fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let Self { deployment, function, state, all, client } = self;
        let wanted = [text(deployment), function, state.as_ref().map(name_of)];
        if !all && wanted.iter().all(Option::is_none) {
            let doing = "remove all calls that have ended, of all deployments";
            if let Some(refused) = confirmation::refusal(doing, "removed", "--all")? {
                return Ok(refused);
            }
        }
        let count = changed(&client, "purge", wanted)?;
        writeln!(out, "{} removed", counted(count))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The deployment, the function and the state of the calls that are meant.
type Wanted = [Option<String>; 3];

fn text(name: Option<DeploymentName>) -> Option<String> {
    name.map(|name| name.to_string())
}

fn name_of<T: ValueEnum>(state: &T) -> String {
    state.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn counted(count: u64) -> String {
    if count == 1 { "1 call is".to_owned() } else { format!("{count} calls are") }
}

/// A query of the names that have a value.
fn query(pairs: &[(&str, Option<String>)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in pairs {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    if query.is_empty() { query } else { format!("?{query}") }
}

/// `POST /api/calls/<change>`: how many calls were changed.
fn changed(client: &Client, change: &str, [deployment, function, state]: Wanted) -> anyhow::Result<u64> {
    let query = query(&[("deployment", deployment), ("function", function), ("state", state)]);
    let text = client.post(&format!("/api/calls/{change}{query}"), "")?.body_mut().read_to_string()?;
    let answer: Value = serde_json::from_str(&text).context("reading the gateway's answer")?;
    Ok(answer["calls"].as_u64().unwrap_or(0))
}

/// `GET /api/calls`.
#[derive(Deserialize)]
struct Listed {
    waiting: u64,
    calls: Vec<Listing>,
    before: Option<i64>,
}

#[derive(Deserialize)]
struct Listing {
    id: String,
    state: String,
    deployment: String,
    function: String,
    tries: u32,
    accepted: String,
    #[serde(default)]
    error: Option<ListedError>,
    #[serde(default)]
    callback_of: Option<String>,
}

#[derive(Deserialize)]
struct ListedError {
    code: String,
    message: String,
}

fn list(
    client: &Client,
    [deployment, function, state]: Wanted,
    page: &Page,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let is_whole = [&deployment, &function, &state].into_iter().all(Option::is_none);
    let query = query(&[
        ("deployment", deployment),
        ("function", function),
        ("state", state),
        ("limit", Some(page.limit.to_string())),
        ("before", page.before.map(|before| before.to_string())),
    ]);
    let text = client.get(&format!("/api/calls{query}"))?.body_mut().read_to_string()?;
    if page.json {
        return write_json(&text, out);
    }
    let listed: Listed = serde_json::from_str(&text).context("reading the gateway's answer")?;
    let rows: Vec<_> = listed.calls.into_iter().map(row).collect();
    table::write(["ID", "STATE", "FUNCTION", "TRIES", "ACCEPTED", "ERROR"], &rows, out)?;
    if let Some(before) = listed.before {
        writeln!(out, "there may be more: --before {before}")?;
    }
    let waiting = listed.waiting;
    // It is the number of all: below a part of them it would be read as one of the part.
    if waiting > 0 && is_whole {
        writeln!(out, "{} not at {} end", counted(waiting), if waiting == 1 { "its" } else { "their" })?;
    }
    Ok(())
}

fn row(listing: Listing) -> [String; 6] {
    let Listing { id, state, deployment, function, tries, accepted, error, callback_of } = listing;
    let kind = if callback_of.is_some() { "callback of " } else { "" };
    let error = error.map_or_else(|| "-".to_owned(), |error| format!("{}: {}", error.code, error.message));
    [id, state, format!("{kind}{deployment}/{function}"), tries.to_string(), accepted, error]
}

fn write_json(text: &str, out: &mut impl Write) -> anyhow::Result<()> {
    // Raw values: numbers of functions stay as they were written.
    let value: std::collections::BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(text).context("reading the gateway's answer")?;
    writeln!(out, "{}", serde_json::to_string_pretty(&value)?)?;
    Ok(())
}
