//! `metagate client`: the source of a typed client of a deployment.

use std::fs::{self, Metadata, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use clap::{Args, ValueEnum};
use serde::Deserialize;

use crate::cli::client::Client;
use crate::deployment::check_name;
use crate::describe::client::{self, Subject};

/// Most bytes of the signatures of a deployment.
const MOST: u64 = 256 * 1024 * 1024;
const READING: &str = "reading the gateway's answer";

/// Write a typed client of a deployment's functions.
#[derive(Debug, Args)]
#[command(
    name = "client",
    long_about = "Write the source of a typed client of a deployment: one file, made of the signatures of its \
        functions, without dependencies. TypeScript runs in Node 22 and in browsers, Python from 3.9 on.\n\n\
        Examples:\n  metagate client prices --lang ts --output src/prices.ts\n  \
        metagate client stats --lang python > stats_client.py\n  \
        metagate client https://functions.example.com/local/prices/v1 --lang ts"
)]
pub(super) struct TypedClient {
    /// The deployment: its name, or its address, https://host/<prefix>/<name>/v1.
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
        let (client, path, name) = match place(&self.name)? {
            Some(place) => (self.client.at(place.url), place.path, place.name),
            None => {
                let path = format!("/{}/{}/v1", prefix(&self.client, &self.name)?, self.name);
                (self.client, path, self.name.as_str())
            }
        };
        let subject = subject(&client, &path, name)?;
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

/// Where a deployment is.
struct Place<'a> {
    url: &'a str,
    path: String,
    name: &'a str,
}

/// The parts of the address of a deployment, or of one of its documents; `None` for a name.
fn place(text: &str) -> anyhow::Result<Option<Place<'_>>> {
    if !text.contains('/') {
        return Ok(None);
    }
    let documents = ["/openapi.json", "/signatures.json", "/docs", "/"];
    let address = documents.iter().find_map(|end| text.strip_suffix(end)).unwrap_or(text);
    let mut parts = address.rsplitn(4, '/');
    let mut part = || parts.next().filter(|part| !part.is_empty());
    match (part(), part(), part(), part()) {
        (Some(version), Some(name), Some(prefix), Some(url)) if !url.ends_with(['/', ':']) => {
            Ok(Some(Place { url, path: format!("/{prefix}/{name}/{version}"), name }))
        }
        _ => bail!("{text:?} is no address of a deployment: https://host/<prefix>/<name>/v1"),
    }
}

/// The prefix of a gateway's deployments.
fn prefix(client: &Client, name: &str) -> anyhow::Result<String> {
    #[derive(Deserialize)]
    struct Readiness {
        prefix: String,
    }
    check_name(name).map_err(|error| anyhow!("{name:?} is no name of a deployment: {error}"))?;
    // Not through `get`: the status is 503 while a deployment is not ready.
    let text = client.probe("/readyz")?.body_mut().read_to_string().context(READING)?;
    let readiness = serde_json::from_str::<Readiness>(&text);
    let unknown = || anyhow!("the gateway does not say its prefix: give the address, https://host/<prefix>/{name}/v1");
    Ok(readiness.map_err(|_| unknown())?.prefix)
}

fn subject(client: &Client, path: &str, name: &str) -> anyhow::Result<Subject> {
    let answer = client.get(&format!("{path}/signatures.json")).map_err(|error| {
        if Client::is_denial(&error) {
            let public = "with describe = \"public\" it would to everyone";
            error.context(format!("{name:?} describes itself to those who may use the admin API; {public}"))
        } else {
            client.with_known_names(name, error)
        }
    });
    let text = answer?.body_mut().with_config().limit(MOST).read_to_string().context(READING)?;
    let subject: Subject = serde_json::from_str(&text).context(READING)?;
    if subject.functions.is_empty() {
        bail!("{name:?} has no functions that a client could call: whole HTTP requests have no signature");
    }
    Ok(subject)
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
