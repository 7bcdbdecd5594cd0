//! `metagate explain`: the plugins, limits and environment that apply to a deployment or a function, and why. Which
//! route takes a request is left to `routes`, asynchronous calls to `asynchronous`.

mod asynchronous;
mod routes;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use clap::Args;

use crate::cli::client::deployments::unknown;
use crate::cli::compiled;
use crate::cli::explain::routes::Asked;
use crate::cli::stderr;
use crate::config::{
    self, Config, DeploymentConfig, HookName, Instances, MethodName, Mode, Pattern, PluginConfig, PluginIsolation,
    RuntimeKind, Secret, WasmFunctionsConfig,
};
use crate::gateway::plan::plan_workers;
use crate::plugin::Plugin;
use crate::process::hierarchies::Hierarchies;
use crate::process::tree::Instance;
use crate::runtime::scripts::WorkerScripts;

/// Show the plugins, limits and environment of a deployment or a function, and why it has them.
#[derive(Debug, Args)]
#[command(
    long_about = "Show the plugins that apply to a deployment or one of its functions, in the order in which they run, \
    with their settings and the reason why each applies; the plugins that do not apply, and why; the limits; and the \
    names of the environment variables. Reads the configuration only, without a running gateway, so it does not check \
    whether the function exists: \"metagate inspect NAME\" lists the functions.\n\n\
    With a method and a path: show which route takes such a request, why, and why others do not.\n\n\
    Examples:\n  metagate explain -c examples/plugins/metagate.toml text slugify\n  metagate explain GET /orders/7"
)]
pub(super) struct Explain {
    /// The deployment; or a method, such as GET.
    name: String,
    /// The function. Default: show the plugins of the whole deployment. After a method: a path or an address.
    function: Option<String>,
    /// After a method and a path: the host that the request is for. Default: none, or that of the address.
    #[arg(long)]
    host: Option<String>,
    /// The configuration file.
    #[arg(short, long, default_value = "metagate.toml")]
    config: PathBuf,
}

impl Explain {
    pub(super) fn run(mut self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let (config, mut faults) = config::survey(&self.config);
        let Some(config) = config.filter(|_| faults.is_empty()) else {
            stderr::print_line(&faults);
            return Ok(ExitCode::FAILURE);
        };
        let method = self.name.to_ascii_uppercase();
        if let Some(address) = self.function.clone().filter(|address| is_address(address) && is_method(&method)) {
            let prefix = crate::app::prefix_of(&config)?;
            let asked = Asked::new(&method, &address, self.host.as_deref());
            let Some((deployment, function)) = routes::show(&config, &prefix, &asked, out)? else {
                return Ok(ExitCode::SUCCESS);
            };
            if config.deployments.iter().all(|own| own.name.as_str() != deployment) {
                writeln!(out, "deployment {deployment:?} is not in this file: a package of this name may be deployed")?;
                return Ok(ExitCode::SUCCESS);
            }
            (self.name, self.function) = (deployment, function);
        }
        let names = || config.deployments.iter().map(|deployment| deployment.name.as_str());
        let Some(deployment) = config.deployments.iter().find(|deployment| deployment.name.as_str() == self.name)
        else {
            if let Some(path) = self.function.as_deref().filter(|_| is_method(&method)) {
                bail!("{path:?} is neither a path, which begins with \"/\", nor a URL");
            }
            bail!("{}", unknown(&self.name, names()));
        };
        let (_, set) = compiled::load_plugins(&config, &mut faults);
        if !faults.is_empty() {
            stderr::print_line(&faults);
            return Ok(ExitCode::FAILURE);
        }
        show_deployment(&config, deployment, out)?;
        if let Some(function) = &self.function {
            let name = deployment.name.as_str();
            writeln!(
                out,
                "  function     {function:?} (not checked: \"metagate inspect {name}\" lists those of a running \
                 gateway)"
            )?;
        }
        asynchronous::show_schedules(&config, deployment, self.function.as_deref(), out)?;
        show_plugins(deployment, self.function.as_deref(), &set.plugins, out)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Whether the first word is a method.
fn is_method(word: &str) -> bool {
    word.parse::<MethodName>().is_ok()
}

/// Whether the second word is a path or a URL. A function may have slashes, but none at its start.
fn is_address(word: &str) -> bool {
    word.starts_with('/') || word.contains("://")
}

fn show_deployment(config: &Config, deployment: &DeploymentConfig, out: &mut impl Write) -> anyhow::Result<()> {
    let DeploymentConfig { name, path, env, .. } = deployment;
    writeln!(out, "deployment {:?}  ({})", name.as_str(), describe_location(&deployment.locations.of("name")))?;
    writeln!(out, "  folder       {}", path.display())?;
    let scripts = WorkerScripts::in_place(&config.server.data_dir);
    match plan_workers(deployment, &scripts) {
        Ok(plan) => {
            let why = if deployment.runtime.is_some() { "configured" } else { "detected from its files" };
            if plan.kind == RuntimeKind::Wasm {
                return show_wasm(config, deployment, why, out);
            }
            writeln!(out, "  runtime      {} ({why}): {}", plan.kind.name(), plan.program.display())?;
        }
        Err(refusal) => writeln!(out, "  runtime      none: {refusal}")?,
    }
    show_limits(deployment, out)?;
    asynchronous::show_limits(config, deployment, out)?;
    let own = variables(env).map_or_else(String::new, |names| format!("{names}, "));
    writeln!(out, "  environment  {own}PATH, HOME, LANG and TZ of the gateway")?;
    Ok(())
}

/// A deployment in WebAssembly: metagate itself runs its functions, and they reach only the folders and origins that
/// are granted.
fn show_wasm(config: &Config, deployment: &DeploymentConfig, why: &str, out: &mut impl Write) -> anyhow::Result<()> {
    let WasmFunctionsConfig { instances, max_memory, bytes, grants } = &deployment.wasm;
    writeln!(out, "  runtime      wasm ({why}): metagate")?;
    show_limits(deployment, out)?;
    asynchronous::show_limits(config, deployment, out)?;
    writeln!(out, "  instances    {}, max_memory {max_memory} each; list<u8> as {bytes}", instances.as_str())?;
    writeln!(out, "  environment  {}", variables(&deployment.env).unwrap_or_else(|| "none".to_owned()))?;
    let http: Vec<String> = grants.http.iter().map(ToString::to_string).collect();
    let folders = grants.folders.iter().map(|(seen, folder)| format!("{seen} = {}", folder.display()));
    let granted: Vec<String> = http.into_iter().chain(folders).collect();
    writeln!(out, "  grants       {}", if granted.is_empty() { "none".to_owned() } else { granted.join(", ") })?;
    Ok(())
}

fn show_limits(deployment: &DeploymentConfig, out: &mut impl Write) -> anyhow::Result<()> {
    let DeploymentConfig { workers, concurrency, queue, timeout, load_timeout, max_memory, .. } = deployment;
    let memory = max_memory.map_or_else(usual_memory, |size| size.to_string());
    writeln!(
        out,
        "  limits       timeout {timeout}, load_timeout {load_timeout}, workers {} to {}, concurrency {concurrency}, \
         queue {queue}, max_memory {memory}",
        workers.min, workers.max
    )?;
    Ok(())
}

/// What a worker without `max_memory` may use.
fn usual_memory() -> String {
    let walls = Instance::current().walls();
    match walls.iter().find(|wall| wall.name == "memory") {
        Some(wall) if !wall.up => format!("not limited here ({})", wall.by),
        _ => format!("{} MiB (a quarter of this machine's)", Hierarchies::current().usual_memory() >> 20),
    }
}

/// The names of the variables, joined; `None` if there are none.
fn variables(env: &BTreeMap<String, Secret>) -> Option<String> {
    let names: Vec<&str> = env.keys().map(String::as_str).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

fn show_plugins(
    deployment: &DeploymentConfig,
    function: Option<&str>,
    plugins: &[Arc<Plugin>],
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let name = deployment.name.as_str();
    for hook in [HookName::BeforeLoad, HookName::AfterLoad, HookName::BeforeInvoke, HookName::AfterInvoke] {
        let is_load = matches!(hook, HookName::BeforeLoad | HookName::AfterLoad);
        let applies = |plugin: &&Arc<Plugin>| {
            plugin.has(hook)
                && match function.filter(|_| !is_load) {
                    Some(function) => plugin.settings.applies_to(name, function),
                    None => plugin.settings.applies_to_deployment(name),
                }
        };
        let mut running: Vec<&Arc<Plugin>> = plugins.iter().filter(applies).collect();
        if matches!(hook, HookName::AfterLoad | HookName::AfterInvoke) {
            running.reverse();
        }
        let of = function.filter(|_| !is_load).map_or_else(String::new, |function| format!(" of {function:?}"));
        writeln!(out, "\n{}{of}{}", hook.as_str(), if running.is_empty() { ": no plugin" } else { "" })?;
        for (at, plugin) in running.into_iter().enumerate() {
            show_running(at + 1, plugin, hook, name, function.filter(|_| !is_load), out)?;
        }
    }
    let absent = plugins.iter().filter(|plugin| match function {
        Some(function) => !plugin.settings.applies_to(name, function),
        None => !plugin.settings.applies_to_deployment(name),
    });
    for (at, plugin) in absent.enumerate() {
        if at == 0 {
            writeln!(out, "\nplugins that do not apply")?;
        }
        writeln!(out, "     {}: {}", plugin.name(), why_not(&plugin.settings, name, function))?;
    }
    Ok(())
}

fn show_running(
    number: usize,
    plugin: &Plugin,
    hook: HookName,
    deployment: &str,
    function: Option<&str>,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let settings = &plugin.settings;
    writeln!(
        out,
        "  {number}. {}  ({})",
        plugin.name(),
        describe_location(&settings.locations.of("").or_else(|| settings.locations.of("name")))
    )?;
    let deployments = format!("deployments {} matches {deployment:?}", list(&settings.deployments));
    let functions = match function {
        Some(function) => format!(", functions {} matches {function:?}", list(&settings.functions)),
        None if settings.functions.iter().all(Pattern::is_any) => String::new(),
        None if matches!(hook, HookName::BeforeLoad | HookName::AfterLoad) => String::new(),
        None => format!(", on functions {} only", list(&settings.functions)),
    };
    let hooks = if settings.hooks.is_some() { "\"hooks\" has this hook" } else { "the plugin exports this hook" };
    writeln!(out, "     why       {deployments}{functions}; {hooks}")?;
    let instances = match settings.instances {
        Instances::Warm => "warm instances",
        Instances::Fresh => "fresh instances",
    };
    let isolation = match settings.isolation {
        PluginIsolation::None => "",
        PluginIsolation::Process => " in a process of their own",
    };
    let mode = match settings.mode {
        Mode::Enforce => "",
        Mode::Observe => "; mode observe: its verdicts are logged, not applied",
    };
    writeln!(
        out,
        "     settings  on_error {}, timeout {}, max_memory {}, {instances}{isolation}{mode}",
        settings.on_error_of(hook).as_str(),
        settings.timeout,
        settings.max_memory
    )?;
    writeln!(out, "     grants    {}", grants(settings))?;
    if matches!(hook, HookName::BeforeInvoke | HookName::AfterInvoke) {
        writeln!(out, "     refuses   {}", refusals(plugin))?;
    }
    Ok(())
}

/// The errors with which a plugin ends calls, as far as it declares them.
fn refusals(plugin: &Plugin) -> String {
    let Some(declaration) = plugin.declaration() else { return "with errors that it does not declare".to_owned() };
    let texts: Vec<String> =
        declaration.refusals.iter().map(|refusal| format!("{} {}", refusal.status, refusal.code)).collect();
    if texts.is_empty() { "no call".to_owned() } else { texts.join(", ") }
}

fn grants(settings: &PluginConfig) -> String {
    let texts = settings.grants.described();
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}

fn why_not(settings: &PluginConfig, deployment: &str, function: Option<&str>) -> String {
    if !settings.deployments.iter().any(|pattern| pattern.matches(deployment)) {
        return format!("deployments {} does not match {deployment:?}", list(&settings.deployments));
    }
    match function {
        Some(function) if !settings.functions.iter().any(|pattern| pattern.matches(function)) => {
            format!("functions {} does not match {function:?}", list(&settings.functions))
        }
        Some(_) | None => {
            let all: Vec<String> = settings.exclude.iter().map(|exclusion| format!("\"{exclusion}\"")).collect();
            format!("exclude [{}] excludes it", all.join(", "))
        }
    }
}

fn list(patterns: &[Pattern]) -> String {
    let texts: Vec<String> = patterns.iter().map(|pattern| format!("\"{pattern}\"")).collect();
    format!("[{}]", texts.join(", "))
}

fn describe_location(location: &Option<config::Location>) -> String {
    match location {
        Some(location) => format!("{}:{}", location.file.display(), location.line),
        None => "drop-in without settings".to_owned(),
    }
}
