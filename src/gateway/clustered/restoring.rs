//! Writing back to a cluster what this gateway has on its disk, after the cluster's servers have lost it.

use std::sync::Arc;

use serde::Serialize;

use crate::deployment::DeploymentName;
use crate::gateway::deploy_error::DeployError;
use crate::gateway::deployer::Deployer;
use crate::registry::record::Record;

/// What was written back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// Deployments that the cluster had lost, and has again.
    pub restored: Vec<String>,
    /// Deployments that the cluster has, and keeps as they are there.
    pub kept: Vec<String>,
    /// Deployments that were not written back, with the reasons.
    pub failed: Vec<String>,
}

impl Deployer {
    /// Has the cluster's registry obeyed again, on all gateways, and writes to it what it lacks of ours. None if this
    /// gateway is alone.
    ///
    /// # Errors
    ///
    /// The cluster's servers do not answer.
    pub async fn restore_cluster(self: &Arc<Self>) -> Result<Option<Restored>, DeployError> {
        let Some(cluster) = self.cluster.clone() else { return Ok(None) };
        if cluster.lost().is_some() {
            cluster.declare_restored().await?;
            self.forget_revisions().await?;
        }
        Ok(Some(self.write_back().await))
    }

    /// Another gateway has had the registry obeyed again.
    pub(super) async fn follow_restore(self: &Arc<Self>) -> Result<(), DeployError> {
        self.forget_revisions().await?;
        let restored = self.write_back().await;
        tracing::warn!(?restored, "the cluster was restored");
        Ok(())
    }

    /// The revisions of our copies were those of another registry.
    async fn forget_revisions(&self) -> Result<(), DeployError> {
        for record in self.store.records() {
            let _lock = self.lock_changes(&record.name).await?;
            let Some(mut record) = self.store.record(record.name.as_str()) else { continue };
            record.revision = None;
            self.keep_copy(record).await?;
        }
        Ok(())
    }

    async fn write_back(self: &Arc<Self>) -> Restored {
        let mut restored = Restored::default();
        for record in self.store.records() {
            let name = record.name.clone();
            match self.write_back_one(record).await {
                Ok(true) => restored.restored.push(name.to_string()),
                Ok(false) => restored.kept.push(name.to_string()),
                Err(error) => restored.failed.push(format!("{name}: {error}")),
            }
        }
        restored
    }

    /// Writes a record and its packages back. Returns false if the cluster has a record of the name.
    async fn write_back_one(&self, record: Record) -> Result<bool, DeployError> {
        let name: DeploymentName = record.name.clone();
        let _lock = self.lock_changes(&name).await?;
        let newest = self.records.newest(&name).await?;
        if newest.is_some() {
            return Ok(false);
        }
        let Some(mut record) = self.store.record(name.as_str()) else { return Ok(false) };
        // A release without a package was made before this gateway was part of the cluster.
        if record.live_release().is_none_or(|live| live.package.is_none()) {
            return Err(DeployError::NotShared { name: name.to_string(), release: record.live.unwrap_or(0) });
        }
        let packages: Vec<_> = record.releases.iter().filter_map(|release| release.package.as_ref()).collect();
        for package in packages {
            let file = self.artefacts.fetch(&name, package.sha256).await?;
            self.artefacts.put(&name, package.sha256, file).await?;
        }
        // An upload that was never deployed may be gone with the servers.
        record.upload = None;
        record.revision = None;
        self.records.replace(record).await?;
        Ok(true)
    }
}
