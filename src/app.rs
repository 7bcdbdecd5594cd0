//! The running gateway: built from the configuration, served on its listeners, stopped by a signal.

mod certificates;
mod config_watch;
mod connection_limits;
mod data_dir;
mod function_watch;
mod given_sockets;
mod hidden;
mod listeners;
mod notify;
mod operator_logs;
pub mod predecessor;
mod reload;
mod serving;
mod signals;
mod sockets;
mod succession;
mod successor;
mod terminal;
mod tracer;
mod upgrade;

use std::collections::BTreeSet;
use std::io::Write;
use std::mem;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::certificates::Certificates;
use crate::app::data_dir::{DataDir, Lock};
use crate::app::given_sockets::GivenSockets;
use crate::app::hidden::hidden;
use crate::app::listeners::Listeners;
use crate::app::notify::Notify;
use crate::app::operator_logs::OperatorLogs;
use crate::app::predecessor::Predecessor;
use crate::app::reload::Watched;
use crate::app::signals::Signals;
use crate::app::successor::Program;
use crate::app::terminal::Terminal;
use crate::cluster::{self, Cluster};
use crate::config::{self, Config, DeployConfig, Faults, Isolation};
use crate::deployment::Prefix;
use crate::gateway::async_calls::AsyncCalls;
use crate::gateway::deployer::{Deployer, ReleaseTools};
use crate::gateway::plugin_calls::FunctionsForPlugins;
use crate::gateway::run_as::user_of_git;
use crate::gateway::{Gateway, Launcher};
use crate::plugin::outside::CallFunction;
use crate::plugin::plugins::Plugins;
use crate::process::connection_owner::Owners;
use crate::process::orphans;
use crate::process::spawner::{REAPER, SHARES, Spawner};
use crate::process::tree::Instance;
use crate::process::walls::level::Level;
use crate::process::walls::machine::Wall;
use crate::registry::store::Store;
use crate::registry::users::Users;
use crate::source::dependencies::{Installer, InstallerWalls};
use crate::source::repository::{GitWalls, Repositories};
use crate::source::staging::StagingArea;
use crate::supervise;
use crate::telemetry::LogFormat;
use crate::worker::spawn::StartWorker;

/// The pause between two looks whether the deployments of a successor are loaded.
const LOAD_PAUSE: Duration = Duration::from_millis(10);

/// Why the gateway did not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The data folder is unusable.
    #[error("data folder {path}: {cause:#}")]
    DataDir {
        /// The folder.
        path: String,
        /// Why.
        cause: anyhow::Error,
    },
    /// A plugin of the configuration cannot be loaded.
    #[error("{0}")]
    Plugins(Faults),
    /// Anything else.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// How the gateway runs, apart from its configuration.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Whether deployments whose files change are deployed again.
    pub watches_functions: bool,
    /// The form of the log. Where it is text, a terminal also shows addresses and what functions print.
    pub log_format: LogFormat,
}

/// Runs the gateway until a signal stops it. Writes `listening on http://…` to `out` when it accepts calls.
///
/// # Errors
///
/// The data folder, a listener or a plugin is unusable. Once the gateway serves, it only returns on a signal.
pub async fn run(
    config: Config,
    options: Options,
    out: impl Write,
    predecessor: Option<Predecessor>,
) -> Result<(), RunError> {
    let mut predecessor = predecessor;
    let notify = Notify::from_environment(predecessor.is_some());
    // First, because the default action of a signal would end the process and leave workers behind.
    let mut signals = Signals::install().context("installing signal handlers")?;
    let path = &config.server.data_dir;
    let unusable = |cause| RunError::DataDir { path: path.display().to_string(), cause };
    // The lock of the folder comes before the listeners, so that a second gateway with the same configuration reports
    // the folder, which names the other process.
    let (data_dir, given, serves) = match &mut predecessor {
        Some(old) => {
            let lock = old.lock.try_clone().map_err(anyhow::Error::from)?;
            (DataDir::take_over(path, lock), mem::take(&mut old.sockets), mem::take(&mut old.serves))
        }
        None => (DataDir::open(path), GivenSockets::of_systemd(), BTreeSet::new()),
    };
    let data_dir = data_dir.map_err(unusable)?;
    // Before the listeners: a fault of theirs leaves no socket behind.
    let certificates = Certificates::load(&config)?;
    let listeners = Listeners::bind(&config, given)?;
    let logs = OperatorLogs::open(&config)?;
    let terminal = Terminal::of_standard_error(options.log_format).context("starting the terminal's output")?;
    // After the last file that the gateway itself makes beside the configuration.
    let watched = Watched::start(&config);
    let app = App::build(config, data_dir, logs, certificates, terminal, notify)?;
    // Compiling a plugin or looking for a program may take long; a signal does not wait for it.
    let interrupted = tokio::select! {
        started = app.start(&serves) => {
            started?;
            None
        }
        signal = signals.stop() => Some(signal),
    };
    if let Some(signal) = interrupted {
        tracing::info!(%signal, "stopping during the start");
        app.gateway.kill().await;
        return Ok(());
    }
    app.serve(listeners, watched, options.watches_functions, &mut signals, out, predecessor).await
}

/// A gateway with everything it needs, before and while it serves.
struct App {
    config: Config,
    gateway: Arc<Gateway>,
    deployer: Arc<Deployer>,
    owners: Owners,
    logs: OperatorLogs,
    certificates: Certificates,
    terminal: Option<Terminal>,
    notify: Notify,
    spawner: Arc<Spawner>,
    /// What an upgrade starts.
    program: Arc<Program>,
    /// Whether the gateway that this one takes over from still runs.
    has_predecessor: Arc<AtomicBool>,
    /// Long-lived tasks: the orphan reaper, reloads, the watchers.
    background: TaskTracker,
    /// Ends the background tasks.
    stop_background: CancellationToken,
    /// Locks the data folder until the process has stopped all workers.
    lock: Arc<Lock>,
}

impl App {
    /// Builds the gateway. Nothing is deployed yet.
    fn build(
        config: Config,
        data_dir: DataDir,
        logs: OperatorLogs,
        certificates: Certificates,
        terminal: Option<Terminal>,
        notify: Notify,
    ) -> Result<Self, RunError> {
        let DataDir { lock, scripts, log_files, store, staging } = data_dir;
        let program = Arc::new(Program::current().context("finding the path of this program")?);
        let instance = Instance::current();
        let left_behind = instance.sweep_orphans();
        if left_behind > 0 {
            tracing::warn!(processes = left_behind, "ended processes that an earlier gateway left behind");
        }
        let walls = instance.walls();
        report_missing(&walls, &config);
        let prefix = prefix_of(&config)?;
        orphans::adopt().map_err(anyhow::Error::from).context("adopting orphans")?;
        let spawner = Arc::new(Spawner::new(instance));
        let (background, stop_background) = (TaskTracker::new(), CancellationToken::new());
        look_after_processes(&background, &stop_background, &spawner);
        let data_dir = &config.server.data_dir;
        let functions = Arc::new(FunctionsForPlugins::default());
        let (compiled, max_body) = (config.server.compiled(), config.server.max_body.bytes());
        let called = Arc::clone(&functions) as Arc<dyn CallFunction>;
        let plugins = Plugins::new(compiled, max_body, called).with_processes(Arc::clone(&spawner));
        let private = [&config.file, data_dir].into_iter().filter_map(|path| path.canonicalize().ok()).collect();
        let caches = scripts.install_caches.clone();
        let users = Users::open(data_dir).map_err(anyhow::Error::from).context("reading the users of deployments")?;
        let (workers, users) = (Arc::clone(&spawner) as Arc<dyn StartWorker>, Arc::new(users));
        let launcher = Launcher { spawner: Arc::clone(&spawner), workers, scripts, walls, users };
        let gateway = Gateway::new(prefix, private, plugins, launcher, log_files)
            .with_echo(terminal.as_ref().map(Terminal::echo))
            .with_tracer(tracer::start(&config)?)
            .with_async_calls(AsyncCalls::new(&config));
        let gateway = Arc::new(if config.metrics.enabled { gateway } else { gateway.without_metrics() });
        functions.open(&gateway, Handle::current());
        let tools = release_tools(&config.deploy, staging, &spawner, caches)?;
        let (drain, store) = (config.server.drain.get(), Arc::new(store));
        let cluster = cluster_of(&config, &store)?;
        let deployer = Deployer::new(Arc::clone(&gateway), store, tools, config.deploy.clone(), drain);
        let deployer = Arc::new(deployer.with_cluster(cluster));
        Ok(Self {
            config,
            gateway,
            deployer,
            owners: Owners::new(),
            logs,
            certificates,
            terminal,
            notify,
            spawner,
            program,
            has_predecessor: Arc::default(),
            background,
            stop_background,
            lock: Arc::new(lock),
        })
    }

    /// Loads the plugins, then starts the deployments without waiting for their workers. Plugins come first because
    /// every release runs through them. One that cannot be loaded fails the start, since it may be the one that
    /// authorizes calls.
    async fn start(&self, serves: &BTreeSet<String>) -> Result<(), RunError> {
        let (plugins, mut faults) = config::load_plugins(&self.config);
        self.gateway.hide(hidden(&self.config, &plugins));
        let errors = if plugins.is_empty() {
            Vec::new()
        } else {
            self.gateway.load_plugins(&self.config.plugins, plugins.clone()).await
        };
        for error in &errors {
            faults.push(error.fault(&plugins));
        }
        if !faults.is_empty() {
            return Err(RunError::Plugins(faults));
        }
        for warning in
            config::idle_plugins(&self.config, &plugins).into_iter().chain(config::route_warnings(&self.config))
        {
            tracing::warn!("{warning}");
        }
        for deployment in self.config.deployments.clone() {
            self.deployer.deploy_configured(deployment).await;
        }
        self.deployer.restore();
        self.load_all(serves).await
    }

    /// Waits until each of the deployments that a running gateway `serves` is loaded here too.
    async fn load_all(&self, serves: &BTreeSet<String>) -> Result<(), RunError> {
        while !serves.is_empty() {
            let deployments = self.deployer.readiness().deployments;
            let mut served = deployments.iter().filter(|deployment| serves.contains(&deployment.name));
            if let Some(failed) = served.clone().find(|deployment| deployment.status == "failed") {
                let (reason, last) = failed.error.as_ref().map_or(("", None), |error| {
                    (error.message.as_str(), error.stderr.lines().rfind(|line| !line.trim().is_empty()))
                });
                let last = last.map_or_else(String::new, |line| format!(": {}", line.trim()));
                let name = &failed.name;
                let words =
                    format!("deployment {name:?}, which the running gateway serves, does not load: {reason}{last}");
                return Err(anyhow::anyhow!(words).into());
            }
            if served.all(|deployment| deployment.status == "ready") {
                break;
            }
            tokio::time::sleep(LOAD_PAUSE).await;
        }
        Ok(())
    }
}

/// The cluster that the gateway is part of, if it is not alone. Nothing is connected yet.
fn cluster_of(config: &Config, store: &Arc<Store>) -> anyhow::Result<Option<Arc<Cluster>>> {
    let data_dir = &config.server.data_dir;
    let Some(cluster) = &config.cluster else {
        cluster::leave(data_dir).context("forgetting the cluster that the gateway was part of")?;
        return Ok(None);
    };
    if cluster.secret.is_none() {
        tracing::warn!("[cluster] has no secret: whoever may write to the NATS servers may deploy and read variables");
    }
    let joined = Cluster::new(cluster, data_dir, store);
    Ok(Some(Arc::new(joined.context("reading what is known of the cluster")?)))
}

/// What makes releases, within the walls that the configuration asks for.
fn release_tools(
    deploy: &DeployConfig,
    staging: StagingArea,
    spawner: &Arc<Spawner>,
    caches: PathBuf,
) -> Result<ReleaseTools, RunError> {
    let isolated = deploy.isolation != Isolation::None;
    let level = if deploy.isolation == Isolation::Strict { Level::Strict } else { Level::Standard };
    let installer_walls = InstallerWalls { caches, write: deploy.write.clone(), level };
    let user = deploy.run_as.as_ref().map(user_of_git).transpose().map_err(anyhow::Error::from)?;
    let (timeout, env) = (deploy.install_timeout.get(), deploy.install_env.clone());
    let (prefixes, clone_timeout) = (deploy.repositories.clone(), deploy.clone_timeout.get());
    Ok(ReleaseTools {
        staging,
        installer: Installer::new(Arc::clone(spawner), timeout, env).with_walls(isolated.then_some(installer_walls)),
        repositories: Repositories::new(Arc::clone(spawner), prefixes, clone_timeout)
            .with_walls(isolated.then_some(GitWalls { level, user })),
    })
}

/// Logs the walls that this machine cannot put up; those of strict isolation only if a deployment has it.
fn report_missing(walls: &[Wall], config: &Config) {
    let isolations = config.deployments.iter().map(|deployment| deployment.isolation);
    let is_strict = isolations.chain([config.deploy.isolation]).any(|isolation| isolation == Isolation::Strict);
    for wall in walls.iter().filter(|wall| !wall.up && (is_strict || !wall.is_strict_only())) {
        tracing::warn!(wall = wall.name, what = wall.what, by = wall.by, "isolation is incomplete on this machine");
    }
}

fn look_after_processes(tasks: &TaskTracker, stop: &CancellationToken, spawner: &Arc<Spawner>) {
    let (reaper, shares) = (Arc::clone(spawner), Arc::clone(spawner));
    supervise::forever(tasks, stop, REAPER, move || Arc::clone(&reaper).reap_orphans());
    supervise::forever(tasks, stop, SHARES, move || Arc::clone(&shares).share_processors());
}

/// The prefix of addresses: that of the configuration, or the name of the cluster, or that of this machine.
pub(crate) fn prefix_of(config: &Config) -> anyhow::Result<Prefix> {
    match (&config.server.prefix, &config.cluster) {
        (Some(prefix), _) => Ok(prefix.clone()),
        (None, Some(cluster)) => Prefix::new(cluster.name.as_str())
            .with_context(|| format!("the cluster's name {:?} cannot be the address prefix", cluster.name.as_str())),
        (None, None) => host_name(),
    }
}

fn host_name() -> anyhow::Result<Prefix> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Prefix::new(&name)
        .with_context(|| format!("host name {name:?} cannot be the address prefix: set prefix in [server]"))
}
