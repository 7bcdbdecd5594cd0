//! `metagate check`: validate a configuration without starting anything.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::cli::compiled;
use crate::cli::counted::counted;
use crate::cli::isolation;
use crate::cli::stderr;
use crate::config::{self, Config, DeploymentConfig, Fault, Faults, RuntimeKind, StaticFiles};
use crate::gateway::plan::{PlanError, plan_workers};
use crate::http::tls::{TlsFault, TlsSettings};
use crate::runtime::RuntimeError;
use crate::runtime::scripts::WorkerScripts;

/// Check a configuration without starting anything.
#[derive(Debug, Args)]
#[command(long_about = "Read everything that serve reads: the configuration, the folder of each deployment with its \
    metacall.json and scripts, the program of its runtime, and the file, grants and configuration of each plugin. \
    Plugins that check their own configuration do so. Starts no worker and no listener.\n\n\
    Reports all faults, each with file, line and column. With --format json, standard output has one object with \
    \"faults\", \"warnings\" and the numbers of deployments and plugins.\n\n\
    Example:\n  metagate check examples/quickstart/metagate.toml\n\n\
    Exit codes: 0 no fault, 1 faults.")]
pub(super) struct Check {
    /// The configuration file.
    #[arg(default_value = "metagate.toml")]
    config: PathBuf,
    /// The form of the report.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// The form of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Text for people: faults and warnings on standard error.
    Text,
    /// One JSON object on standard output.
    Json,
}

/// What a check has found.
#[derive(Default)]
struct Report {
    faults: Faults,
    warnings: Vec<String>,
    deployments: usize,
    plugins: usize,
}

impl Check {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let report = self.look();
        match self.format {
            Format::Text => self.print(&report, out)?,
            Format::Json => writeln!(out, "{}", report.as_json())?,
        }
        Ok(if report.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn look(&self) -> Report {
        let (config, faults) = config::survey(&self.config);
        let mut report = Report { faults, ..Report::default() };
        let Some(config) = config else { return report };
        report.deployments = config.deployments.len();
        report.add_plugin_faults(&config);
        add_log_faults(&config, &mut report.faults);
        report.add_certificates(&config);
        let unsettled = add_deployment_faults(&config, &mut report.faults);
        if report.faults.is_empty() && !unsettled.is_empty() {
            report.warnings.push(warning_of_names(&unsettled));
        }
        if report.faults.is_empty() {
            for (key, reason) in isolation::obstacles_of_deploys(&config) {
                report.faults.push(Fault::new(config.locations.of(&format!("deploy.{key}")), reason));
            }
        }
        report.warnings.extend(config::route_warnings(&config).into_iter().chain(missing_folders(&config)));
        report.warnings.extend(isolation::warnings(&config));
        report
    }

    fn print(&self, report: &Report, out: &mut impl Write) -> anyhow::Result<()> {
        for warning in &report.warnings {
            stderr::print_line(format_args!("warning: {warning}"));
        }
        if !report.faults.is_empty() {
            stderr::print_line(&report.faults);
            return Ok(());
        }
        let plugins =
            if report.plugins == 0 { String::new() } else { format!(", {}", counted(report.plugins, "plugin")) };
        let deployments = counted(report.deployments, "deployment");
        writeln!(out, "{}: {deployments}{plugins}, no faults", self.config.display())?;
        Ok(())
    }
}

impl Report {
    /// Loads every plugin as `serve` does: compiles it, checks its imports against its grants, and lets it check its
    /// own configuration.
    fn add_plugin_faults(&mut self, config: &Config) {
        let (plugins, _) = compiled::load_plugins(config, &mut self.faults);
        self.warnings.extend(config::idle_plugins(config, &plugins));
        self.plugins = plugins.len();
    }

    /// Reads the certificates and keys as `serve` does, and looks when they end and who may read them.
    fn add_certificates(&mut self, config: &Config) {
        let settings =
            [("server", TlsSettings::of_server(&config.server)), ("admin", TlsSettings::of_admin(&config.admin))];
        for (table, settings) in settings {
            match settings.map(|settings| settings.check(SystemTime::now())) {
                Some(Ok(warnings)) => self.warnings.extend(warnings),
                Some(Err(faults)) => faults.into_iter().for_each(|TlsFault { key, message }| {
                    let at = config.locations.of(&format!("{table}.{key}"));
                    self.faults.push(Fault::new(at, message));
                }),
                None => {}
            }
        }
    }

    /// `{"faults":[{"file","line","column","message"}],"warnings":[text],"deployments","plugins"}`; a fault of no file
    /// has its message only.
    fn as_json(&self) -> Value {
        let faults: Vec<_> = self.faults.iter().map(fault_as_json).collect();
        let Self { warnings, deployments, plugins, .. } = self;
        json!({ "faults": faults, "warnings": warnings, "deployments": deployments, "plugins": plugins })
    }
}

fn fault_as_json(fault: &Fault) -> Value {
    let Some(place) = &fault.location else { return json!({ "message": fault.message }) };
    let file = place.file.display().to_string();
    json!({ "file": file, "line": place.line, "column": place.column, "message": fault.message })
}

/// Files of logs that cannot be made, or are something else.
fn add_log_faults(config: &Config, faults: &mut Faults) {
    let access = config.access_log.as_ref().and_then(|log| Some(("access_log.file", log.file.as_deref()?)));
    let audit = config.admin.audit_log.as_deref().map(|file| ("admin.audit_log", file));
    for (key, file) in access.into_iter().chain(audit) {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let reason = if file.is_dir() {
            format!("{} is a folder", file.display())
        } else if !folder.is_dir() {
            format!("there is no folder {}", folder.display())
        } else if file == config.file {
            "this is the configuration itself".to_owned()
        } else if key == "admin.audit_log" && access.is_some_and(|(_, other)| other == file) {
            "the access log has the same file".to_owned()
        } else {
            continue;
        };
        faults.push(Fault::new(config.locations.of(key), reason));
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

/// MetaCall binds the values of objects in order, and a call of its project that relies on it would go wrong.
fn warning_of_names(deployments: &[&str]) -> String {
    let listed = deployments.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    format!(
        "{listed}: an object's values go to the parameters of their names; MetaCall, whose metacall.json this is, \
         takes them in order. arguments = \"names\" confirms the former, arguments = \"order\" chooses the latter"
    )
}

/// Checks the folder and the program of each deployment without faults so far. Returns the names of those whose
/// workers bind objects by name although they are projects of MetaCall, and the configuration does not say how.
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
                let is_app = deployment.app.is_some() || deployment.handler.is_some();
                let is_of_metacall = !is_app && plan.own.iter().any(|json| !json.found);
                if is_own && is_of_metacall && !deployment.locations.has("arguments") {
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
