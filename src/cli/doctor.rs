//! `metagate doctor`: what this machine can do to isolate workers, and what each deployment gets.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::cli::exit::EXIT_CONFIG;
use crate::cli::isolation;
use crate::cli::nearby;
use crate::cli::stderr;
use crate::config::{self, Config, Isolation, RunAs};
use crate::process::tree::Instance;
use crate::process::walls::machine::{Wall, has_user_namespaces};

/// Show how well this machine can isolate workers.
#[derive(Debug, Args)]
#[command(long_about = "Try out every wall that metagate puts around workers on this machine: Landlock, filters of \
    system calls, control groups. Then show which of them each deployment of a configuration gets, and what that means \
    for its functions. Run it as the user that the gateway runs as.\n\n\
    Example:\n  metagate doctor examples/quickstart/metagate.toml\n\n\
    Exit codes: 0 every wall can be put up, 1 some are missing, 78 configuration refused.")]
pub(super) struct Doctor {
    /// The configuration file. Default: metagate.toml, if there is one; otherwise only the machine is shown.
    config: Option<PathBuf>,
}

impl Doctor {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let usual = Some(PathBuf::from(nearby::FILE)).filter(|path| path.is_file());
        let config = match self.config.or(usual).as_deref().map(config::load).transpose() {
            Ok(config) => config,
            Err(faults) => {
                stderr::print_line(&faults);
                return Ok(ExitCode::from(EXIT_CONFIG));
            }
        };
        let walls = Instance::current().walls();
        for wall in &walls {
            let state = if wall.up { "ok" } else { "missing" };
            writeln!(out, "{state:<8} {:<14} {} ({})", wall.name, wall.what, wall.by)?;
        }
        let user_namespaces = if has_user_namespaces() { "yes" } else { "no" };
        writeln!(out, "user namespaces without privileges: {user_namespaces}")?;
        if let Some(config) = config {
            show_deployments(&config, &walls, out)?;
        }
        let complete = walls.iter().all(|wall| wall.up);
        Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn as_user(run_as: Option<&RunAs>) -> String {
    match run_as {
        Some(range @ RunAs::Range { .. }) => format!("; as a user of its own, one of {range}"),
        Some(user) => format!("; as the user {user}"),
        None => String::new(),
    }
}

fn show_deployments(config: &Config, walls: &[Wall], out: &mut impl Write) -> anyhow::Result<()> {
    let missing: Vec<&str> = walls.iter().filter(|wall| !wall.up).map(|wall| wall.name).collect();
    let of = |isolation| match isolation {
        Isolation::None => "none: everything that the gateway's user may".to_owned(),
        Isolation::Standard if missing.is_empty() => "standard: every wall".to_owned(),
        Isolation::Strict => match isolation::missing_for_strict(walls).as_slice() {
            [] => "strict: every wall".to_owned(),
            missing => format!("strict, whose workers do not start without {}", missing.join(", ")),
        },
        Isolation::Standard => format!("standard, without {}", missing.join(", ")),
    };
    writeln!(out)?;
    for deployment in &config.deployments {
        let user = as_user(deployment.run_as.as_ref());
        writeln!(out, "{}: {}{user}", deployment.name, of(deployment.isolation))?;
    }
    let user = as_user(config.deploy.run_as.as_ref());
    writeln!(out, "deployments over HTTP: {}{user}", of(config.deploy.isolation))?;
    let folders: Vec<String> =
        isolation::listed_folders(config).iter().map(|folder| folder.display().to_string()).collect();
    writeln!(
        out,
        "\nFiles that are made or replaced directly in these folders, on the way to something hidden, stay closed to \
         workers that run already: {}",
        folders.join(" ")
    )?;
    for warning in isolation::warnings(config) {
        writeln!(out, "warning: {warning}")?;
    }
    Ok(())
}
