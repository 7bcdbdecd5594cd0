//! `metagate inspect`: lists the deployments of a running gateway, or shows one in detail.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use crate::cli::client::Client;
use crate::cli::client::deployments::{Deployment, DeploymentError};
use crate::cli::table;

/// Show the deployments of a running gateway.
#[derive(Debug, Args)]
#[command(long_about = "Show the deployments of a running gateway: state, origin and address. With a name, show the \
    functions of that deployment, its labels, and the error if it failed.\n\n\
    Example:\n  metagate inspect\n  metagate inspect text\n  metagate inspect --json")]
pub(super) struct Inspect {
    /// Show this deployment in detail.
    name: Option<String>,
    /// Print the JSON of the gateway's answer, in which the states have MetaCall's names.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: Client,
}

impl Inspect {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        match &self.name {
            Some(name) => {
                let deployment = self.client.deployment(name)?;
                if self.json { self.show_json(out)? } else { show(&deployment, out)? }
            }
            None if self.json => self.show_json(out)?,
            None => list(&self.client, out)?,
        }
        Ok(ExitCode::SUCCESS)
    }

    fn show_json(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let text = self.client.get("/api/inspect")?.body_mut().read_to_string()?;
        let Some(name) = &self.name else {
            writeln!(out, "{text}")?;
            return Ok(());
        };
        let all: Vec<Value> = serde_json::from_str(&text)?;
        for one in all.iter().filter(|one| one["suffix"].as_str() == Some(name)) {
            writeln!(out, "{one}")?;
        }
        Ok(())
    }
}

fn list(client: &Client, out: &mut impl Write) -> anyhow::Result<()> {
    let rows: Vec<_> = client.deployments()?.iter().map(|deployment| row(client, deployment)).collect();
    if rows.is_empty() {
        writeln!(out, "nothing is deployed")?;
        return Ok(());
    }
    table::write(["NAME", "STATUS", "RELEASE", "ORIGIN", "FUNCTIONS", "ADDRESS"], &rows, out)?;
    Ok(())
}

fn row(client: &Client, deployment: &Deployment) -> [String; 6] {
    [
        deployment.suffix.clone(),
        deployment.status.clone(),
        deployment.release.map_or_else(|| "-".to_owned(), |release| release.to_string()),
        deployment.origin.clone().unwrap_or_else(|| "-".to_owned()),
        deployment.functions().count().to_string(),
        client.address(&deployment.calls()),
    ]
}

fn show(deployment: &Deployment, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "{}  {}  {}", deployment.suffix, deployment.status, deployment.calls())?;
    if let Some(release) = deployment.release {
        writeln!(out, "  release {release}")?;
    }
    if let Some(origin) = &deployment.origin {
        writeln!(out, "  origin {origin}")?;
    }
    for (label, value) in &deployment.labels {
        writeln!(out, "  label {label}: {value}")?;
    }
    if let Some(DeploymentError { message, stderr }) = &deployment.error {
        writeln!(out, "  {message}")?;
        for line in stderr.lines() {
            writeln!(out, "  | {line}")?;
        }
    }
    for function in deployment.functions() {
        if function.function["http"] == Value::Bool(true) {
            writeln!(out, "  HTTP requests at {}…  ({})", deployment.requests(), function.script)?;
            continue;
        }
        writeln!(out, "  {}  ({}, {})", signature(function.function), function.language, function.script)?;
    }
    Ok(())
}

/// `async name(a: int, b) -> str`, without the types that the function does not declare.
fn signature(function: &Value) -> String {
    let typed = |name: &str, kind: &Value| match text(kind) {
        "" => name.to_owned(),
        kind => format!("{name}: {kind}"),
    };
    let signature = &function["signature"];
    let arguments: Vec<String> = signature["args"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|argument| typed(text(&argument["name"]), &argument["type"]["name"]))
        .collect();
    let prefix = if function["async"].as_bool() == Some(true) { "async " } else { "" };
    let result = match text(&signature["ret"]["type"]["name"]) {
        "" => String::new(),
        kind => format!(" -> {kind}"),
    };
    format!("{prefix}{}({}){result}", text(&function["name"]), arguments.join(", "))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
