//! Restoring stored releases at the start, a few at a time: a machine with many deployments must not start all their
//! workers at once. Until a deployment's turn comes, its calls are answered with `starting`.

use std::sync::Arc;

use crate::deployment::DeploymentName;
use crate::gateway::deployer::Deployer;
use crate::gateway::load_slots::LoadSlots;
use crate::registry::record::{Record, Release};
use crate::registry::{Definition, State, StoredRelease};
use crate::worker::failure::{LoadFailure, LoadFailureKind};

impl Deployer {
    /// Puts every stored deployment into the registry and starts their releases in the background.
    pub fn restore(self: &Arc<Self>) {
        let slots = LoadSlots::new();
        for record in self.store.records() {
            self.restore_record(record, &slots);
        }
    }

    /// Restores one deployment, if it is stored. Does not wait for it.
    pub(super) fn restore_one(self: &Arc<Self>, name: &str) {
        if let Some(record) = self.store.record(name) {
            self.restore_record(record, &LoadSlots::new());
        }
    }

    fn restore_record(self: &Arc<Self>, record: Record, slots: &LoadSlots) {
        let name = record.name.clone();
        if self.gateway.deployment(name.as_str()).is_some() {
            tracing::warn!(deployment = %name, "stored deployment not served: the configuration has its name");
            return;
        }
        let Some(release) = record.live_release().cloned() else {
            if let Some(failure) = record.failure {
                let kind = LoadFailureKind::of_code(&failure.code).unwrap_or(LoadFailureKind::Load);
                let failure = LoadFailure { stderr: failure.stderr, ..LoadFailure::new(kind, failure.message) };
                self.add_failed(&name, record.next.saturating_sub(1), Arc::new(failure));
            }
            return;
        };
        let stored = StoredRelease { number: release.number, origin: release.origin.kind() };
        let (definition, timeout) = (Definition::Stored(stored), self.settings.timeout.get());
        let pending = self.gateway.new_deployment(&name, definition, timeout, State::Pending);
        let sequence = pending.sequence;
        self.gateway.put_in_service(pending);
        let (deployer, slots) = (Arc::clone(self), slots.clone());
        self.gateway.tasks.spawn(async move {
            let restoring = slots.hold(deployer.restore_release(&name, &release, stored, sequence));
            let _stopping = deployer.unless_draining(restoring).await;
        });
    }

    async fn restore_release(
        self: &Arc<Self>,
        name: &DeploymentName,
        release: &Release,
        stored: StoredRelease,
        pending: u64,
    ) {
        let lock = self.change_locks.acquire_unbounded(name.as_str()).await;
        // A deploy or delete may have come first.
        if self.gateway.deployment(name.as_str()).is_none_or(|deployment| deployment.sequence != pending) {
            return;
        }
        let deployment = match self.config_of(name, release).await {
            Ok(config) => self.gateway.launch(config, Some(stored)).await,
            Err(error) => {
                let failure = error.as_load_failure().unwrap_or_else(|| {
                    let (kind, message) = (LoadFailureKind::Load, error.to_string());
                    Arc::new(LoadFailure::new(kind, message))
                });
                self.add_failed(name, release.number, failure);
                return;
            }
        };
        let pool = deployment.pool().cloned();
        self.gateway.put_in_service(deployment);
        // Before the wait below: a deploy may replace it while it still loads.
        drop(lock);
        if let Some(pool) = pool {
            let _loaded_or_not = pool.first_load().await;
        }
    }
}
