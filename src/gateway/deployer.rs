//! The part of the gateway that changes what is deployed. The changes are in files of their own: `create`, `delete`,
//! `packages`, `configured`, `reload`, `restore`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::cluster::Cluster;
use crate::config::DeployConfig;
use crate::deployment::DeploymentName;
use crate::gateway::Gateway;
use crate::gateway::change_lock::{ChangeLock, ChangeLocks};
use crate::gateway::deploy_error::DeployError;
use crate::gateway::reloads::Reloads;
use crate::gateway::server_paths::ServerPaths;
use crate::gateway::upgrades::Upgrades;
use crate::logs::book::LogBook;
use crate::metrics::changes::Changes;
use crate::registry::local::{LocalArtefacts, LocalRecords};
use crate::registry::record::Record;
use crate::registry::shared::{Artefacts, Records};
use crate::registry::store::{Hold, Store};
use crate::source::dependencies::Installer;
use crate::source::repository::Repositories;
use crate::source::staging::{Staging, StagingArea};

/// Archives that are unpacked at once: each fills disk and page cache.
const MAX_UNPACKING: usize = 2;
/// Repositories that are fetched at once; further requests are refused.
const MAX_FETCHING: usize = 4;
/// Releases whose dependencies are installed at once; further ones wait.
const MAX_INSTALLING: usize = 4;

/// The pause between two looks whether changes have ended.
const HOLD_PAUSE: Duration = Duration::from_millis(10);

/// What makes releases out of uploads and repositories.
pub struct ReleaseTools {
    /// Where releases are made.
    pub staging: StagingArea,
    /// Installs the dependencies of a release.
    pub installer: Installer,
    /// Fetches repositories.
    pub repositories: Repositories,
}

/// Changes what is deployed.
pub struct Deployer {
    /// The gateway whose deployments it changes.
    pub gateway: Arc<Gateway>,
    /// Requests to read the configuration again.
    pub reloads: Reloads,
    /// Requests to replace the running program.
    pub upgrades: Arc<Upgrades>,
    /// How often it has changed something.
    pub changes: Changes,
    /// Paths that clients of a deploy are not shown.
    pub server_paths: ServerPaths,
    pub(super) store: Arc<Store>,
    /// The records that count: those of the store, or of the cluster.
    pub(super) records: Arc<dyn Records>,
    pub(super) artefacts: Arc<dyn Artefacts>,
    /// The cluster that the gateway is part of, if it is not alone.
    pub cluster: Option<Arc<Cluster>>,
    pub(super) tools: ReleaseTools,
    /// Settings of deployments that are made over HTTP.
    pub(super) settings: DeployConfig,
    /// How long calls may continue when their deployment is deleted.
    pub(super) drain: Duration,
    pub(super) change_locks: Arc<ChangeLocks>,
    pub(super) unpacking: Arc<Semaphore>,
    pub(super) fetching: Arc<Semaphore>,
    pub(super) installing: Semaphore,
}

impl Deployer {
    /// Changes the deployments of `gateway`, and records those that are made over HTTP in `store`. `drain` is how long
    /// calls may continue when their deployment is deleted.
    #[must_use]
    pub fn new(
        gateway: Arc<Gateway>,
        store: Arc<Store>,
        tools: ReleaseTools,
        settings: DeployConfig,
        drain: Duration,
    ) -> Self {
        Self {
            gateway,
            reloads: Reloads::default(),
            upgrades: Arc::default(),
            changes: Changes::default(),
            server_paths: ServerPaths::below(store.data_dir()),
            records: Arc::new(LocalRecords::new(Arc::clone(&store))),
            artefacts: Arc::new(LocalArtefacts::new(Arc::clone(&store))),
            cluster: None,
            store,
            tools,
            settings,
            drain,
            change_locks: Arc::default(),
            unpacking: Arc::new(Semaphore::new(MAX_UNPACKING)),
            fetching: Arc::new(Semaphore::new(MAX_FETCHING)),
            installing: Semaphore::new(MAX_INSTALLING),
        }
    }

    /// The same with the records and packages of a cluster.
    #[must_use]
    pub fn with_cluster(mut self, cluster: Option<Arc<Cluster>>) -> Self {
        if let Some(cluster) = &cluster {
            (self.records, self.artefacts) = (cluster.records(), cluster.artefacts());
        }
        self.cluster = cluster;
        self
    }

    /// The newest record of a deployment; none if there is none or it is deleted.
    pub(super) async fn newest(&self, name: &DeploymentName) -> Result<Option<Record>, DeployError> {
        Ok(self.records.newest(name).await?.filter(|record| !record.deleted))
    }

    /// The newest record of a name that a client has sent; it may be none.
    pub(super) async fn newest_of(&self, name: &str) -> Result<Option<Record>, DeployError> {
        match DeploymentName::new(name) {
            Ok(name) => self.newest(&name).await,
            Err(_) => Ok(None),
        }
    }

    /// The log of a deployment; none if there is neither a deployment nor an upload of that name.
    #[must_use]
    pub fn log_of(&self, name: &str) -> Option<Arc<LogBook>> {
        let deployment = self.gateway.deployment(name);
        let logs = deployment.map(|deployment| Arc::clone(&deployment.logs));
        logs.or_else(|| Some(self.gateway.logs.book(&self.store.record(name)?.name)))
    }

    /// Refuses further changes with this reason, and waits until those that have begun have ended. From then on the
    /// data folder does not change.
    pub async fn hold_changes(&self, reason: &'static str) {
        self.store.hold(Some(Hold { reason, lets_finish: true }));
        while !self.change_locks.is_idle() {
            tokio::time::sleep(HOLD_PAUSE).await;
        }
        self.freeze_changes(reason);
    }

    /// Refuses all changes with this reason.
    pub fn freeze_changes(&self, reason: &'static str) {
        self.store.hold(Some(Hold { reason, lets_finish: false }));
    }

    /// Why changes are refused for a while, if they are.
    #[must_use]
    pub fn held_changes(&self) -> Option<&'static str> {
        self.store.held()
    }

    /// Takes changes again.
    pub fn release_changes(&self) {
        self.store.hold(None);
    }

    /// A new staging folder, made off the thread that serves calls.
    ///
    /// # Errors
    ///
    /// The data folder is read-only or full.
    pub async fn make_staging(&self) -> Result<Staging, DeployError> {
        self.store.check_writable()?;
        let area = self.tools.staging.clone();
        blocking(move || area.make().map_err(DeployError::disk("making a folder"))).await
    }

    /// Fails if the configuration defines the deployment.
    pub(super) fn check_not_configured(&self, name: &str) -> Result<(), DeployError> {
        match self.gateway.deployment(name) {
            Some(deployment) if deployment.stored().is_none() => Err(DeployError::OfConfiguration(name.to_owned())),
            _ => Ok(()),
        }
    }

    /// Waits for the change lock of a name. Fails if too many changes of it wait, or the gateway stops.
    pub(super) async fn lock_changes(&self, name: &DeploymentName) -> Result<ChangeLock, DeployError> {
        let lock = self.unless_draining(self.change_locks.acquire(name.as_str())).await?;
        lock.ok_or_else(|| DeployError::InProgress(name.as_str().to_owned()))
    }

    /// Waits for work, or fails when the gateway stops.
    pub(super) async fn unless_draining<T>(&self, work: impl Future<Output = T>) -> Result<T, DeployError> {
        tokio::select! {
            biased;
            () = self.gateway.drain_begins() => Err(DeployError::Stopping),
            done = work => Ok(done),
        }
    }

    /// Waits for a step of a deploy, or fails when the gateway stops or the deployment is deleted.
    pub(super) async fn unless_given_up<T>(
        &self,
        lock: &ChangeLock,
        name: &DeploymentName,
        work: impl Future<Output = T>,
    ) -> Result<T, DeployError> {
        tokio::select! {
            biased;
            () = lock.given_up.cancelled() => Err(DeployError::GivenUp(name.as_str().to_owned())),
            done = self.unless_draining(work) => done,
        }
    }
}

/// Runs work that blocks, off the thread that serves calls.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DeployError> + Send + 'static,
) -> Result<T, DeployError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(DeployError::Internal))
}
