//! `metagate deploy`: deploys a local folder to a running gateway. `pack` selects and packs the files, `progress` and
//! `outcome` show the answer of the gateway.

mod detect;
pub(super) mod environment;
mod example;
pub(super) mod interrupt;
pub(super) mod outcome;
mod pack;
pub(super) mod packed;
pub(super) mod progress;
mod project;
pub(super) mod upload;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;

use crate::cli::client::Client;
use crate::cli::deploy::environment::{Environment, Variable};
use crate::cli::deploy::interrupt::Interrupt;
use crate::cli::deploy::packed::Packed;
use crate::cli::deploy::progress::Progress;
use crate::cli::stderr;
use crate::deployment::{BadName, DeploymentName};

/// Deploy a folder to a running gateway.
#[derive(Debug, Args)]
#[command(
    long_about = "Deploy a folder to a running gateway: the folder is packed, uploaded and loaded as a new release. \
The \
    previous release serves until the new one is ready.\n\n\
    These files are left out: those that .gitignore or .metagateignore excludes (the latter has precedence and can \
    include a file again with !), hidden files, node_modules, __pycache__ and virtual environments. The gateway \
    installs \
    the dependencies of package.json and requirements.txt. The variables in the folder's .env are sent, not the \
    file.\n\n\
    Example:\n  metagate deploy functions/math\n  metagate deploy . --name math --env GREETING=hello --env-file \
    production.env\n  metagate deploy functions/math --check-compat"
)]
pub(super) struct Deploy {
    /// The folder.
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// The deployment's name. Default: derived from the name of the folder.
    #[arg(long, value_parser = DeploymentName::new)]
    name: Option<DeploymentName>,
    /// Environment variable of the workers; without a value, the value from this command's environment. Repeatable.
    #[arg(long, value_name = "NAME[=VALUE]")]
    env: Vec<Variable>,
    /// File with variables, used instead of the folder's .env.
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// Refuse the release if it breaks callers of the one in service: a function that is gone, a new parameter that is
    /// required, a narrower type.
    #[arg(long)]
    check_compat: bool,
    /// With --check-compat: deploy such a release all the same, and show what breaks.
    #[arg(long, requires = "check_compat")]
    force: bool,
    /// Which gateways of a cluster to wait for: all, quorum or one. Default: as the gateway's [cluster] says.
    #[arg(long, value_name = "WHICH", value_parser = ["all", "quorum", "one"])]
    wait: Option<String>,
    #[command(flatten)]
    client: Client,
}

impl Deploy {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let started = Instant::now();
        let folder = self.folder.canonicalize().with_context(|| format!("{}", self.folder.display()))?;
        if !folder.is_dir() {
            bail!("{} is not a folder", self.folder.display());
        }
        let name = match &self.name {
            Some(name) => name.clone(),
            None => name_of(&folder)?,
        };
        let environment = Environment::read(Some(&folder), self.env_file.as_deref(), &self.env)?;
        let progress = Progress::start();
        let interrupt = Interrupt::watch("nothing was deployed");
        self.check_gateway(&name)?;

        let packed = Packed::of_folder(&folder, &name, &progress)?;
        let workspace = packed.workspace.clone();
        if !environment.is_empty() {
            progress.say(&format!("environment: {environment}"));
        }
        upload::send(&self.client, &name, packed, &progress)?;

        interrupt.now(&format!("the gateway continues the change; \"metagate inspect {name}\" shows the result"));
        let request = json!({
            "suffix": name,
            "resourceType": "Package",
            "release": "",
            "env": environment.to_json(),
            "plan": "Essential",
            "version": "v1",
            "check_compat": self.check_compat,
            "force": self.force,
            "wait": self.wait,
        });
        let answer = self.client.post_for_events("/api/deploy/create", &request.to_string())?;
        let outcome = outcome::follow(answer, outcome::DEPLOYED, &progress)?;
        progress.end();
        let Some(deployed) = outcome.report(&name)? else {
            if let Some(warning) = workspace {
                stderr::print_line(format_args!("note: {warning}"));
            }
            return Ok(ExitCode::FAILURE);
        };
        let seconds = started.elapsed().as_secs_f64();
        match deployed.release {
            Some(release) => writeln!(out, "deployed {name:?}, release {release}, in {seconds:.1} s")?,
            None => writeln!(out, "deployed {name:?} in {seconds:.1} s")?,
        }
        example::show(&self.client, &name, out)?;
        Ok(ExitCode::SUCCESS)
    }

    /// Fails before anything is packed if the gateway is not reachable, the token is wrong, or the name belongs to the
    /// configuration.
    fn check_gateway(&self, name: &DeploymentName) -> anyhow::Result<()> {
        let deployments = self.client.deployments()?;
        let there = deployments.iter().find(|deployment| deployment.suffix == name.as_str());
        if there.is_some_and(|there| there.origin.as_deref() == Some("toml")) {
            bail!("{name:?} belongs to the gateway's configuration: choose another name with --name");
        }
        Ok(())
    }
}

/// The name of the folder as a deployment's name: each run of other characters becomes a dash.
fn name_of(folder: &Path) -> anyhow::Result<DeploymentName> {
    let text = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = derived_name(&text).map_err(|error| {
        anyhow::anyhow!("the folder name {text:?} cannot be made a deployment's name ({error}): use --name")
    })?;
    if name.as_str() != text {
        stderr::print_line(format_args!("deploying {text:?} as {:?}", name.as_str()));
    }
    Ok(name)
}

/// The name of a folder as that of a deployment: without the characters that such a name cannot have.
pub(super) fn derived_name(folder: &str) -> Result<DeploymentName, BadName> {
    let mut name = String::new();
    for character in folder.chars() {
        let goes_on = name.ends_with(|last: char| last.is_ascii_alphanumeric());
        match character {
            'A'..='Z' | 'a'..='z' | '0'..='9' => name.push(character),
            '.' | '_' | '-' if goes_on => name.push(character),
            _ if goes_on => name.push('-'),
            _ => {}
        }
    }
    name.truncate(64);
    DeploymentName::new(name.trim_end_matches(['.', '_', '-']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_name_becomes_a_deployments_name() {
        for (folder, name) in [
            ("/srv/math", "math"),
            ("/srv/My App (2)", "My-App-2"),
            ("/srv/_private.", "private"),
            ("/srv/größe", "gr-e"),
            ("/srv/a..b", "a.b"),
            ("/srv/v1.2_rc-1", "v1.2_rc-1"),
        ] {
            assert_eq!(name_of(Path::new(folder)).unwrap().as_str(), name);
        }
        assert_eq!(name_of(Path::new(&format!("/{}", "x".repeat(80)))).unwrap().as_str().len(), 64);
        for folder in ["/", "/srv/äöü", "/srv/api", "/srv/..."] {
            let error = name_of(Path::new(folder)).unwrap_err().to_string();
            assert!(error.contains("use --name"), "{error}");
        }
    }
}
