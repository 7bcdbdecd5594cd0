//! Making the changes of other gateways our own. A release is made of its package, loads while the old one serves, and
//! replaces it; a deployment is removed only if its record says so.

use std::sync::Arc;
use std::time::Duration;

use crate::cluster::changes::Change;
use crate::deployment::DeploymentName;
use crate::gateway::change_lock::ChangeLock;
use crate::gateway::deploy_error::DeployError;
use crate::gateway::deployer::{Deployer, blocking};
use crate::gateway::load_slots::LoadSlots;
use crate::gateway::packages::FILES;
use crate::gateway::release_files::Archive;
use crate::registry::record::{Record, Release};

/// The name of the task that follows the changes.
pub const FOLLOWING: &str = "cluster-follower";
/// The pause before a change that could not be made is tried again.
const RETRY: Duration = Duration::from_secs(30);

impl Deployer {
    /// Makes every change of the cluster our own, for ever.
    pub async fn follow_cluster(self: Arc<Self>) {
        let Some(cluster) = self.cluster.clone() else { return };
        let slots = LoadSlots::new();
        loop {
            let record = match cluster.next_change().await {
                Change::Record(record) => *record,
                Change::Restored => {
                    if let Err(error) = self.follow_restore().await {
                        tracing::error!(%error, "what the cluster has lost was not written back");
                    }
                    cluster.go_on();
                    continue;
                }
            };
            let (deployer, slots) = (Arc::clone(&self), slots.clone());
            self.gateway.tasks.spawn(async move {
                let taking = slots.hold(deployer.take_over(record));
                let _stopping = deployer.unless_draining(taking).await;
            });
        }
    }

    async fn take_over(self: &Arc<Self>, record: Record) {
        let Some(cluster) = &self.cluster else { return };
        let (name, revision) = (record.name.clone(), record.revision.unwrap_or(0));
        let failure = self.make_own(record.clone()).await.err().map(|error| error.to_string());
        let is_news = cluster.changed(name.as_str(), revision, failure.clone());
        let Some(reason) = failure else { return };
        // It is tried again and again.
        if is_news {
            tracing::error!(deployment = %name, revision, %reason, "a change of the cluster was not made here");
            let words = format!("the release of another gateway is not in service here: {reason}");
            self.gateway.logs.book(&name).note(&words);
        }
        let (cluster, deployer) = (Arc::clone(cluster), Arc::clone(self));
        self.gateway.tasks.spawn(async move {
            if deployer.unless_draining(tokio::time::sleep(RETRY)).await.is_ok() {
                cluster.try_again(record);
            }
        });
    }

    async fn make_own(self: &Arc<Self>, record: Record) -> Result<(), DeployError> {
        let name = record.name.clone();
        let lock = self.unless_draining(self.change_locks.acquire_unbounded(name.as_str())).await?;
        let own = self.store.record(name.as_str());
        let is_known = own.as_ref().is_some_and(|own| own.revision >= record.revision);
        if is_known || self.check_not_configured(name.as_str()).is_err() {
            return Ok(());
        }
        if own.as_ref().is_some_and(Record::is_unshared) {
            // An upload or a delete of the cluster's deployment of this name is nothing to ours.
            return if record.live.is_some() { Err(DeployError::Unshared(name.to_string())) } else { Ok(()) };
        }
        if record.deleted {
            return match own {
                Some(_) => self.take_away(&name).await,
                None => Ok(()),
            };
        }
        let release = record.live_release().cloned();
        match release.filter(|release| !self.serves(own.as_ref(), release)) {
            Some(release) => self.serve_copy(record, release, own, lock).await,
            None => self.keep_copy(record).await,
        }
    }

    /// The record of a deployment that only this gateway of a cluster has.
    pub(in crate::gateway) fn unshared(&self, name: &str) -> Option<Record> {
        self.cluster.as_ref()?;
        self.store.record(name).filter(Record::is_unshared)
    }

    /// Deletes a deployment that only this gateway has, and takes over what the cluster has under its name.
    pub(in crate::gateway) async fn delete_unshared(self: &Arc<Self>, mut own: Record) -> Result<(), DeployError> {
        let name = own.name.clone();
        own.deleted = true;
        self.keep_copy(own).await?;
        self.take_away(&name).await?;
        if let Ok(Some(record)) = self.newest(&name).await {
            let deployer = Arc::clone(self);
            self.gateway.tasks.spawn(async move { deployer.take_over(record).await });
        }
        Ok(())
    }

    /// Whether the release that our copy of the record names is this one, and in service.
    fn serves(&self, own: Option<&Record>, release: &Release) -> bool {
        let live = own.and_then(Record::live_release).is_some_and(|live| live == release);
        let deployment = own.and_then(|own| self.gateway.deployment(own.name.as_str()));
        live && deployment.is_some_and(|deployment| deployment.pool().is_some())
    }

    pub(super) async fn keep_copy(&self, record: Record) -> Result<(), DeployError> {
        let store = Arc::clone(&self.store);
        blocking(move || Ok(store.save(record)?)).await
    }

    async fn serve_copy(
        self: &Arc<Self>,
        record: Record,
        release: Release,
        own: Option<Record>,
        lock: ChangeLock,
    ) -> Result<(), DeployError> {
        let (name, number) = (record.name.clone(), release.number);
        self.gateway.logs.book(&name).note(&format!("taking release {number} over from the cluster"));
        self.make_missing_files(&name, &release, own.as_ref()).await?;
        let deployment = match self.load_release(&name, &release).await {
            Ok(deployment) => deployment,
            Err(error) => {
                let serves = self.gateway.deployment(name.as_str()).is_some_and(|served| served.pool().is_some());
                if let (Some(failure), false) = (error.as_load_failure(), serves) {
                    self.add_failed(&name, number, failure);
                }
                return Err(error);
            }
        };
        self.keep_copy(record).await?;
        if let Some(old) = self.gateway.put_in_service(deployment) {
            self.gateway.drain_in_background(&old, Some(lock));
        }
        self.gateway.logs.book(&name).note(&format!("release {number} in service"));
        tracing::info!(deployment = %name, release = number, "release of the cluster in service");
        Ok(())
    }

    /// Makes the files of a release of its package, unless they are on our disk.
    pub(in crate::gateway) async fn make_missing_files(
        &self,
        name: &DeploymentName,
        release: &Release,
        own: Option<&Record>,
    ) -> Result<(), DeployError> {
        let files = self.store.files(name, release.files);
        let are_ours = own.is_some_and(|own| {
            own.releases.iter().any(|kept| kept.files == release.files && kept.package == release.package)
        });
        if are_ours && files.is_dir() {
            return Ok(());
        }
        let Some(package) = &release.package else {
            return Err(DeployError::NotShared { name: name.to_string(), release: release.number });
        };
        let archive = Archive {
            file: self.artefacts.fetch(name, package.sha256).await?,
            origin: release.origin.clone(),
            jsons: package.jsons.clone(),
            runners: package.runners.clone(),
        };
        let staging = self.make_files(name, archive, &self.gateway.logs.book(name)).await?;
        let (store, name, number) = (Arc::clone(&self.store), name.clone(), release.files);
        blocking(move || {
            // What a change that was given up has left.
            store.discard_files(&name, number);
            Ok(store.take_files(&name, &staging.path().join(FILES), number)?)
        })
        .await
    }
}
