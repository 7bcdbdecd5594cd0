//! `metagate inspect`: what a running gateway serves.

use std::io::Write;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use serde_json::Value;

use crate::cli::client::{Client, Deployment};
use crate::cli::invoke::unknown;

/// Show what a running gateway serves.
#[derive(Debug, Args)]
#[command(long_about = "Show the deployments of a running gateway: their state, addresses and functions.\n\n\
    Example:\n  metagate inspect\n  metagate inspect text\n  metagate inspect --json")]
pub(super) struct Inspect {
    /// Only this deployment.
    name: Option<String>,
    /// Print the gateway's own JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: Client,
}

impl Inspect {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        if self.json && self.name.is_none() {
            let text = self.client.get("/api/inspect")?.body_mut().read_to_string()?;
            writeln!(out, "{text}")?;
            return Ok(ExitCode::SUCCESS);
        }
        let deployments = self.client.deployments()?;
        let shown: Vec<&Deployment> = deployments
            .iter()
            .filter(|deployment| self.name.as_ref().is_none_or(|name| deployment.suffix == *name))
            .collect();
        if let (Some(name), true) = (&self.name, shown.is_empty()) {
            bail!("{}", unknown(name, deployments.iter().map(|deployment| deployment.suffix.as_str())));
        }
        if self.json {
            let text = self.client.get("/api/inspect")?.body_mut().read_to_string()?;
            let all: Vec<Value> = serde_json::from_str(&text)?;
            for one in all.iter().filter(|one| one["suffix"].as_str() == self.name.as_deref()) {
                writeln!(out, "{one}")?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        for deployment in shown {
            show(deployment, out)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn show(deployment: &Deployment, out: &mut impl Write) -> std::io::Result<()> {
    let Deployment { status, prefix, suffix, version, packages, error } = deployment;
    writeln!(out, "{suffix}  {status}  /{prefix}/{suffix}/{version}/call/")?;
    if let Some(error) = error {
        writeln!(out, "  {}", error.message)?;
        for line in error.stderr.lines() {
            writeln!(out, "  | {line}")?;
        }
    }
    for (language, handles) in packages.as_object().into_iter().flatten() {
        for handle in handles.as_array().into_iter().flatten() {
            for function in handle["scope"]["funcs"].as_array().into_iter().flatten() {
                writeln!(out, "  {}  ({language}, {})", signature(function), text(&handle["name"]))?;
            }
        }
    }
    Ok(())
}

/// `async name(a: int, b) -> str`, as far as the language says.
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
