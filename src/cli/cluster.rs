//! `metagate cluster`: how the cluster of a gateway is, and what an operator does about it.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::json;

use crate::cli::client::Client;
use crate::cli::{plain, table};

/// Show the cluster of a running gateway, or do something about it.
#[derive(Debug, Args)]
#[command(long_about = "Show the cluster of a running gateway, or do something about it.\n\n\
    Example:\n  metagate cluster status\n  metagate cluster nodes\n\n\
    Exit codes: 0 done, 1 failure; \"status\": 1 if the cluster's servers do not answer or have lost data.")]
pub(super) struct Cluster {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show whether the NATS servers answer, and how far each gateway has come.
    Status(Of),
    /// Show the gateways that are there.
    Nodes(Of),
    /// Have deploys no longer wait for this gateway, before it is stopped.
    Drain(Drain),
    /// Write back what the NATS servers have lost, from the disk of this gateway.
    Restore(Of),
}

#[derive(Debug, Args)]
struct Of {
    #[command(flatten)]
    client: Client,
}

#[derive(Debug, Args)]
struct Drain {
    /// Have deploys wait for it again.
    #[arg(long)]
    undo: bool,
    #[command(flatten)]
    client: Client,
}

#[derive(Debug, Deserialize)]
struct Status {
    name: String,
    node: String,
    engine: Engine,
    lost: Option<String>,
    #[serde(default)]
    only_here: Vec<String>,
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Engine {
    servers: Vec<String>,
    status: String,
    since: Option<String>,
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Node {
    name: String,
    version: String,
    applied: u64,
    failures: BTreeMap<String, String>,
    drained: bool,
}

#[derive(Debug, Deserialize)]
struct Restored {
    restored: Vec<String>,
    kept: Vec<String>,
    failed: Vec<String>,
}

impl Cluster {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::Status(of) => show_status(&read(&of.client)?, out),
            Action::Nodes(of) => {
                show_nodes(&read(&of.client)?.nodes, out)?;
                Ok(ExitCode::SUCCESS)
            }
            Action::Drain(Drain { undo, client }) => {
                let body = json!({ "drained": !undo }).to_string();
                let text = client.post("/api/cluster/drain", &body)?.body_mut().read_to_string()?;
                let status: Status = serde_json::from_str(&text)?;
                let words = if undo { "wait for it again" } else { "no longer wait for it" };
                writeln!(out, "{}: deploys {words}", plain::plain_line(&status.node))?;
                Ok(ExitCode::SUCCESS)
            }
            Action::Restore(of) => restore(&of.client, out),
        }
    }
}

fn read(client: &Client) -> anyhow::Result<Status> {
    Ok(serde_json::from_str(&client.get("/api/cluster")?.body_mut().read_to_string()?)?)
}

fn show_status(status: &Status, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let Status { name, node, engine, lost, only_here, nodes } = status;
    writeln!(out, "cluster {name}, seen by {node}")?;
    let servers = engine.servers.join(", ");
    match (&engine.since, &engine.reason) {
        (Some(since), reason) => {
            let reason = plain::plain_line(reason.as_deref().unwrap_or("unknown"));
            writeln!(out, "NATS     away since {since}: {reason} ({servers})")?;
        }
        (None, _) => writeln!(out, "NATS     {} ({servers})", engine.status)?,
    }
    if let Some(lost) = lost {
        writeln!(out, "LOST     {lost}")?;
    }
    if !only_here.is_empty() {
        writeln!(out, "only here, deploy again to share: {}", only_here.join(", "))?;
    }
    writeln!(out)?;
    show_nodes(nodes, out)?;
    let is_well = engine.status == "reached" && lost.is_none();
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show_nodes(nodes: &[Node], out: &mut impl Write) -> anyhow::Result<()> {
    let rows: Vec<[String; 5]> = nodes
        .iter()
        .map(|node| {
            let failures: Vec<String> =
                node.failures.iter().map(|(deployment, reason)| format!("{deployment}: {reason}")).collect();
            let drained = if node.drained { "drained" } else { "serves" };
            let applied = node.applied.to_string();
            [node.name.clone(), node.version.clone(), drained.to_owned(), applied, failures.join("; ")]
        })
        .collect();
    table::write(["GATEWAY", "VERSION", "STATE", "REVISION", "NOT IN SERVICE"], &rows, out)?;
    Ok(())
}

fn restore(client: &Client, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let text = client.post("/api/cluster/restore", "")?.body_mut().read_to_string()?;
    let Restored { restored, kept, failed } = serde_json::from_str(&text)?;
    for (what, names) in [("restored", &restored), ("kept as the cluster has them", &kept), ("failed", &failed)] {
        for name in names {
            writeln!(out, "{what}: {}", plain::plain_line(name))?;
        }
    }
    if restored.is_empty() && kept.is_empty() && failed.is_empty() {
        writeln!(out, "this gateway has no deployment of the cluster")?;
    }
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
