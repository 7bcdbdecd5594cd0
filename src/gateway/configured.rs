//! Deployments of the configuration: start, replace, remove.

use std::sync::Arc;

use crate::config::DeploymentConfig;
use crate::gateway::deployer::Deployer;
use crate::worker::failure::{LoadFailure, LoadFailureKind};

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
