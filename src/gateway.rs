//! What the gateway does, without HTTP: call a function, deploy, roll back and delete, tell what is there, stop.

mod change_lock;
pub mod create;
pub mod delete;
pub mod deploy;
pub mod deploy_error;
pub mod inspect;
pub mod invoke;
mod load_hooks;
pub mod packages;
pub mod releases;
pub mod reload;
mod restore;
pub mod whole_request;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::DeployConfig;
use crate::deployment::{DeploymentName, Prefix};
use crate::gateway::change_lock::ChangeLocks;
use crate::gateway::reload::ReloadRequest;
use crate::logs::book::LogBook;
use crate::logs::files::LogFiles;
use crate::plugin::plugins::{PluginSet, Plugins};
use crate::process::spawner::Spawner;
use crate::registry::store::Store;
use crate::registry::{Live, Registry};
use crate::runtime::scripts::WorkerScripts;
use crate::source::dependencies::Installer;
use crate::source::repository::Repositories;
use crate::source::staging::StagingArea;

/// The version that every deployment has in its address.
pub const VERSION: &str = "v1";
/// Archives that are unpacked at once.
const UNPACKING: usize = 2;
/// Repositories that are fetched at once.
const FETCHING: usize = 4;
/// Releases whose dependencies are installed at once.
const INSTALLING: usize = 4;

/// What a gateway is made of.
pub struct Parts {
    /// First part of call addresses.
    pub prefix: Prefix,
    /// Starts workers and tools.
    pub spawner: Arc<Spawner>,
    /// The workers' scripts.
    pub scripts: WorkerScripts,
    /// Where logs go.
    pub log_files: LogFiles,
    /// Plugins, none of them loaded yet.
    pub plugins: Plugins,
    /// What was deployed over HTTP.
    pub store: Store,
    /// Where releases are made.
    pub staging: StagingArea,
    /// Installs what releases depend on.
    pub installer: Installer,
    /// Fetches repositories.
    pub repositories: Repositories,
    /// Settings of what is deployed over HTTP.
    pub deploy: DeployConfig,
    /// What is never read over HTTP, whatever folder it lies in: the configuration and the data folder, without links.
    pub private: Arc<[PathBuf]>,
    /// How long calls may go on when their deployment is deleted.
    pub drain: Duration,
}

/// The use cases and what they work on.
pub struct Gateway {
    /// First part of call addresses.
    pub prefix: Prefix,
    /// Where releases are made.
    pub staging: StagingArea,
    /// What is never read over HTTP, whatever folder it lies in.
    pub private: Arc<[PathBuf]>,
    registry: Registry,
    store: Arc<Store>,
    spawner: Arc<Spawner>,
    scripts: WorkerScripts,
    log_files: LogFiles,
    books: Mutex<HashMap<DeploymentName, Weak<LogBook>>>,
    plugins: Arc<Plugins>,
    installer: Installer,
    repositories: Repositories,
    deploy: DeployConfig,
    drain: Duration,
    turns: Arc<ChangeLocks>,
    unpacking: Arc<Semaphore>,
    fetching: Arc<Semaphore>,
    installing: Semaphore,
    /// Held while plugins or deployments are put in place, so that none meets the others' past.
    placing: Mutex<()>,
    asks: OnceLock<mpsc::UnboundedSender<ReloadRequest>>,
    reload_failure: ArcSwapOption<String>,
    sequence: AtomicU64,
    draining: CancellationToken,
    /// Deploys on their way, and releases that finish their calls.
    tasks: TaskTracker,
    /// Releases that finish their calls are to end at once.
    cut: CancellationToken,
}

impl Gateway {
    /// A gateway without deployments.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts {
            prefix,
            spawner,
            scripts,
            log_files,
            plugins,
            store,
            staging,
            installer,
            repositories,
            deploy,
            private,
            drain,
        } = parts;
        Self {
            prefix,
            staging,
            private,
            registry: Registry::default(),
            store: Arc::new(store),
            spawner,
            scripts,
            log_files,
            books: Mutex::default(),
            plugins: Arc::new(plugins),
            installer,
            repositories,
            deploy,
            drain,
            turns: Arc::default(),
            unpacking: Arc::new(Semaphore::new(UNPACKING)),
            fetching: Arc::new(Semaphore::new(FETCHING)),
            installing: Semaphore::new(INSTALLING),
            placing: Mutex::new(()),
            asks: OnceLock::new(),
            reload_failure: ArcSwapOption::empty(),
            sequence: AtomicU64::new(1),
            draining: CancellationToken::new(),
            tasks: TaskTracker::new(),
            cut: CancellationToken::new(),
        }
    }

    /// From now on it is not ready for new work; deploys on their way are given up.
    pub fn begin_drain(&self) {
        self.draining.cancel();
    }

    /// Whether it is finishing what it has and takes nothing new.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Waits until it is draining: what would go on for ever ends then.
    pub fn drained(&self) -> impl Future<Output = ()> + use<> {
        self.draining.clone().cancelled_owned()
    }

    /// The deployment of this name.
    #[must_use]
    pub fn deployment(&self, name: &str) -> Option<Arc<Live>> {
        self.registry.get(name)
    }

    /// The plugins that run now.
    #[must_use]
    pub fn plugins(&self) -> Arc<PluginSet> {
        self.plugins.current()
    }

    /// The log of a deployment, if there is a deployment or an upload of that name.
    #[must_use]
    pub fn log_of(&self, name: &str) -> Option<Arc<LogBook>> {
        let live = self.registry.get(name).map(|live| Arc::clone(&live.logs));
        live.or_else(|| Some(self.book(&self.store.record(name)?.name)))
    }

    /// The log of a deployment, one for all of its releases.
    fn book(&self, name: &DeploymentName) -> Arc<LogBook> {
        let mut books = self.books.lock();
        if let Some(book) = books.get(name).and_then(Weak::upgrade) {
            return book;
        }
        books.retain(|_, book| book.strong_count() > 0);
        let book = Arc::new(LogBook::new(name.clone(), self.log_files.clone()));
        books.insert(name.clone(), Arc::downgrade(&book));
        book
    }

    /// Ends every worker at once, and with it the calls that are on their way.
    pub async fn kill(&self) {
        self.cut.cancel();
        for live in self.registry.all() {
            if let Some(pool) = live.pool() {
                pool.kill();
            }
        }
        self.stop(Duration::ZERO).await;
    }

    /// Stops every worker: calls in flight may go on for `drain`. No worker process is left when it returns.
    pub async fn stop(&self, drain: Duration) {
        self.begin_drain();
        let mut stops = tokio::task::JoinSet::new();
        for live in self.registry.all() {
            if let Some(pool) = live.pool() {
                let pool = Arc::clone(pool);
                stops.spawn(async move { pool.stop(drain).await });
            }
        }
        stops.join_all().await;
        self.cut.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
