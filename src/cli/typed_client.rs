//! `metagate client`: the source of a typed client of a deployment.

use std::collections::BTreeMap;
use std::fs::{self, Metadata, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde::Deserialize;

use crate::cli::client::Client;
use crate::cli::client::deployments::Deployment;
use crate::deployment::Signature;
use crate::describe::client::{self, Subject};

/// Write a typed client of a deployment's functions.
#[derive(Debug, Args)]
#[command(
    name = "client",
    long_about = "Write the source of a typed client of a deployment: one file, made of the signatures of its \
        functions, without dependencies. TypeScript runs in Node 22 and in browsers, Python from 3.9 on.\n\n\
        Examples:\n  metagate client prices --lang ts --output src/prices.ts\n  \
        metagate client stats --lang python > stats_client.py"
)]
pub(super) struct TypedClient {
    /// The deployment.
    name: String,
    /// The language.
    #[arg(long)]
    lang: Language,
    /// Write into this file, whole or not at all. A file that this command has not made is not replaced.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace whatever file is there.
    #[arg(long, requires = "output")]
    force: bool,
    #[command(flatten)]
    client: Client,
}

/// A language that clients are made in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Language {
    /// TypeScript.
    Ts,
    /// Python.
    Python,
}

impl From<Language> for client::Language {
    fn from(language: Language) -> Self {
        match language {
            Language::Ts => Self::TypeScript,
            Language::Python => Self::Python,
        }
    }
}

impl TypedClient {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let language = client::Language::from(self.lang);
        let deployment = self.client.deployment(&self.name)?;
        let subject = subject(&deployment)?;
        let text = client::module(&subject, language);
        match &self.output {
            None => out.write_all(text.as_bytes())?,
            Some(file) => {
                let wrote = replace(file, &text, &language.mark(), self.force)
                    .with_context(|| format!("writing {}", file.display()))?;
                let said = if wrote { "wrote" } else { "nothing has changed in" };
                writeln!(out, "{said} {}: {} functions", file.display(), subject.functions.len())?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn subject(deployment: &Deployment) -> anyhow::Result<Subject> {
    let Deployment { suffix, status, prefix, version, .. } = deployment;
    let mut functions = BTreeMap::new();
    for function in deployment.functions().filter(|function| !function.takes_requests()) {
        let name = function.function["name"].as_str().unwrap_or_default().to_owned();
        let signature = Signature::deserialize(&function.function["schema"])
            .with_context(|| format!("reading the signature of {name:?}"))?;
        functions.insert(name, signature);
    }
    if functions.is_empty() {
        if deployment.functions().next().is_some() {
            bail!("{suffix:?} takes whole HTTP requests: it has no functions that a client could call");
        }
        bail!("{suffix:?} has no functions: it is {status}");
    }
    let base = format!("/{prefix}/{suffix}/{version}");
    Ok(Subject { name: suffix.clone(), base, release: deployment.release, functions })
}

/// Writes a file through another one in its folder, and says whether it was another before. Without `force` a file
/// that is there must begin with this mark.
fn replace(file: &Path, text: &str, mark: &str, force: bool) -> anyhow::Result<bool> {
    let found = fs::metadata(file).ok();
    if let Some(found) = &found {
        if !found.is_file() {
            bail!("it is there and is no file");
        }
        let old = fs::read(file)?;
        if old == text.as_bytes() {
            return Ok(false);
        }
        if !force && !old.starts_with(mark.as_bytes()) {
            bail!("it is there, and this command has not made it: --force replaces it");
        }
    }
    // A link stays one: what it leads to is replaced.
    let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let name = file.file_name().context("it has no name")?.to_string_lossy().into_owned();
    let new = file.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = write(&new, text, found.as_ref()).and_then(|()| fs::rename(&new, &file));
    if written.is_err() {
        let _absent = fs::remove_file(&new);
    }
    written?;
    Ok(true)
}

/// Writes a new file, with the permissions of the one that it replaces.
fn write(new: &Path, text: &str, old: Option<&Metadata>) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(new)?;
    if let Some(old) = old {
        file.set_permissions(old.permissions())?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
