//! Reading the configuration again while the gateway serves, requested by SIGHUP, by the admin API or by a watcher. One
//! reload runs at a time; requests that arrive during a reload share the next one.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::config_watch::ConfigWatch;
use crate::app::function_watch;
use crate::app::hidden::hidden;
use crate::config::{self, Config, DeployConfig, Fault, Faults, PluginConfig, ServerConfig};
use crate::gateway::Gateway;
use crate::gateway::deployer::Deployer;
use crate::gateway::reload_queue::{self, ReloadReceiver, ReloadResult, ReloadSender};
use crate::gateway::reload_request::{Functions, OVER_HTTP, Rejected, ReloadFailure, ReloadRequest, Reloaded};
use crate::http::front::Front;
use crate::metrics::changes::ChangeKind;
use crate::supervise;
use crate::telemetry::audit::{AuditLog, Change};
use crate::traces::change::{self, PartOf, TracedChange};

/// How long a reload waits after a change of files: editors write a file in several steps, deploy tools write many
/// files.
const SETTLE: Duration = Duration::from_millis(200);
/// The pause after a reload. A file that changes all the time then costs a few reloads per second at most.
const PAUSE: Duration = Duration::from_millis(300);

/// The name under which the task is supervised.
const TASK: &str = "reload";

/// The watch of the configuration's files, from before plugins and deployments start: what changes meanwhile is read
/// once the gateway serves.
pub(super) struct Watched {
    watch: ConfigWatch,
    requests: ReloadSender,
    received: ReloadReceiver,
}

impl Watched {
    pub(super) fn start(config: &Config) -> Self {
        let (requests, received) = reload_queue::channel();
        Self { watch: ConfigWatch::start(config, requests.clone()), requests, received }
    }
}

/// A handle for requesting reloads.
pub(super) struct Reloading {
    requests: ReloadSender,
}

impl Reloading {
    /// Starts the task that reloads. It ends when `stop` is cancelled.
    pub(super) fn start(
        config: &Config,
        watched: Watched,
        deployer: &Arc<Deployer>,
        front: &Arc<Front>,
        audit: &AuditLog,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let Watched { watch, requests, received } = watched;
        deployer.reloads.serve_with(requests.clone());
        deployer.gateway.check_targets(config);
        let reloader = Reloader {
            config: config.clone(),
            deployer: Arc::clone(deployer),
            front: Arc::clone(front),
            audit: audit.clone(),
            received,
            watch,
        };
        // Shared, so that after a panic the task continues with the same requests and configuration.
        let reloader = Arc::new(Mutex::new(reloader));
        supervise::until_stopped(tasks, stop, TASK, move || {
            let reloader = Arc::clone(&reloader);
            async move { reloader.lock().await.run().await }
        });
        Self { requests }
    }

    /// Requests a reload whenever files of the functions change, until `stop` is cancelled.
    pub(super) fn watch_functions(&self, gateway: &Arc<Gateway>, tasks: &TaskTracker, stop: &CancellationToken) {
        let (gateway, sender) = (Arc::clone(gateway), self.requests.clone());
        supervise::until_stopped(tasks, stop, function_watch::TASK, move || {
            function_watch::watch(Arc::clone(&gateway), sender.clone())
        });
    }

    /// Requests a reload, with a check of the functions' files. Does not wait for it.
    pub(super) fn request(&self, cause: &'static str) {
        self.requests.send(ReloadRequest::of_functions(cause));
    }
}

/// The state of the task that reloads.
struct Reloader {
    /// The configuration in force.
    config: Config,
    deployer: Arc<Deployer>,
    front: Arc<Front>,
    audit: AuditLog,
    received: ReloadReceiver,
    watch: ConfigWatch,
}

impl Reloader {
    async fn run(&mut self) {
        loop {
            let reload = self.received.next(SETTLE).await;
            supervise::panic_point(TASK);
            tracing::info!(cause = reload.cause, "reloading the configuration");
            // An upgrade must not begin in the middle of it.
            let deployer = Arc::clone(&self.deployer);
            let turn = deployer.reloads.turn.lock().await;
            // Caught here rather than by the supervisor alone: the requesters below get an answer.
            let reloaded = match AssertUnwindSafe(self.reload(reload.functions)).catch_unwind().await {
                Ok(reloaded) => reloaded,
                Err(_) => {
                    tracing::error!("reload panicked: the configuration in force stays");
                    Err(Rejected::Internal)
                }
            };
            drop(turn);
            self.watch.follow(&self.config);
            self.record(reload.cause, &reloaded);
            let is_waited_for = reload.is_waited_for;
            reload.finish(reloaded);
            if !is_waited_for {
                self.received.pause(PAUSE).await;
            }
        }
    }

    /// Counts a reload, and writes it to the audit log; those that were asked for over HTTP are written there.
    fn record(&self, cause: &str, reloaded: &ReloadResult) {
        let is_made = reloaded.as_ref().is_ok_and(|reloaded| reloaded.failures.is_empty());
        self.deployer.changes.add(ChangeKind::Reload, None, is_made);
        if cause != OVER_HTTP {
            let outcome = if is_made { "ok" } else { "failed" };
            let (what, deployment) = ("reload", None);
            self.audit.write(&Change { who: cause, from: "", what, deployment, outcome, request_id: "" });
        }
    }

    async fn reload(&mut self, functions: Functions) -> ReloadResult {
        let (config, plugins, faults) = self.read().await?;
        for fault in &faults {
            tracing::error!(reason = %fault, "plugin settings rejected: the plugin in service stays");
        }
        let needs_restart = needs_restart(&self.config, &config);
        if !needs_restart.is_empty() {
            tracing::warn!(
                tables = needs_restart.join(", "),
                "changes of these tables need a restart of the gateway, or `metagate upgrade`"
            );
        }
        for warning in config::idle_plugins(&config, &plugins).into_iter().chain(config::route_warnings(&config)) {
            tracing::warn!("{warning}");
        }
        let plugins = self.with_running(plugins, &config, &faults);
        let in_service = self.in_service();
        self.deployer.gateway.hide(hidden(&config, &plugins));
        self.deployer.gateway.check_targets(&config);
        let reloading = self.deployer.reload(&config.plugins, plugins.clone(), config.deployments.clone(), functions);
        let traced = TracedChange { kind: "reload", deployment: None, part_of: PartOf::Nothing };
        let mut reloaded = change::traced(self.deployer.gateway.tracer(), traced, reloading, fault_of).await;
        reloaded.needs_restart = needs_restart;
        log(&reloaded, &plugins, &in_service);
        // [server], [admin], [metrics], [dashboard], [access_log], [traces], [cluster] and [deploy] without
        // [deploy.async] keep the values that the gateway started with.
        self.front.replace(&config);
        if let Some(calls) = self.deployer.gateway.async_calls() {
            calls.replace_rules(&config);
        }
        self.config.server.cors = config.server.cors;
        self.config.routes = config.routes;
        self.config.deployments = config.deployments;
        self.config.plugins = config.plugins;
        self.config.plugin_list = config.plugin_list;
        let failures = reloaded.failures.iter().map(ReloadFailure::public_message);
        let failures: Vec<String> = failures.chain(faults.iter().map(Fault::without_line)).collect();
        self.deployer.reloads.record_failure((!failures.is_empty()).then(|| failures.join("\n")));
        Ok(Arc::new(reloaded))
    }

    /// The names of the plugins in service.
    fn in_service(&self) -> BTreeSet<String> {
        let set = self.deployer.gateway.plugins();
        set.plugins.iter().map(|plugin| plugin.settings.name.to_string()).collect()
    }

    /// Reads the configuration and the settings of its plugins, those with faults left out.
    async fn read(&self) -> Result<(Config, Vec<PluginConfig>, Faults), Rejected> {
        let file = self.config.file.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let config = config::load(&file)?;
            let (plugins, faults) = config::load_plugins(&config);
            Ok::<_, Faults>((config, plugins, faults))
        });
        match reading.await {
            Ok(Ok(read)) => Ok(read),
            Ok(Err(faults)) => {
                tracing::error!(reason = %faults, "configuration rejected: the one in force stays");
                // Without the lines of the file, which may hold secrets: /readyz may be public.
                let public: Vec<String> = faults.iter().map(Fault::without_line).collect();
                self.deployer.reloads.record_failure(Some(public.join("\n")));
                Err(Rejected::Faults(faults.to_string()))
            }
            Err(error) => {
                tracing::error!(%error, "reading the configuration panicked: the one in force stays");
                Err(Rejected::Internal)
            }
        }
    }

    /// The plugins to load: `plugins`, and the running drop-ins whose new settings have faults. If the plugins folder
    /// cannot be read, it is unknown which drop-ins were removed, so all of them stay: one of them may authorize
    /// calls.
    fn with_running(&self, mut plugins: Vec<PluginConfig>, new: &Config, faults: &Faults) -> Vec<PluginConfig> {
        let Some(dir) = new.plugins.dir.as_deref().filter(|_| !faults.is_empty()) else { return plugins };
        let is_readable = std::fs::read_dir(dir).is_ok();
        let dir = if is_readable { Some(dir) } else { self.config.plugins.dir.as_deref() };
        let first_drop_in = new.plugin_list.len();
        for old in &self.deployer.gateway.plugins().plugins {
            let PluginConfig { name, path, .. } = &old.settings;
            let is_drop_in = path.parent() == dir;
            let is_missing = plugins.iter().all(|plugin| plugin.name != *name);
            if is_drop_in && is_missing && (path.is_file() || !is_readable) {
                // Drop-ins come after the listed plugins, in the order of their paths.
                let before = plugins[first_drop_in..].partition_point(|plugin| plugin.path < *path);
                plugins.insert(first_drop_in + before, old.settings.clone());
            }
        }
        plugins
    }
}

/// The tables that have changed and keep the values that the gateway started with.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    // CORS and the limits of asynchronous calls are replaced by a reload.
    let server = ServerConfig { cors: old.server.cors.clone(), ..new.server.clone() };
    let deploy = DeployConfig { async_calls: old.deploy.async_calls.clone(), ..new.deploy.clone() };
    let changed = [
        ("server", old.server != server),
        ("admin", old.admin != new.admin),
        ("metrics", old.metrics != new.metrics),
        ("dashboard", old.dashboard != new.dashboard),
        ("access_log", old.access_log != new.access_log),
        ("traces", old.traces != new.traces),
        ("cluster", old.cluster != new.cluster),
        ("deploy", old.deploy != deploy),
    ];
    changed.into_iter().filter(|(_, has_changed)| *has_changed).map(|(table, _)| table).collect()
}

/// Why a reload failed in part, if it did.
fn fault_of(reloaded: &Reloaded) -> Option<String> {
    let failures: Vec<String> = reloaded.failures.iter().map(ReloadFailure::public_message).collect();
    (!failures.is_empty()).then(|| failures.join("\n"))
}

fn log(reloaded: &Reloaded, plugins: &[PluginConfig], in_service: &BTreeSet<String>) {
    for failure in &reloaded.failures {
        match failure {
            ReloadFailure::Plugin(error) => {
                let fault = error.fault(plugins);
                let instead =
                    if in_service.contains(error.name.as_str()) { "the one in service stays" } else { "it is new" };
                tracing::error!(plugin = %error.name, reason = %fault, "plugin not loaded: {instead}");
            }
            ReloadFailure::Deployment { name, failure } => {
                let reason = &failure.message;
                tracing::error!(deployment = %name, reason, "deployment not replaced: the one in service stays");
            }
        }
    }
    let (plugins, deployed, removed) = (&reloaded.plugins, &reloaded.deployed, &reloaded.removed);
    tracing::info!(?plugins, ?deployed, ?removed, "configuration reloaded");
}
