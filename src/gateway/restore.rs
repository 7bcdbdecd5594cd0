//! Serving again what was deployed before the gateway was started: several at a time, so that a machine with many
//! deployments does not start all their workers at once. Calls meanwhile are told that it is starting.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::config::DeploymentConfig;
use crate::gateway::Gateway;
use crate::registry::record::{Record, Release};
use crate::registry::{Serving, Stored};
use crate::worker::outcome::{LoadFailure, LoadFailureKind};

/// Deployments that are started at once.
const AT_ONCE: usize = 4;
/// How long the next ones wait for one of them.
const PATIENCE: Duration = Duration::from_secs(5);

impl Gateway {
    /// Puts every stored deployment into the registry and starts them one after another. Does not wait for them.
    pub fn restore(self: &Arc<Self>) {
        let permits = Arc::new(Semaphore::new(AT_ONCE));
        for record in self.store.records() {
            self.restore_record(record, &permits);
        }
    }

    /// As [`Self::restore`], for one deployment, if it is stored.
    pub(super) fn restore_one(self: &Arc<Self>, name: &str) {
        if let Some(record) = self.store.record(name) {
            self.restore_record(record, &Arc::new(Semaphore::new(1)));
        }
    }

    fn restore_record(self: &Arc<Self>, record: Record, permits: &Arc<Semaphore>) {
        let name = record.name.clone();
        if self.registry.get(name.as_str()).is_some() {
            tracing::warn!(deployment = %name, "the configuration has its name: what was deployed over HTTP does not serve");
            return;
        }
        let Some(release) = record.live_release().cloned() else {
            if let Some(failure) = record.failure {
                let kind = LoadFailureKind::of_code(&failure.code).unwrap_or(LoadFailureKind::Load);
                let failure = LoadFailure { kind, message: failure.message, stderr: failure.stderr };
                self.place_refused(&name, record.next.saturating_sub(1), Arc::new(failure));
            }
            return;
        };
        let stored = Stored { release: release.number, origin: release.origin.kind() };
        let files = self.store.files(&name, release.files);
        let waiting = self.live(DeploymentConfig::new(name, files), Some(stored), Serving::Waiting);
        let sequence = waiting.sequence;
        self.place(waiting);
        let (gateway, permits) = (Arc::clone(self), Arc::clone(permits));
        self.tasks.spawn(async move {
            let Ok(_permit) = permits.acquire().await else { return };
            let _stopping = gateway.unless_draining(gateway.restore_release(record, release, stored, sequence)).await;
        });
    }

    async fn restore_release(self: &Arc<Self>, record: Record, release: Release, stored: Stored, sequence: u64) {
        let name = record.name;
        let turn = self.turns.take_patiently(name.as_str()).await;
        let is_waiting = self.registry.get(name.as_str()).is_some_and(|live| live.sequence == sequence);
        if !is_waiting {
            return;
        }
        let live = match self.config_of(&name, &release).await {
            Ok(config) => self.bring_up(config, Some(stored)).await,
            Err(error) => {
                let failure = error.as_load_failure().unwrap_or_else(|| {
                    let (kind, message) = (LoadFailureKind::Load, error.to_string());
                    Arc::new(LoadFailure { kind, message, stderr: String::new() })
                });
                self.place_refused(&name, release.number, failure);
                return;
            }
        };
        let pool = live.pool().cloned();
        self.place(live);
        // From here on it is as any other: it may be replaced while it still loads.
        drop(turn);
        if let Some(pool) = pool {
            // One that hangs does not hold up the others for long.
            let _loaded_or_not = tokio::time::timeout(PATIENCE, pool.first_load()).await;
        }
    }
}
