//! The gateway without HTTP: the deployments that serve, and how a call reaches one of their workers. Changes of what
//! is deployed are left to `deployer`.

pub mod async_calls;
mod blocking;
pub mod call;
mod change_lock;
pub mod clustered;
pub mod compare;
pub mod configured;
pub mod counted;
pub mod create;
pub mod delete;
pub mod deploy_error;
pub mod deployer;
pub mod deploying;
pub mod failure;
mod folder_changes;
pub mod inspect;
mod launch;
mod load_hooks;
mod load_slots;
mod log_books;
pub mod overview;
pub mod packages;
pub mod plan;
mod plugin_call_record;
pub mod plugin_calls;
pub mod plugin_detail;
pub mod readiness;
mod release_files;
pub mod releases;
pub mod reload;
pub mod reload_queue;
pub mod reload_request;
pub mod reloads;
pub mod request_head;
mod restore;
mod rollout;
mod route_targets;
pub mod run_as;
pub mod server_paths;
#[cfg(test)]
mod simulation;
mod unserved;
pub mod upgrades;
pub mod whole_request;
pub mod wiring;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{FunctionTarget, RoutePath, RouteTarget};
use crate::deployment::Prefix;
use crate::gateway::async_calls::AsyncCalls;
use crate::gateway::folder_changes::FolderChanges;
use crate::gateway::log_books::LogBooks;
use crate::logs::book::Echo;
use crate::logs::files::LogFiles;
use crate::metrics::calls::Calls;
use crate::plugin::held_stream::Room;
use crate::plugin::plugins::{PluginSet, Plugins};
use crate::process::spawner::Spawner;
use crate::process::walls::Hidden;
use crate::process::walls::machine::Wall;
use crate::registry::users::Users;
use crate::registry::{Deployment, Registry};
use crate::runtime::scripts::WorkerScripts;
use crate::traces::Tracer;
use crate::wasm::budget::MemoryBudget;
use crate::worker::spawn::StartWorker;

/// The version that every deployment has in its addresses.
pub const VERSION: &str = "v1";

/// What starts the workers of a release.
pub struct Launcher {
    /// Starts processes.
    pub spawner: Arc<Spawner>,
    /// Starts the processes of workers.
    pub workers: Arc<dyn StartWorker>,
    /// The worker scripts.
    pub scripts: WorkerScripts,
    /// The walls that this machine can put up around workers.
    pub walls: Vec<Wall>,
    /// The users that deployments run as.
    pub users: Arc<Users>,
}

/// The deployments that serve, and what starts and stops them.
pub struct Gateway {
    /// The first part of call addresses.
    pub prefix: Prefix,
    /// The configuration file and the data folder, without symbolic links. They are never served over HTTP, even if
    /// a served folder holds them.
    pub private: Arc<[PathBuf]>,
    registry: Registry,
    plugins: Arc<Plugins>,
    launcher: Launcher,
    logs: LogBooks,
    calls: Option<Calls>,
    tracer: Option<Arc<Tracer>>,
    async_calls: Option<Arc<AsyncCalls>>,
    /// Requests to replace releases whose folders have changed.
    folder_changes: FolderChanges,
    sequence: AtomicU64,
    /// Held while a deployment or a set of plugins is put in service. Both compute chains from the other, so without
    /// the lock a deployment could enter the registry with the chain of a set that has just been replaced.
    swap: Mutex<()>,
    /// It will stop. Calls are still served; readiness is off, so that no more of them are sent here.
    stopping: AtomicBool,
    /// Another process takes new connections.
    handed_over: AtomicBool,
    /// As `drain` is cancelled; reading it takes no lock.
    draining: AtomicBool,
    drain: CancellationToken,
    /// Deploys in progress and releases that drain. [`Self::stop`] waits for them.
    tasks: TaskTracker,
    /// Ends releases that drain, at once.
    kill: CancellationToken,
    /// Memory for the contents of streams that plugins ask for; unbounded until it is set.
    room: OnceLock<Arc<dyn Room>>,
    /// The routes of the configuration, and where they lead.
    route_targets: ArcSwap<Vec<(RoutePath, RouteTarget)>>,
    /// The functions that the configuration names otherwise: as what, by which name, and where they are.
    named_functions: ArcSwap<Vec<(&'static str, String, FunctionTarget)>>,
}

impl Gateway {
    /// A gateway without deployments.
    #[must_use]
    pub fn new(
        prefix: Prefix,
        private: Arc<[PathBuf]>,
        plugins: Plugins,
        launcher: Launcher,
        log_files: LogFiles,
    ) -> Self {
        Self {
            prefix,
            private,
            registry: Registry::default(),
            plugins: Arc::new(plugins),
            launcher,
            logs: LogBooks::new(log_files),
            calls: Some(Calls::default()),
            tracer: None,
            async_calls: None,
            folder_changes: FolderChanges::default(),
            sequence: AtomicU64::new(1),
            swap: Mutex::new(()),
            stopping: AtomicBool::new(false),
            handed_over: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            drain: CancellationToken::new(),
            tasks: TaskTracker::new(),
            kill: CancellationToken::new(),
            room: OnceLock::new(),
            route_targets: ArcSwap::default(),
            named_functions: ArcSwap::default(),
        }
    }

    /// Has the contents of streams that plugins ask for share this memory.
    pub fn share_room(&self, room: Arc<dyn Room>) {
        // It is set once, before the first call.
        let _set_before = self.room.set(room);
    }

    fn room(&self) -> Option<Arc<dyn Room>> {
        self.room.get().cloned()
    }

    /// The deployment of this name.
    #[must_use]
    pub fn deployment(&self, name: &str) -> Option<Arc<Deployment>> {
        self.registry.get(name)
    }

    /// Every deployment, the newest first.
    #[must_use]
    pub fn deployments(&self) -> Vec<Arc<Deployment>> {
        self.registry.all()
    }

    /// Hides these files and folders from workers that are started from now on, if their deployment is isolated.
    pub fn hide(&self, hidden: Hidden) {
        self.launcher.spawner.hide(hidden);
    }

    /// The walls that this machine can put up around workers, and those that it cannot.
    #[must_use]
    pub fn walls(&self) -> &[Wall] {
        &self.launcher.walls
    }

    /// With what is counted of calls left out, where metrics are off.
    #[must_use]
    pub fn without_metrics(self) -> Self {
        Self { calls: None, ..self }
    }

    /// With traces of changes, where they are on.
    #[must_use]
    pub fn with_tracer(self, tracer: Option<Arc<Tracer>>) -> Self {
        Self { tracer, ..self }
    }

    /// With asynchronous calls.
    #[must_use]
    pub fn with_async_calls(self, calls: AsyncCalls) -> Self {
        Self { async_calls: Some(Arc::new(calls)), ..self }
    }

    /// The asynchronous calls, where they are kept.
    #[must_use]
    pub fn async_calls(&self) -> Option<&Arc<AsyncCalls>> {
        self.async_calls.as_ref()
    }

    /// What makes traces, if they are on.
    #[must_use]
    pub fn tracer(&self) -> Option<&Arc<Tracer>> {
        self.tracer.as_ref()
    }

    /// With the logs of all deployments shown as they come.
    #[must_use]
    pub fn with_echo(self, echo: Option<Echo>) -> Self {
        Self { logs: self.logs.with_echo(echo), ..self }
    }

    /// What is counted of calls, unless metrics are off.
    #[must_use]
    pub fn calls(&self) -> Option<&Calls> {
        self.calls.as_ref()
    }

    /// The memory of all instances of plugins.
    #[must_use]
    pub fn plugin_memory(&self) -> &MemoryBudget {
        self.plugins.memory()
    }

    /// The plugins in service.
    #[must_use]
    pub fn plugins(&self) -> Arc<PluginSet> {
        self.plugins.current()
    }

    /// Turns readiness off, and goes on serving.
    pub fn announce_stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether it stops, or will soon.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Accepts no new work from now on, and gives up deploys in progress.
    pub fn begin_drain(&self) {
        self.announce_stop();
        self.draining.store(true, Ordering::Relaxed);
        self.drain.cancel();
    }

    /// Another process takes new connections. Those of this one end with their next answers, and endless answers now;
    /// until then calls are served.
    pub fn hand_over(&self) {
        self.handed_over.store(true, Ordering::Relaxed);
        self.drain.cancel();
    }

    /// Whether answers are the last ones of their connections.
    #[must_use]
    pub fn ends_connections(&self) -> bool {
        self.is_draining() || self.handed_over.load(Ordering::Relaxed)
    }

    /// Whether it accepts no new work.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Completes when [`Self::begin_drain`] is called. Endless answers, such as a log that is followed, end then.
    pub fn drain_begins(&self) -> impl Future<Output = ()> + use<> {
        self.drain.clone().cancelled_owned()
    }

    /// Kills every worker. Calls in flight fail.
    pub async fn kill(&self) {
        self.kill.cancel();
        for deployment in self.registry.all() {
            if let Some(pool) = deployment.pool() {
                pool.kill();
            }
        }
        self.stop(Duration::ZERO).await;
    }

    /// Stops every worker. Calls in flight may finish within `drain`. When it returns, no worker process is left.
    pub async fn stop(&self, drain: Duration) {
        self.begin_drain();
        let mut stops = JoinSet::new();
        for deployment in self.registry.all() {
            if let Some(pool) = deployment.pool().cloned() {
                stops.spawn(async move { pool.stop(drain).await });
            }
        }
        stops.join_all().await;
        // After the pools: the drain time of the gateway is over for replaced releases as well.
        self.kill.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.plugins.stop().await;
    }
}
