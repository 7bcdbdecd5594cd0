//! Deleting a deployment: mark its record, take it out of service, drain its workers, remove its files, then answer.

use std::sync::Arc;

use crate::deployment::DeploymentName;
use crate::gateway::deploy_error::DeployError;
use crate::gateway::deployer::{Deployer, blocking};
use crate::gateway::rollout::drain_pool;
use crate::metrics::changes::ChangeKind;

impl Deployer {
    /// Deletes a deployment that was made over HTTP. Deploys of it in progress are given up; calls in flight may finish
    /// within the drain time. When this returns, no process, file or log of it is left. The delete runs to its end even
    /// if the future is dropped.
    ///
    /// # Errors
    ///
    /// There is no such deployment, the configuration defines it, the gateway stops, or the disk failed. In the last
    /// case the next start finishes the delete.
    pub async fn delete(self: &Arc<Self>, name: &str) -> Result<(), DeployError> {
        if self.gateway.is_draining() {
            return Err(DeployError::Stopping);
        }
        self.check_not_configured(name)?;
        let record = match self.unshared(name) {
            Some(own) => own,
            None => self.newest_of(name).await?.ok_or_else(|| DeployError::NotFound(name.to_owned()))?,
        };
        // Before the lock: the deploys that would be in front in its line are the ones to give up.
        self.change_locks.give_up(name);
        let deployer = Arc::clone(self);
        let deleting = self.gateway.tasks.spawn(async move { deployer.delete_now(record.name).await });
        let deleted = deleting.await.unwrap_or(Err(DeployError::Internal));
        self.changes.add(ChangeKind::Delete, Some(name), deleted.is_ok());
        deleted
    }

    async fn delete_now(self: Arc<Self>, name: DeploymentName) -> Result<(), DeployError> {
        let _lock = self.lock_changes(&name).await?;
        if let Some(own) = self.unshared(name.as_str()) {
            return self.delete_unshared(own).await;
        }
        let unknown = || DeployError::NotFound(name.as_str().to_owned());
        let mut record = self.newest(&name).await?.ok_or_else(unknown)?;
        record.deleted = true;
        let marked = self.records.replace(record).await.map_err(DeployError::from);
        // A full disk takes no new record, but renaming the folder away needs no space. So the delete goes on, only
        // without the mark that would let the next start finish it.
        let is_full = matches!(&marked, Err(DeployError::Storage(error)) if error.is_full());
        if !is_full {
            marked?;
        }
        let removed = self.take_away(&name).await;
        if removed.is_err() && is_full {
            // Neither marked nor removed: it is still deployed.
            self.restore_one(name.as_str());
        }
        removed
    }

    /// Takes a deployment out of service and removes all that there is of it.
    pub(super) async fn take_away(self: &Arc<Self>, name: &DeploymentName) -> Result<(), DeployError> {
        if let Some(deployment) = self.gateway.registry.remove(name.as_str())
            && let Some(pool) = deployment.pool()
        {
            drain_pool(pool, self.drain, &self.gateway.kill).await;
        }
        let (store, waste, of) = (Arc::clone(&self.store), self.tools.staging.place_for_waste(), name.clone());
        blocking(move || Ok(store.remove(&of, &waste)?)).await?;
        let (users, of) = (Arc::clone(&self.gateway.launcher.users), name.clone());
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || users.forget(&of)).await {
            tracing::warn!(deployment = %name, %error, "the user of a deleted deployment stays taken");
        }
        self.gateway.logs.remove_files(name).await;
        tracing::info!(deployment = %name, "deployment deleted");
        Ok(())
    }
}
