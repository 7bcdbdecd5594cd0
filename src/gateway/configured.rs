//! Deployments of the configuration: start, replace, remove.

use std::sync::Arc;

use crate::config::DeploymentConfig;
use crate::deployment::DeploymentName;
use crate::gateway::change_lock::ChangeLock;
use crate::gateway::deployer::Deployer;
use crate::gateway::folder_changes::{FolderChange, Replaced, settled_fingerprint_of};
use crate::supervise;
use crate::worker::failure::{LoadFailure, LoadFailureKind};

/// The name under which the task that replaces releases of changed folders is supervised.
pub const FOLDERS: &str = "folder-changes";

impl Deployer {
    /// Puts a deployment of the configuration in service and starts its workers, without waiting for them. A deployment
    /// that cannot be served is in the registry as well, with the reason.
    pub async fn deploy_configured(&self, config: DeploymentConfig) {
        let deployment = self.gateway.launch(config, None).await;
        self.gateway.put_in_service(deployment);
    }

    /// Loads a new release of a deployment of the configuration, and replaces the one that serves.
    ///
    /// # Errors
    ///
    /// The new release did not load. If there was an old one that had loaded, it stays in service.
    pub(super) async fn redeploy(&self, config: DeploymentConfig) -> Result<(), Arc<LoadFailure>> {
        let lock = self.change_locks.acquire_unbounded(config.name.as_str()).await;
        self.check_not_stored(&config).map_err(Arc::new)?;
        self.replace(config, lock).await
    }

    async fn replace(&self, config: DeploymentConfig, lock: ChangeLock) -> Result<(), Arc<LoadFailure>> {
        let (deployment, loaded) = match self.gateway.load_candidate(config, None).await {
            Ok(deployment) => (deployment, Ok(())),
            Err((deployment, failure)) => (deployment, Err(failure)),
        };
        let name = deployment.name.clone();
        let old_serves = self.gateway.deployment(name.as_str()).is_some_and(|old| old.has_loaded());
        let out_of_service = if loaded.is_err() && old_serves {
            Some(Arc::new(deployment))
        } else {
            self.gateway.put_in_service(deployment)
        };
        if let Some(deployment) = out_of_service {
            self.gateway.drain_in_background(&deployment, Some(lock));
        }
        if loaded.is_ok() {
            tracing::info!(deployment = %name, "new release in service");
        }
        loaded
    }

    /// Replaces releases whose folders have changed when a worker of them is about to start. Runs until it is dropped.
    pub async fn replace_changed_folders(self: &Arc<Self>) {
        let mut received = self.gateway.folder_changes.received.lock().await;
        while let Some(FolderChange { name, sequence, answer }) = received.recv().await {
            supervise::panic_point(FOLDERS);
            let deployer = Arc::clone(self);
            self.gateway.tasks.spawn(async move {
                if let Ok(replaced) = deployer.unless_draining(deployer.replace_changed(&name, sequence)).await {
                    let _pool_stops = answer.send(replaced);
                }
            });
        }
    }

    async fn replace_changed(&self, name: &DeploymentName, sequence: u64) -> Replaced {
        let lock = self.change_locks.acquire_unbounded(name.as_str()).await;
        let current = self.gateway.deployment(name.as_str()).filter(|current| current.sequence == sequence);
        // Another change has come first, and ends the pool.
        let Some(current) = current else { return Replaced::Yes };
        let (Some(config), Some(folder)) = (current.config(), current.loaded_folder()) else { return Replaced::Yes };
        let Some(settled) = settled_fingerprint_of(folder.path()).await else { return Replaced::Unchanged };
        if settled == folder.loaded() {
            return Replaced::Unchanged;
        }
        if let Some(failure) = folder.rejection_of(settled) {
            return Replaced::No(failure);
        }
        tracing::info!(deployment = %name, "files have changed: loading them as another release");
        current.logs.note("the files have changed: they are loaded as another release");
        match self.replace(config.clone(), lock).await {
            Ok(()) => Replaced::Yes,
            Err(failure) => {
                let reason = &failure.message;
                tracing::error!(deployment = %name, reason, "changed files do not load: the release in service stays");
                folder.set_rejected(Some((settled, Arc::clone(&failure))));
                Replaced::No(failure)
            }
        }
    }

    /// Takes a deployment of the configuration out of service: it accepts no new calls, and calls in flight finish.
    pub(super) async fn undeploy(&self, name: &str) {
        let lock = self.change_locks.acquire_unbounded(name).await;
        if let Some(old) = self.gateway.registry.remove(name) {
            self.gateway.drain_in_background(&old, Some(lock));
            tracing::info!(deployment = %name, "deployment removed");
        }
    }

    /// Fails if a deployment that was made over HTTP has the name.
    pub(super) fn check_not_stored(&self, config: &DeploymentConfig) -> Result<(), LoadFailure> {
        let name = config.name.as_str();
        if self.gateway.deployment(name).is_none_or(|deployment| deployment.stored().is_none()) {
            return Ok(());
        }
        Err(LoadFailure::new(
            LoadFailureKind::Load,
            format!("{name:?} was deployed over HTTP: delete it first (metagate delete {name})"),
        ))
    }
}
