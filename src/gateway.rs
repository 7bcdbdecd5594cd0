//! What the gateway does, without HTTP: call a function, deploy what the configuration names, tell what is there, stop.

pub mod deploy;
pub mod inspect;
pub mod invoke;
mod loads;
pub mod reload;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::deployment::Prefix;
use crate::gateway::reload::Ask;
use crate::plugin::plugins::{PluginSet, Plugins};
use crate::registry::{Live, Registry, Serving};
use crate::runtime::scripts::WorkerScripts;
use crate::worker::log_file::LogFiles;
use crate::worker::process::Spawner;

/// The version that every deployment has in its address.
pub const VERSION: &str = "v1";

/// The use cases and what they work on.
pub struct Gateway {
    /// First part of call addresses.
    pub prefix: Prefix,
    registry: Registry,
    spawner: Arc<Spawner>,
    scripts: WorkerScripts,
    log_files: LogFiles,
    plugins: Arc<Plugins>,
    /// Held while plugins or deployments are put in place, so that none meets the others' past.
    placing: Mutex<()>,
    asks: OnceLock<mpsc::UnboundedSender<Ask>>,
    reload_failure: ArcSwapOption<String>,
    sequence: AtomicU64,
    draining: CancellationToken,
}

impl Gateway {
    /// A gateway without deployments.
    #[must_use]
    pub fn new(
        prefix: Prefix,
        spawner: Arc<Spawner>,
        scripts: WorkerScripts,
        log_files: LogFiles,
        plugins: Plugins,
    ) -> Self {
        Self {
            prefix,
            registry: Registry::default(),
            spawner,
            scripts,
            log_files,
            plugins: Arc::new(plugins),
            placing: Mutex::new(()),
            asks: OnceLock::new(),
            reload_failure: ArcSwapOption::empty(),
            sequence: AtomicU64::new(1),
            draining: CancellationToken::new(),
        }
    }

    /// From now on it is not ready for new work.
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

    /// Ends every worker at once, and with it the calls that are on their way.
    pub async fn kill(&self) {
        for live in self.registry.all() {
            if let Serving::Pool(pool) = &live.serving {
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
            if let Serving::Pool(pool) = &live.serving {
                let pool = Arc::clone(pool);
                stops.spawn(async move { pool.stop(drain).await });
            }
        }
        stops.join_all().await;
    }
}
