//! Deleting a deployment: written down first, then out of service, its workers ended, its files removed; then the answer.

use std::sync::Arc;

use crate::deployment::DeploymentName;
use crate::gateway::Gateway;
use crate::gateway::deploy::leave;
use crate::gateway::deploy_error::DeployError;
use crate::gateway::packages::blocking;

impl Gateway {
    /// Deletes a deployment that was made over HTTP. A deploy of it that is on its way is given up. Calls under way may
    /// finish within the drain time. When it returns no process, file or log of it is left. It goes on even if nobody
    /// waits for it; what a failure leaves of it is removed at the next start.
    pub async fn delete(self: &Arc<Self>, name: &str) -> Result<(), DeployError> {
        if self.is_draining() {
            return Err(DeployError::Stopping);
        }
        self.check_of_api(name)?;
        let record = self.store.record(name).ok_or_else(|| DeployError::NotFound(name.to_owned()))?;
        // A deploy that is on its way is for nothing.
        self.turns.give_up(name);
        let gateway = Arc::clone(self);
        let deleting = self.tasks.spawn(async move { gateway.delete_now(record.name).await });
        deleting.await.unwrap_or(Err(DeployError::Internal))
    }

    async fn delete_now(self: Arc<Self>, name: DeploymentName) -> Result<(), DeployError> {
        let _turn = self.turn(&name).await?;
        let store = Arc::clone(&self.store);
        let mut record = store.record(name.as_str()).ok_or_else(|| DeployError::NotFound(name.as_str().to_owned()))?;
        record.deleted = true;
        let written = blocking(move || Ok(store.save(record)?)).await;
        let is_full = matches!(&written, Err(DeployError::Storage(error)) if error.is_full());
        if !is_full {
            written?;
        }
        // On a full disk nothing can be written, but it can be moved away: that is as good, only later.
        if let Some(live) = self.registry.remove(name.as_str())
            && let Some(pool) = live.pool()
        {
            leave(pool, self.drain, &self.cut).await;
        }
        let (store, waste, of) = (Arc::clone(&self.store), self.staging.place_for_waste(), name.clone());
        let removed = blocking(move || Ok(store.remove(&of, &waste)?)).await;
        if removed.is_err() && is_full {
            self.restore_one(name.as_str());
        }
        removed?;
        self.log_files.remove(&name).await;
        tracing::info!(deployment = %name, "deleted");
        Ok(())
    }
}
