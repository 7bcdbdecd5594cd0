//! `metagate diff`: what a folder or a package would change for callers of a deployment.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::cli::client::Client;
use crate::cli::deploy::environment::{Environment, Variable};
use crate::cli::deploy::interrupt::Interrupt;
use crate::cli::deploy::outcome::{self, Outcome};
use crate::cli::deploy::packed::Packed;
use crate::cli::deploy::progress::{Progress, plain};
use crate::cli::deploy::upload;
use crate::cli::exit::EXIT_NOTHING_COMPARED;
use crate::cli::table;
use crate::deployment::DeploymentName;
use crate::describe::difference::{Effect, FunctionChange};

/// Show what a folder would change for callers of a deployment.
#[derive(Debug, Args)]
#[command(
    long_about = "Show what a folder, or a package as a ZIP archive, would change for callers of a deployment. The \
    gateway installs and loads it as a release, compares the signatures of its functions with those of the release in \
    service, and removes it again: calls go on, and nothing is deployed.\n\n\
    A change breaks callers if calls that were right fail afterwards, or have a result of another type: a function \
    that is gone, a new parameter that is required, a narrower type. It is unclear where types say nothing.\n\n\
    The exit code is 1 if a change breaks callers, and 2 if nothing could be compared.\n\n\
    Example:\n  metagate diff math functions/math\n  metagate diff math build/math.zip --json"
)]
pub(super) struct Diff {
    /// The deployment.
    #[arg(value_parser = DeploymentName::new)]
    name: DeploymentName,
    /// The folder, or the package.
    #[arg(value_name = "DIR|ZIP", default_value = ".")]
    path: PathBuf,
    /// Environment variable of the workers; without a value, the value from this command's environment. Repeatable.
    /// Default: the folder's .env, else the variables of the release in service.
    #[arg(long, value_name = "NAME[=VALUE]")]
    env: Vec<Variable>,
    /// File with variables, used instead of the folder's .env.
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// Print the JSON of the gateway's answer.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: Client,
}

/// What the gateway has found.
#[derive(Deserialize, Serialize)]
pub(super) struct Compared {
    suffix: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    release: Option<u64>,
    breaks: bool,
    changes: Vec<FunctionChange>,
}

impl Diff {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let path = self.path.canonicalize().with_context(|| format!("{}", self.path.display()))?;
        let folder = if path.is_dir() { Some(path.as_path()) } else { None };
        let environment = Environment::read(folder, self.env_file.as_deref(), &self.env)?;
        let progress = Progress::start();
        let _interrupt = Interrupt::watch("nothing was deployed");
        // Fails before anything is packed.
        self.client.deployment(self.name.as_str())?;
        let packed = match folder {
            Some(folder) => Packed::of_folder(folder, &self.name, &progress)?,
            None => Packed::of_archive(&path)?,
        };
        if !environment.is_empty() {
            progress.say(&format!("environment: {environment}"));
        }
        let environment = (!environment.is_empty()).then_some(&environment);
        let answer = upload::compare(&self.client, &self.name, packed, environment, &progress)?;
        let outcome = outcome::follow(answer, "compared", &progress)?;
        progress.end();
        let compared: Compared = match outcome {
            Outcome::Done(compared) => compared,
            Outcome::Failed { failed, shown } => {
                outcome::print_failure(&failed, &shown, &format!("the package was not compared with {:?}", self.name));
                return Ok(ExitCode::from(EXIT_NOTHING_COMPARED));
            }
            Outcome::Unknown => bail!("the connection ended before the result; nothing was deployed"),
        };
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&compared)?)?;
        } else {
            show(&compared, out)?;
        }
        Ok(if compared.breaks { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn show(compared: &Compared, out: &mut impl Write) -> std::io::Result<()> {
    let Compared { suffix, release, changes, .. } = compared;
    let of = release.map_or_else(|| format!("{suffix:?}"), |release| format!("{suffix:?}, release {release}"));
    let rows: Vec<_> = changes.iter().map(row).collect();
    if !rows.is_empty() {
        table::write(["EFFECT", "FUNCTION", "CHANGE"], &rows, out)?;
    }
    let breaking = changes.iter().filter(|change| change.effect == Effect::Breaks).count();
    match (changes.len(), breaking) {
        (0, _) => writeln!(out, "nothing changes for callers of {of}"),
        (_, 0) => writeln!(out, "no change breaks callers of {of}"),
        (_, 1) => writeln!(out, "1 change breaks callers of {of}"),
        (_, several) => writeln!(out, "{several} changes break callers of {of}"),
    }
}

fn row(change: &FunctionChange) -> [String; 3] {
    let effect = match change.effect {
        Effect::Breaks => "breaks",
        Effect::Unclear => "unclear",
        Effect::Compatible => "compatible",
    };
    [effect.to_owned(), plain(&change.function), plain(&change.message)]
}
