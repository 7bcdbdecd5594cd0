//! The running gateway: built from the configuration, served on its listeners, stopped by a signal.

mod certificates;
mod config_watch;
mod connection_limits;
mod data_dir;
mod function_watch;
mod hidden;
mod listeners;
mod operator_logs;
mod reload;
mod signals;
mod sockets;
mod terminal;

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::certificates::Certificates;
use crate::app::connection_limits::connection_limits;
use crate::app::data_dir::DataDir;
use crate::app::hidden::hidden;
use crate::app::listeners::{Listeners, Parts, Served};
use crate::app::operator_logs::OperatorLogs;
use crate::app::reload::Reloading;
use crate::app::signals::{Signal, Signals};
use crate::app::sockets::SocketFile;
use crate::app::terminal::Terminal;
use crate::config::{self, Config, Faults, Isolation, ServerConfig};
use crate::deployment::Prefix;
use crate::gateway::configured::FOLDERS;
use crate::gateway::deployer::{Deployer, ReleaseTools};
use crate::gateway::plugin_calls::FunctionsForPlugins;
use crate::gateway::run_as::user_of_git;
use crate::gateway::{Gateway, Launcher};
use crate::http::api::metrics::Figures;
use crate::http::buffers::Budget;
use crate::http::connection::accept::{self, Serving};
use crate::http::connection::open_connections::OpenConnections;
use crate::http::connection::peers::Peers;
use crate::http::front::Front;
use crate::plugin::outside::CallFunction;
use crate::plugin::plugins::Plugins;
use crate::process::connection_owner::Owners;
use crate::process::orphans;
use crate::process::spawner::{REAPER, SHARES, Spawner};
use crate::process::tree::Instance;
use crate::process::walls::level::Level;
use crate::process::walls::machine::Wall;
use crate::registry::users::Users;
use crate::source::dependencies::{Installer, InstallerWalls};
use crate::source::repository::{GitWalls, Repositories};
use crate::supervise;
use crate::telemetry::LogFormat;
use crate::worker::spawn::StartWorker;

/// How long a stop waits for clients to read their last answers, once every call has one.
const CLOSE_GRACE: Duration = Duration::from_secs(1);

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
pub async fn run(config: Config, options: Options, out: impl Write) -> Result<(), RunError> {
    // First, because the default action of a signal would end the process and leave workers behind.
    let mut signals = Signals::install().context("installing signal handlers")?;
    let path = &config.server.data_dir;
    let unusable = |cause| RunError::DataDir { path: path.display().to_string(), cause };
    // The lock of the folder comes before the listeners, so that a second gateway with the same configuration reports
    // the folder, which names the other process.
    let data_dir = DataDir::open(path).map_err(unusable)?;
    // Before the listeners: a fault of theirs leaves no socket behind.
    let certificates = Certificates::load(&config)?;
    let listeners = Listeners::bind(&config)?;
    let logs = OperatorLogs::open(&config)?;
    let terminal = Terminal::of_standard_error(options.log_format).context("starting the terminal's output")?;
    let app = App::build(config, data_dir, logs, certificates, terminal)?;
    // Compiling a plugin or looking for a program may take long; a signal does not wait for it.
    let interrupted = tokio::select! {
        started = app.start() => {
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
    app.serve(listeners, options.watches_functions, &mut signals, out).await
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
    /// Long-lived tasks: the orphan reaper, reloads, the watchers.
    background: TaskTracker,
    /// Ends the background tasks.
    stop_background: CancellationToken,
    /// Locks the data folder until the process has stopped all workers.
    _lock: File,
}

impl App {
    /// Builds the gateway. Nothing is deployed yet.
    fn build(
        config: Config,
        data_dir: DataDir,
        logs: OperatorLogs,
        certificates: Certificates,
        terminal: Option<Terminal>,
    ) -> Result<Self, RunError> {
        let DataDir { lock, scripts, log_files, store, staging } = data_dir;
        let instance = Instance::current();
        let left_behind = instance.sweep_orphans();
        if left_behind > 0 {
            tracing::warn!(orphans = left_behind, "ended processes that an earlier gateway left behind");
        }
        let walls = instance.walls();
        report_missing(&walls, &config);
        let prefix = config.server.prefix.clone().map_or_else(host_name, Ok)?;
        orphans::adopt().map_err(anyhow::Error::from).context("adopting orphans")?;
        let owners = Owners::new();
        let spawner = Arc::new(Spawner::new(instance));
        let (background, stop_background) = (TaskTracker::new(), CancellationToken::new());
        look_after_processes(&background, &stop_background, &spawner);
        let data_dir = &config.server.data_dir;
        let functions = Arc::new(FunctionsForPlugins::default());
        let plugins = Plugins::new(
            data_dir.join("compiled"),
            config.server.max_body.bytes(),
            Arc::clone(&functions) as Arc<dyn CallFunction>,
        )
        .with_processes(Arc::clone(&spawner));
        let private = [&config.file, data_dir].into_iter().filter_map(|path| path.canonicalize().ok()).collect();
        let deploy = config.deploy.clone();
        let isolated = deploy.isolation != Isolation::None;
        let level = if deploy.isolation == Isolation::Strict { Level::Strict } else { Level::Standard };
        let installer_walls =
            InstallerWalls { caches: scripts.install_caches.clone(), write: deploy.write.clone(), level };
        let git_user = deploy.run_as.as_ref().map(user_of_git).transpose().map_err(anyhow::Error::from)?;
        let users = Users::open(data_dir).map_err(anyhow::Error::from).context("reading the users of deployments")?;
        let workers = Arc::clone(&spawner) as Arc<dyn StartWorker>;
        let users = Arc::new(users);
        let launcher = Launcher { spawner: Arc::clone(&spawner), workers, scripts, walls, users };
        let gateway = Gateway::new(prefix, private, plugins, launcher, log_files)
            .with_echo(terminal.as_ref().map(Terminal::echo));
        let gateway = Arc::new(if config.metrics.enabled { gateway } else { gateway.without_metrics() });
        functions.open(&gateway, Handle::current());
        let (install_timeout, install_env) = (deploy.install_timeout.get(), deploy.install_env.clone());
        let tools = ReleaseTools {
            staging,
            installer: Installer::new(Arc::clone(&spawner), install_timeout, install_env)
                .with_walls(isolated.then_some(installer_walls)),
            repositories: Repositories::new(spawner, deploy.repositories.clone(), deploy.clone_timeout.get())
                .with_walls(isolated.then_some(GitWalls { level, user: git_user })),
        };
        let drain = config.server.drain.get();
        let deployer = Arc::new(Deployer::new(Arc::clone(&gateway), store, tools, deploy, drain));
        Ok(Self {
            config,
            gateway,
            deployer,
            owners,
            logs,
            certificates,
            terminal,
            background,
            stop_background,
            _lock: lock,
        })
    }

    /// Loads the plugins, then starts the deployments without waiting for their workers. Plugins come first because
    /// every release runs through them. One that cannot be loaded fails the start, since it may be the one that
    /// authorizes calls.
    async fn start(&self) -> Result<(), RunError> {
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
        Ok(())
    }

    /// Serves the listeners until a signal stops the gateway; a second signal kills all workers at once.
    async fn serve(
        self,
        mut listeners: Listeners,
        watches_functions: bool,
        signals: &mut Signals,
        mut out: impl Write,
    ) -> Result<(), RunError> {
        let front = Arc::new(Front::new(&self.config, self.gateway.prefix.clone()));
        let (background, stop) = (&self.background, &self.stop_background);
        let reloading = Reloading::start(
            &self.config,
            &self.deployer,
            &front,
            &self.logs.audit,
            watches_functions,
            background,
            stop,
        );
        replace_changed_folders(&self.background, &self.stop_background, &self.deployer);
        let stored = self.deployer.stored_names().len();
        let (first, addresses, lines) = (listeners.first(), listeners.addresses(), listeners.lines());
        let files = listeners.take_files();
        let (connections, servers) = (OpenConnections::default(), TaskTracker::new());
        self.start_servers(listeners, &front, stored, &connections, &servers);
        let deployments = self.config.deployments.len() + stored;
        tracing::info!(%addresses, prefix = %self.gateway.prefix, deployments, "serving");
        // In one write: a reader may be content with the first line, and close the pipe.
        out.write_all(lines.as_bytes()).and_then(|()| out.flush()).context("writing to standard output")?;
        self.show_addresses(&first);
        let signal = loop {
            match signals.next().await {
                Signal::Stop(name) => break name,
                Signal::Reload => {
                    self.certificates.reload();
                    reloading.request("SIGHUP");
                }
            }
        };
        tokio::select! {
            () = self.stop(signal, &connections, &servers, files) => {}
            signal = signals.stop() => {
                tracing::warn!(%signal, "stopping now: killing all workers");
                self.gateway.kill().await;
            }
        }
        self.logs.flush().await;
        tracing::info!("stopped");
        Ok(())
    }

    /// Shows the addresses of deployments on the terminal, if there is one.
    fn show_addresses(&self, listener: &str) {
        let Some(terminal) = self.terminal.clone() else { return };
        let (gateway, listener) = (Arc::clone(&self.gateway), Arc::from(listener));
        supervise::forever(&self.background, &self.stop_background, terminal::TASK, move || {
            terminal.clone().show_addresses(Arc::clone(&gateway), Arc::clone(&listener))
        });
    }

    fn start_servers(
        &self,
        listeners: Listeners,
        front: &Arc<Front>,
        stored: usize,
        connections: &OpenConnections,
        servers: &TaskTracker,
    ) {
        let server = &self.config.server;
        let buffers = Arc::new(Budget::new(usize::try_from(server.max_buffered()).unwrap_or(usize::MAX)));
        let per_peer = server.max_connections_per_peer.map_or(usize::MAX, |count| count as usize);
        let peers = Arc::new(Peers::new(per_peer, Arc::clone(&buffers)));
        let figures = Figures::new(&buffers, front, connections).with_handshakes(self.certificates.handshakes.clone());
        self.certificates.watch(&self.background, &self.stop_background);
        let parts = Parts {
            config: &self.config,
            deployer: &self.deployer,
            limits: connection_limits(&self.config, stored),
            figures: &figures,
            owners: &self.owners,
            logs: &self.logs,
            certificates: &self.certificates,
        };
        for Served { listeners, service, limits } in listeners.with_services(&parts) {
            let serving = Serving::new(service, limits, &peers, connections);
            for (listener, tls) in listeners {
                servers.spawn(accept::serve(listener, tls, serving.clone()));
            }
        }
        servers.close();
    }

    /// Turns readiness off and serves on for `pre_stop`. Then refuses requests, lets calls in flight finish within the
    /// drain time, stops all workers, and closes the listeners last.
    async fn stop(&self, signal: &str, connections: &OpenConnections, servers: &TaskTracker, files: Vec<SocketFile>) {
        let ServerConfig { pre_stop, drain, .. } = &self.config.server;
        self.gateway.announce_stop();
        if !pre_stop.get().is_zero() {
            tracing::info!(%signal, %pre_stop, "stopping: readiness is off, calls are still served");
            tokio::time::sleep(pre_stop.get()).await;
        }
        self.stop_background.cancel();
        tracing::info!(%signal, "stopping: waiting for calls in flight");
        self.gateway.begin_drain();
        connections.begin_drain();
        let _timed_out = tokio::time::timeout(drain.get(), connections.drained()).await;
        self.gateway.stop(Duration::ZERO).await;
        // Before the sockets close: nobody connects to one that accepts no more.
        drop(files);
        connections.close_listeners();
        servers.wait().await;
        // The stop has answered the remaining calls; their clients need a moment to read the answers.
        let _timed_out = tokio::time::timeout(CLOSE_GRACE, connections.ended()).await;
    }
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

fn replace_changed_folders(tasks: &TaskTracker, stop: &CancellationToken, deployer: &Arc<Deployer>) {
    let (deployer, stopped) = (Arc::clone(deployer), stop.clone());
    supervise::forever(tasks, stop, FOLDERS, move || {
        let (deployer, stop) = (Arc::clone(&deployer), stopped.clone());
        async move {
            let _stopped = stop.run_until_cancelled(deployer.replace_changed_folders()).await;
        }
    });
}

/// The prefix if the configuration has none: the name of this machine.
pub(crate) fn host_name() -> anyhow::Result<Prefix> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Prefix::new(&name)
        .with_context(|| format!("host name {name:?} cannot be the address prefix: set prefix in [server]"))
}
