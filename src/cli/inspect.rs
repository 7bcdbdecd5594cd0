//! `metagate inspect`: lists the deployments of a running gateway, or shows one in detail.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use crate::cli::client::Client;
use crate::cli::client::deployments::{AsyncLimits, Deployment, DeploymentError, Schedule};
use crate::cli::table;
use crate::describe::words;

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
        client.address(&deployment.main_address()),
    ]
}

fn show(deployment: &Deployment, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "{}  {}  {}", deployment.suffix, deployment.status, deployment.main_address())?;
    if let Some(release) = deployment.release {
        writeln!(out, "  release {release}")?;
    }
    if let Some(origin) = &deployment.origin {
        writeln!(out, "  origin {origin}")?;
    }
    for (label, value) in &deployment.labels {
        writeln!(out, "  label {label}: {value}")?;
    }
    for Schedule { name, function, times, next } in &deployment.schedules {
        let next = next.first().map_or("never", String::as_str);
        writeln!(out, "  schedule {name}: {function} {times}, next {next}")?;
    }
    if let Some(AsyncLimits { table, limits }) = &deployment.async_limits {
        let limits: Vec<String> = limits.iter().map(|(key, value)| format!("{key} {value}")).collect();
        writeln!(out, "  async {} ({table})", limits.join(", "))?;
    }
    for warning in &deployment.warnings {
        writeln!(out, "  warning: {warning}")?;
    }
    if let Some(DeploymentError { message, stderr }) = &deployment.error {
        writeln!(out, "  {message}")?;
        for line in stderr.lines() {
            writeln!(out, "  | {line}")?;
        }
    }
    for function in deployment.functions() {
        if function.takes_requests() {
            writeln!(out, "  HTTP requests at {}…  ({})", deployment.requests(), function.script)?;
            continue;
        }
        writeln!(out, "  {}  ({}, {})", signature(function.function), function.language, function.script)?;
    }
    Ok(())
}

/// `async name(a: int, b?: string) -> str`, without the types that nobody knows. Types have their name in the language,
/// or what their JSON Schema says.
fn signature(function: &Value) -> String {
    let (named, schema) = (&function["signature"], &function["schema"]);
    let parameters = schema["parameters"].as_array().into_iter().flatten().enumerate().map(|(at, parameter)| {
        let mark = match text(&parameter["kind"]) {
            "rest" => "*",
            "rest-by-name" => "**",
            _ => "",
        };
        let optional = if parameter["required"] == Value::Bool(false) && mark.is_empty() { "?" } else { "" };
        // Languages may list further arguments, so names are compared.
        let argument = named["args"].get(at).filter(|argument| argument["name"] == parameter["name"]);
        let kind = argument.map_or("", |argument| text(&argument["type"]["name"]));
        let kind = type_text(kind, &parameter["schema"]);
        format!("{mark}{}{optional}{}", text(&parameter["name"]), prefixed(": ", &kind))
    });
    let parameters: Vec<String> = parameters.collect();
    let prefix = if function["async"].as_bool() == Some(true) { "async " } else { "" };
    let result = match (text(&named["ret"]["type"]["name"]), schema.get("items")) {
        ("", Some(items)) => format!("stream of {}", or_anything(&words::of_schema(items))),
        (name, _) => type_text(name, &schema["returns"]),
    };
    format!("{prefix}{}({}){}", text(&function["name"]), parameters.join(", "), prefixed(" -> ", &result))
}

fn prefixed(prefix: &str, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{prefix}{text}") }
}

/// A type by its name in the language; without one, what is known from its schema.
fn type_text(name: &str, schema: &Value) -> String {
    if name.is_empty() { words::of_schema(schema) } else { words::shortened(name) }
}

fn or_anything(text: &str) -> &str {
    if text.is_empty() { "anything" } else { text }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_signature_has_names_marks_and_types() {
        let unknown = json!({"name": "", "id": 20});
        let function = json!({"name": "order", "async": true,
            "signature": {"ret": {"type": unknown}, "args": [{"name": "id", "type": {"name": "UUID", "id": 20}}]},
            "schema": {"parameters": [
                {"name": "id", "kind": "positional", "required": true, "schema": {"type": "string"}},
                {"name": "size", "kind": "positional", "required": false, "schema": {"enum": ["s", "m"]}},
                {"name": "tags", "kind": "keyword-only", "required": true,
                    "schema": {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "null"}]}}},
                {"name": "rest", "kind": "rest", "required": false, "schema": {}},
                {"name": "more", "kind": "rest-by-name", "required": false, "schema": {}}],
                "returns": {"$ref": "#/$defs/Order"}}});
        assert_eq!(
            signature(&function),
            r#"async order(id: UUID, size?: "s" | "m", tags: (string | null)[], *rest, **more) -> Order"#
        );
        assert_eq!(signature(&json!({"name": "f"})), "f()");
        let stream = |items: Value| signature(&json!({"name": "f", "schema": {"returns": {}, "items": items}}));
        assert_eq!(stream(json!({"type": "integer"})), "f() -> stream of integer");
        assert_eq!(stream(json!({})), "f() -> stream of anything");
    }
}
