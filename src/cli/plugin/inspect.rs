//! `metagate plugin inspect`: shows a plugin's hooks, imports, schema and a table that runs it.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::plugin::subject::{Subject, plugin_name};
use crate::cli::stderr;
use crate::plugin::cases::Common;
use crate::plugin::component::{PACKAGE, Surface, VERSION};

/// Show a plugin's hooks, imports and required grants.
#[derive(Debug, Args)]
#[command(
    long_about = "Show a plugin's hooks, its imports, the JSON Schema of its configuration, its size, its SHA-256, the \
    tools that built it, and a [[plugin]] table that runs it. The grants in the table are examples: replace their \
    values with your own.\n\n\
    Example:\n  metagate plugin inspect plugins/jwt/jwt.wasm\n\n\
    Exit codes: 0 the file is a plugin, 1 it is not a plugin or does not load (the reason is on standard error)."
)]
pub(super) struct Inspect {
    #[command(flatten)]
    subject: Subject,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Inspect {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let settings = match self.subject.settings() {
            Ok(settings) => settings,
            Err(faults) => {
                stderr::print_line(&faults);
                return Ok(ExitCode::FAILURE);
            }
        };
        let runner = self.subject.runner(settings, Common::default())?;
        let schema = runner.config_schema()?.map(|text| match serde_json::from_str(&text) {
            Ok(schema) => schema,
            Err(_) => Value::from(text),
        });
        let table = self.table(runner.surface());
        if self.json {
            self.show_json(runner.surface(), schema.as_ref(), &table, out)?;
        } else {
            self.show(runner.surface(), schema.as_ref(), &table, out)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The `[[plugin]]` table that runs the plugin.
    fn table(&self, surface: &Surface) -> String {
        let path = self.subject.file.to_string_lossy();
        let mut lines = vec![
            "[[plugin]]".to_owned(),
            format!("name   = {}", quoted(plugin_name(&self.subject.file).as_str())),
            format!("path   = {}", quoted(&path)),
            format!("# sha256 = {} # accepts only this file", quoted(&surface.sha256_text())),
        ];
        lines.extend(surface.grants_line());
        if surface.imports.iter().any(|name| name == "config") || surface.lifecycle {
            lines.push("[plugin.config]".to_owned());
        }
        lines.join("\n")
    }

    fn show(
        &self,
        surface: &Surface,
        schema: Option<&Value>,
        table: &str,
        out: &mut impl Write,
    ) -> std::io::Result<()> {
        let listed = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let hooks: Vec<String> = surface.hooks.iter().map(ToString::to_string).collect();
        let lifecycle = if surface.lifecycle { "checks its configuration" } else { "none" };
        let declares = if surface.declarations { "its errors and security schemes" } else { "nothing" };
        for (what, value) in [
            ("file", self.subject.file.display().to_string()),
            ("interface", format!("{PACKAGE}@{VERSION}")),
            ("hooks", hooks.join(", ")),
            ("lifecycle", lifecycle.to_owned()),
            ("declares", declares.to_owned()),
            ("imports", listed(&surface.imports)),
            ("wasi", listed(&surface.wasi)),
            ("made by", listed(&surface.made_by)),
            ("size", format!("{} bytes", surface.size)),
            ("sha256", surface.sha256_text()),
        ] {
            writeln!(out, "{what:<10} {value}")?;
        }
        if let Some(schema) = schema {
            writeln!(out, "\nconfig-schema:\n{schema:#}")?;
        }
        writeln!(out, "\nIn metagate.toml:\n\n{table}")
    }

    fn show_json(
        &self,
        surface: &Surface,
        schema: Option<&Value>,
        table: &str,
        out: &mut impl Write,
    ) -> std::io::Result<()> {
        let object = json!({
            "file": self.subject.file, "interface": format!("{PACKAGE}@{VERSION}"), "hooks": surface.hooks,
            "lifecycle": surface.lifecycle, "declarations": surface.declarations, "imports": surface.imports,
            "wasi": surface.wasi, "made_by": surface.made_by,
            "size": surface.size, "sha256": surface.sha256_text(), "config_schema": schema, "toml": table,
        });
        writeln!(out, "{object}")
    }
}

/// A string literal that is valid in TOML and in JSON.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
