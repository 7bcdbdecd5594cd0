//! `metagate check`: validate a configuration without starting anything.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::cli::compiled;
use crate::cli::isolation;
use crate::cli::stderr;
use crate::config::{self, Config, DeploymentConfig, Fault, Faults, RuntimeKind, StaticFiles};
use crate::gateway::plan::{PlanError, plan_workers};
use crate::runtime::RuntimeError;
use crate::runtime::scripts::WorkerScripts;

/// Check a configuration without starting anything.
#[derive(Debug, Args)]
#[command(long_about = "Read everything that serve reads: the configuration, the folder of each deployment with its \
    metacall.json and scripts, the program of its runtime, and the file, grants and configuration of each plugin. \
    Plugins that check their own configuration do so. Starts no worker and no listener.\n\n\
    Reports all faults, each with file, line and column.\n\n\
    Example:\n  metagate check examples/quickstart/metagate.toml\n\n\
    Exit codes: 0 no fault, 1 faults.")]
pub(super) struct Check {
    /// The configuration file.
    #[arg(default_value = "metagate.toml")]
    config: PathBuf,
}

impl Check {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let (config, mut faults) = config::survey(&self.config);
        let deployments = config.as_ref().map_or(0, |config| config.deployments.len());
        let mut plugins = 0;
        if let Some(config) = config {
            plugins = add_plugin_faults(&config, &mut faults);
            let unsettled = add_deployment_faults(&config, &mut faults);
            if faults.is_empty() && !unsettled.is_empty() {
                warn_of_names(&unsettled);
            }
            if faults.is_empty() {
                for (key, reason) in isolation::obstacles_of_deploys(&config) {
                    faults.push(Fault::new(config.locations.of(&format!("deploy.{key}")), reason));
                }
            }
            for warning in config::route_warnings(&config).into_iter().chain(missing_folders(&config)) {
                stderr::print_line(format_args!("warning: {warning}"));
            }
            for warning in isolation::warnings(&config) {
                stderr::print_line(format_args!("warning: {warning}"));
            }
        }
        if !faults.is_empty() {
            stderr::print_line(&faults);
            return Ok(ExitCode::FAILURE);
        }
        let plugins = if plugins == 0 { String::new() } else { format!(", {}", counted(plugins, "plugin")) };
        let deployments = counted(deployments, "deployment");
        writeln!(out, "{}: {deployments}{plugins}, no faults", self.config.display())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Folders of static files that do not exist. They may be made later, by a build or by the functions.
fn missing_folders(config: &Config) -> Vec<String> {
    let missing = config.deployments.iter().filter_map(|deployment| match &deployment.static_files {
        StaticFiles::Folder(part) if !deployment.path.join(part).is_dir() => Some((deployment, part)),
        _ => None,
    });
    let warning = |(deployment, part): (&DeploymentConfig, &PathBuf)| {
        let place = deployment.locations.of("static_files").map_or_else(String::new, |place| format!("{place}: "));
        format!(
            "{place}the deployment {:?} has no folder {part:?} whose files could be served",
            deployment.name.as_str()
        )
    };
    missing.map(warning).collect()
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// Loads every plugin as `serve` does: compiles it, checks its imports against its grants, and lets it check its own
/// configuration. Returns the number of plugins.
fn add_plugin_faults(config: &Config, faults: &mut Faults) -> usize {
    let (plugins, _) = compiled::load_plugins(config, faults);
    for warning in config::idle_plugins(config, &plugins) {
        stderr::print_line(format_args!("warning: {warning}"));
    }
    plugins.len()
}

/// Earlier versions bound the values of objects in order, and a call that relies on it would go wrong.
fn warn_of_names(deployments: &[&str]) {
    let listed = deployments.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    stderr::print_line(format_args!(
        "warning: {listed}: an object's values go to the parameters of their names; earlier versions took them in \
         order. arguments = \"names\" confirms this, arguments = \"order\" brings the old way back"
    ));
}

/// Checks the folder and the program of each deployment without faults so far. Returns the names of those whose
/// workers bind objects by name without that the configuration says so.
fn add_deployment_faults<'a>(config: &'a Config, faults: &mut Faults) -> Vec<&'a str> {
    let mut unsettled = Vec::new();
    // The worker scripts are part of the binary; a plan needs only the path that they would be written to.
    let scripts = WorkerScripts::in_place(&config.server.data_dir);
    let starts: Vec<usize> = config.deployments.iter().map(first_line).collect();
    let others: Vec<usize> = config
        .plugin_list
        .iter()
        .filter_map(|plugin| plugin.locations.of("name"))
        .map(|location| location.line)
        .collect();
    let at_fault: Vec<usize> = faults
        .iter()
        .filter_map(|fault| fault.location.as_ref())
        .filter_map(|location| {
            let own = starts.iter().rposition(|start| *start <= location.line)?;
            let is_plugins = others.iter().any(|other| *other > starts[own] && *other <= location.line);
            (!is_plugins).then_some(own)
        })
        .collect();
    let sound = config.deployments.iter().enumerate().filter(|(number, _)| !at_fault.contains(number));
    for (_, deployment) in sound {
        let refusal = match plan_workers(deployment, &scripts) {
            Ok(plan) if plan.kind != RuntimeKind::Wasm && deployment.locations.has("wasm") => {
                let message =
                    format!("\"wasm\" requires runtime = \"wasm\", and the runtime of this folder is {}", plan.kind);
                faults.push(Fault::new(deployment.locations.of_key("wasm"), message));
                continue;
            }
            Ok(plan) => {
                let is_own = matches!(plan.kind, RuntimeKind::Node | RuntimeKind::Python | RuntimeKind::Wasm);
                if is_own && !deployment.locations.has("arguments") {
                    unsettled.push(deployment.name.as_str());
                }
                for (key, reason) in isolation::obstacles(deployment, &plan, config) {
                    let message = format!("deployment {:?}: {reason}", deployment.name);
                    faults.push(Fault::new(deployment.locations.of(key), message));
                }
                continue;
            }
            Err(refusal) => refusal,
        };
        let key = match &refusal {
            PlanError::Runtime(RuntimeError::Program(error)) => error.key(),
            PlanError::Runtime(RuntimeError::GrantedFolder { .. }) => "wasm.grants.folders",
            PlanError::Runtime(_) | PlanError::Source(_) => "path",
        };
        let location = deployment.locations.of(key).or_else(|| deployment.locations.of("path"));
        faults.push(Fault::new(location, format!("deployment {:?}: {refusal}", deployment.name)));
    }
    unsettled
}

fn first_line(deployment: &DeploymentConfig) -> usize {
    ["name", "path"]
        .iter()
        .filter_map(|key| deployment.locations.of(key))
        .map(|location| location.line)
        .min()
        .unwrap_or(0)
}
