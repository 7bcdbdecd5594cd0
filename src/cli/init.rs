//! `metagate init`: writes a configuration for the folders of functions that it finds.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;

use crate::cli::deploy::derived_name;
use crate::cli::nearby::FILE;
use crate::deployment::DeploymentName;
use crate::runtime;

/// Levels of folders below this one that are looked into, and the folders that are listed at most.
const DEPTH: usize = 2;
const FOLDERS: usize = 50;
/// Folders that hold no functions.
const SKIPPED: [&str; 8] = ["node_modules", "__pycache__", "venv", "target", "dist", "plugins", "test", "tests"];

/// Write a metagate.toml for the folders of functions that are here.
#[derive(Debug, Args)]
#[command(
    long_about = "Write a metagate.toml with comments, for the folders of functions that are found: this folder, \
    or those below it, two levels deep. A file that exists is left as it is.\n\n\
    Example:\n  metagate init && metagate serve"
)]
pub(super) struct Init {
    /// The folder.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Print the configuration instead.
    #[arg(long)]
    stdout: bool,
}

/// A folder with functions.
struct Found {
    name: DeploymentName,
    /// Relative to the configuration.
    path: PathBuf,
    language: &'static str,
}

impl Init {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let root = self.folder.canonicalize().with_context(|| format!("{}", self.folder.display()))?;
        if !root.is_dir() {
            bail!("{} is not a folder", self.folder.display());
        }
        let found = find(&root);
        let text = configuration(&found);
        if self.stdout {
            out.write_all(text.as_bytes())?;
            return Ok(ExitCode::SUCCESS);
        }
        let file = self.folder.join(FILE);
        match OpenOptions::new().write(true).create_new(true).open(&file) {
            Ok(mut new) => new.write_all(text.as_bytes()).with_context(|| format!("writing {}", file.display()))?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                bail!("{} exists already: \"metagate init --stdout\" prints what would be written", file.display())
            }
            Err(error) => return Err(error).with_context(|| format!("writing {}", file.display())),
        }
        writeln!(out, "wrote {}", file.display())?;
        if found.is_empty() {
            writeln!(out, "found no functions: add a [[deployment]] for their folder")?;
        }
        for Found { name, path, language } in &found {
            writeln!(out, "  {name}: {} ({language})", path.display())?;
        }
        let named = if self.folder == Path::new(".") { String::new() } else { format!(" {}", file.display()) };
        writeln!(out, "next: metagate serve{named}")?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The folders with functions: the root, else those below it.
fn find(root: &Path) -> Vec<Found> {
    let mut names = BTreeSet::new();
    let mut found = Vec::new();
    let mut folders = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        if found.len() >= FOLDERS {
            break;
        }
        if let Some(language) = runtime::language_of(&folder) {
            let path = folder.strip_prefix(root).unwrap_or(&folder);
            let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
            let text = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            // A name that several folders have is that of the first one.
            // Some names are reserved, such as api.
            if let Ok(name) = derived_name(&text).or_else(|_| derived_name(&format!("my-{text}")))
                && names.insert(name.to_string())
            {
                found.push(Found { name, path: path.to_owned(), language });
            }
            // What is below belongs to it.
            continue;
        }
        if depth < DEPTH {
            folders.extend(below(&folder).into_iter().rev().map(|folder| (folder, depth + 1)));
        }
    }
    found
}

/// The folders in a folder, in order of their names.
fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut paths: Vec<PathBuf> = folders
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            !name.starts_with('.') && !SKIPPED.contains(&name.as_ref())
        })
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
}

fn configuration(found: &[Found]) -> String {
    let mut text = String::from(
        "# The configuration of a metagate gateway, written by \"metagate init\".\n\
         # \"metagate check\" finds faults in it, \"metagate serve\" runs it, \"metagate schema\" lists every key.\n\n\
         [server]\n\
         listen = \"127.0.0.1:9000\"\n\
         prefix = \"local\" # calls: /local/<name>/v1/call/<function>\n\
         # max_body = \"8MiB\"\n\n\
         # [admin]\n\
         # Without a token, \"metagate deploy\" and the rest of the API are for programs of this machine alone.\n\
         # token = \"${env:METAGATE_TOKEN}\"\n\n\
         # [access_log] # a line for each call\n\
         # file = \"access.log\"\n",
    );
    for Found { name, path, language } in found {
        let path = toml::Value::from(path.to_string_lossy().into_owned());
        let name = name.as_str();
        write!(text, "\n[[deployment]] # {language}\nname = \"{name}\"\npath = {path}\n").expect("a text takes text");
        text.push_str(
            "arguments = \"names\" # an object's values go to the parameters of their names\n\
             # workers = 1 # or { min = 1, max = 4 }\n\
             # timeout = \"30s\" # of a call\n\
             # env = { GREETING = \"hello\" }\n",
        );
    }
    if found.is_empty() {
        text.push_str("\n# [[deployment]]\n# name = \"text\"\n# path = \"functions/text\"\n");
    }
    text.push_str(
        "\n# [[route]]\n# path = \"/orders/{id}\"\n# to = \"shop/order\"\n\n\
         # [[plugin]] # metagate plugin new my-plugin --lang rust\n\
         # name = \"my-plugin\"\n\
         # path = \"plugins/my-plugin.wasm\"\n",
    );
    text
}
