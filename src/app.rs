//! The running gateway, put together: listeners, data folder, plugins, deployments, and the way down when a signal comes.

mod data_dir;
mod functions;
mod reload;
mod watch;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::data_dir::DataDir;
use crate::app::reload::Reloading;
use crate::config::{self, Config, Faults};
use crate::deployment::Prefix;
use crate::gateway::invoke::FunctionsForPlugins;
use crate::gateway::{Gateway, Parts};
use crate::http;
use crate::http::accept::{self, ConnectionLimits};
use crate::http::admin;
use crate::http::request_body::BodyLimits;
use crate::http::service::Service;
use crate::http::stream::Deadlines;
use crate::plugin::outside::CallFunction;
use crate::plugin::plugins::Plugins;
use crate::process::spawner::Spawner;
use crate::process::tree::Instance;
use crate::source::dependencies::Installer;
use crate::source::repository::Repositories;

/// Connections when the configuration names no number and the limit of descriptors allows it.
const CONNECTIONS: u64 = 16 * 1024;
/// The channel, two outputs and the pidfd of a worker; and what the gateway itself has open.
const WORKER_DESCRIPTORS: u64 = 4;
const OWN_DESCRIPTORS: u64 = 32;
/// Beyond this the way down goes on without waiting for clients that do not let go.
const CLOSE_GRACE: std::time::Duration = std::time::Duration::from_secs(1);

/// Why the gateway did not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The data folder cannot be used.
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

/// Runs the gateway until a signal ends it; with `watches_functions` deployments whose files change are deployed again. Writes `listening on http://…` to `out` when calls are taken.
/// A second signal ends it at once: the process exits from within.
pub async fn run(config: Config, watches_functions: bool, mut out: impl Write) -> Result<(), RunError> {
    let mut signals = Signals::new().context("watching for signals")?;
    let mut hangup = signal(SignalKind::hangup()).context("watching for signals")?;
    let data_dir = &config.server.data_dir;
    let refused = |cause| RunError::DataDir { path: data_dir.display().to_string(), cause };
    let DataDir { lock: _lock, scripts, log_files, store, staging } = DataDir::open(data_dir).map_err(refused)?;
    let listener = bind(config.server.listen).await?;
    let admin_listener = match config.admin.listen {
        Some(address) => Some(bind(address).await?),
        None => None,
    };

    let instance = Instance::current();
    let orphans = instance.sweep_orphans();
    if orphans > 0 {
        tracing::warn!(orphans, "ended what an earlier gateway had left behind");
    }
    let prefix = match config.server.prefix.clone() {
        Some(prefix) => prefix,
        None => host_name()?,
    };
    let spawner = Arc::new(Spawner::new(instance));
    let reaping = Arc::clone(&spawner);
    tokio::spawn(async move { reaping.reap_orphans().await });
    let functions = Arc::new(FunctionsForPlugins::new(http::invoke::told));
    let plugins = Plugins::new(
        data_dir.join("compiled"),
        config.server.max_body.bytes(),
        Arc::clone(&functions) as Arc<dyn CallFunction>,
    );
    let deploy = &config.deploy;
    let install_env = deploy.install_env.clone();
    let gateway = Arc::new(Gateway::new(Parts {
        prefix,
        installer: Installer::new(Arc::clone(&spawner), deploy.install_timeout.get(), install_env),
        repositories: Repositories::new(Arc::clone(&spawner), deploy.repositories.clone(), deploy.clone_timeout.get()),
        spawner,
        scripts,
        log_files,
        plugins,
        store,
        staging,
        deploy: deploy.clone(),
        private: [&config.file, data_dir].into_iter().filter_map(|path| path.canonicalize().ok()).collect(),
        drain: config.server.drain.get(),
    }));
    functions.open(&gateway, tokio::runtime::Handle::current());
    // Compiling a plugin, or looking a program up, may take long.
    let interrupted = tokio::select! {
        started = start(&config, &gateway) => {
            started?;
            None
        }
        which = signals.next() => Some(which),
    };
    if let Some(which) = interrupted {
        tracing::info!(signal = which, "stopping before anything was served");
        gateway.kill().await;
        return Ok(());
    }
    let reloading = Reloading::start(&config, &gateway, watches_functions);

    let stop = CancellationToken::new();
    let servers = TaskTracker::new();
    let address = listener.local_addr().context("reading the listener's address")?;
    for (listener, service) in services(&config, &gateway, listener, admin_listener) {
        let limits = connection_limits(&config);
        servers.spawn(accept::serve(listener, Arc::new(service), limits, stop.clone()));
    }
    tracing::info!(%address, prefix = %gateway.prefix, deployments = config.deployments.len(), "serving");
    writeln!(out, "listening on http://{address}").and_then(|()| out.flush()).context("writing to standard output")?;

    let which = loop {
        tokio::select! {
            which = signals.next() => break which,
            _ = hangup.recv() => reloading.ask("SIGHUP"),
        }
    };
    reloading.stop();
    tracing::info!(signal = which, "stopping: finishing what runs");
    tokio::select! {
        () = shut_down(&config, &gateway, &stop, &servers) => {}
        which = signals.next() => {
            tracing::warn!(signal = which, "stopping at once");
            gateway.kill().await;
        }
    }
    tracing::info!("stopped");
    Ok(())
}

/// Plugins first: what is deployed runs through them. One that cannot be loaded may be the one that keeps strangers out.
async fn start(config: &Config, gateway: &Arc<Gateway>) -> Result<(), RunError> {
    let (plugins, mut faults) = config::load_plugins(config);
    let errors = if plugins.is_empty() { Vec::new() } else { gateway.load_plugins(plugins.clone()).await };
    for error in &errors {
        faults.push(error.fault(&plugins));
    }
    if !faults.is_empty() {
        return Err(RunError::Plugins(faults));
    }
    for warning in config::idle_plugins(config, &plugins) {
        tracing::warn!("{warning}");
    }
    for deployment in config.deployments.clone() {
        gateway.deploy_configured(deployment).await;
    }
    gateway.restore();
    Ok(())
}

async fn shut_down(config: &Config, gateway: &Gateway, stop: &CancellationToken, servers: &TaskTracker) {
    gateway.begin_drain();
    stop.cancel();
    servers.close();
    let drain = config.server.drain.get();
    let _cut = tokio::time::timeout(drain, servers.wait()).await;
    gateway.stop(std::time::Duration::ZERO).await;
    // Calls that were cut have their answers now.
    let _cut = tokio::time::timeout(CLOSE_GRACE, servers.wait()).await;
}

fn services(
    config: &Config,
    gateway: &Arc<Gateway>,
    listener: TcpListener,
    admin_listener: Option<TcpListener>,
) -> Vec<(TcpListener, Service)> {
    let body_limits = BodyLimits { size: config.server.max_body.bytes(), stall: config.server.body_timeout.get() };
    let health = admin::health(Arc::clone(gateway), config.admin.token.as_ref());
    let api = admin::api(gateway, config.admin.token.as_ref(), config.deploy.max_upload.bytes());
    let service =
        |router: Router, calls| Service::new(Arc::clone(gateway), admin::with_fallbacks(router), calls, body_limits);
    match admin_listener {
        None => vec![(listener, service(health.merge(api), true))],
        Some(admin_listener) => {
            vec![(listener, service(health.clone(), true)), (admin_listener, service(health.merge(api), false))]
        }
    }
}

fn connection_limits(config: &Config) -> ConnectionLimits {
    // Workers, logs and files need descriptors too.
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    let connections = config.server.max_connections.map_or((descriptors / 2).clamp(16, CONNECTIONS), u64::from);
    let workers: u64 = config.deployments.iter().map(|deployment| u64::from(deployment.workers.max)).sum();
    let needed = connections + WORKER_DESCRIPTORS * workers + OWN_DESCRIPTORS;
    if needed > descriptors {
        tracing::warn!(
            descriptors,
            needed,
            workers,
            connections,
            "too few descriptors for all workers and connections"
        );
    }
    ConnectionLimits {
        connections: usize::try_from(connections).unwrap_or(usize::MAX),
        deadlines: Deadlines { head: config.server.header_timeout.get(), idle: config.server.idle_timeout.get() },
    }
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))
}

fn host_name() -> anyhow::Result<Prefix> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Prefix::new(&name).with_context(|| {
        format!(
            "the host name {name:?} cannot be the first part of addresses: set [server] prefix in the configuration"
        )
    })
}

/// The signals that ask for the end.
struct Signals {
    term: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
