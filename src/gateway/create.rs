//! Deploying over HTTP: the stored upload, or an earlier release, becomes the release in service. The new release loads
//! while the old one serves, then the record is written, then the registry changes. A failure before the record is
//! written leaves the old release in service.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::config::Wait;
use crate::deployment::DeploymentName;
use crate::gateway::change_lock::ChangeLock;
use crate::gateway::compare::CompatCheck;
use crate::gateway::deploy_error::DeployError;
use crate::gateway::deployer::Deployer;
use crate::gateway::deploying::Deploying;
use crate::invocation::trace_context::TraceContext;
use crate::logs::book::LogBook;
use crate::metrics::changes::ChangeKind;
use crate::registry::record::{Record, Release, Variables};
use crate::registry::{Deployment, StoredRelease};
use crate::traces::change::{self, PartOf, TracedChange};

/// A release that has been put in service.
#[derive(Debug, Clone)]
pub struct Deployed {
    /// Its deployment.
    pub name: DeploymentName,
    /// Its number.
    pub release: u64,
    /// The revision of its record.
    pub(super) revision: Option<u64>,
}

/// What clients of a change ask for.
#[derive(Debug, Clone, Copy, Default)]
pub struct ChangeOptions {
    /// What happens if the release breaks callers of the one in service.
    pub check: CompatCheck,
    /// The gateways of a cluster that it is to serve on before there is an answer; none for those of `[cluster]`.
    pub wait: Option<Wait>,
}

/// A change of a deployment.
enum Change {
    /// Deploy the upload, with these variables; without an upload, deploy the current files again.
    Create(Variables, CompatCheck),
    /// Deploy the stored release of this number; without a number, the one before the release in service.
    Rollback(Option<u64>),
}

impl Deployer {
    /// Starts to deploy the stored upload of a name, with these variables in the environment of its workers. Without an
    /// upload since the last deploy, the files in service are deployed again with the variables. `caller`: the span
    /// that the request comes from.
    ///
    /// # Errors
    ///
    /// There is neither an upload nor a release, the configuration defines the deployment, or the gateway accepts no
    /// changes.
    pub async fn create(
        self: &Arc<Self>,
        name: &str,
        env: Variables,
        options: ChangeOptions,
        caller: Option<TraceContext>,
    ) -> Result<Deploying<Deployed>, DeployError> {
        let unknown = || DeployError::UnknownId(name.to_owned());
        let record = self.newest_of(name).await?.filter(|record| record.upload.is_some() || record.live.is_some());
        let name = record.ok_or_else(unknown)?.name;
        self.start_change(name, Change::Create(env, options.check), options.wait, caller)
    }

    /// Starts to put a stored release in service; without a number, the one before the release in service.
    ///
    /// # Errors
    ///
    /// The release is not stored, the configuration defines the deployment, or the gateway accepts no changes.
    pub async fn rollback(
        self: &Arc<Self>,
        name: &str,
        number: Option<u64>,
        wait: Option<Wait>,
        caller: Option<TraceContext>,
    ) -> Result<Deploying<Deployed>, DeployError> {
        self.check_not_configured(name)?;
        let record = self.newest_of(name).await?.ok_or_else(|| DeployError::NotFound(name.to_owned()))?;
        find_release(&record, number)?;
        self.start_change(record.name, Change::Rollback(number), wait, caller)
    }

    fn start_change(
        self: &Arc<Self>,
        name: DeploymentName,
        wanted: Change,
        wait: Option<Wait>,
        caller: Option<TraceContext>,
    ) -> Result<Deploying<Deployed>, DeployError> {
        if self.gateway.is_draining() {
            return Err(DeployError::Stopping);
        }
        self.store.check_writable()?;
        self.check_not_configured(name.as_str())?;
        let logs = self.gateway.logs.book(&name);
        let first_line = logs.position();
        let (sender, result) = oneshot::channel();
        let (deployer, log) = (Arc::clone(self), Arc::clone(&logs));
        self.gateway.tasks.spawn(async move {
            let kind = if matches!(wanted, Change::Create(..)) { ChangeKind::Deploy } else { ChangeKind::Rollback };
            let traced = TracedChange {
                kind: if matches!(kind, ChangeKind::Deploy) { "deploy" } else { "rollback" },
                deployment: Some(name.as_str()),
                part_of: caller.map_or(PartOf::Nothing, PartOf::Request),
            };
            let making = async {
                let deployed = deployer.make_change(&name, wanted, &log).await?;
                deployer.wait_for_others(deployed, wait).await
            };
            let changed = change::traced(deployer.gateway.tracer(), traced, making, fault_of).await;
            deployer.changes.add(kind, Some(name.as_str()), changed.is_ok());
            if let Err(error) = &changed {
                // The logs have the reason of a failed load already, and the output of the worker before it.
                if matches!(error, DeployError::Load(_)) {
                    tracing::warn!(deployment = %name, "deploy failed");
                    log.note("release not put in service");
                } else {
                    tracing::warn!(deployment = %name, reason = %error, "deploy failed");
                    log.note(&format!("release not put in service: {error}"));
                }
            }
            let _client_is_gone = sender.send(changed);
        });
        Ok(Deploying { logs, first_line, result })
    }

    async fn make_change(
        self: &Arc<Self>,
        name: &DeploymentName,
        change: Change,
        log: &Arc<LogBook>,
    ) -> Result<Deployed, DeployError> {
        if self.change_locks.is_locked(name.as_str()) {
            log.note("waiting for another change of this deployment");
        }
        let lock = self.lock_changes(name).await?;
        // Checked again: a reload or another change may have come first.
        self.check_not_configured(name.as_str())?;
        let unknown = || DeployError::UnknownId(name.as_str().to_owned());
        let record = self.newest(name).await?.ok_or_else(unknown)?;
        match change {
            Change::Rollback(number) => {
                let release = find_release(&record, number)?;
                log.note(&format!("rolling back to release {}", release.number));
                self.serve_release(record, release, CompatCheck::Off, lock).await
            }
            Change::Create(env, check) => self.make_and_serve(record, env, check, lock).await,
        }
    }

    async fn make_and_serve(
        self: &Arc<Self>,
        mut record: Record,
        env: Variables,
        check: CompatCheck,
        lock: ChangeLock,
    ) -> Result<Deployed, DeployError> {
        let (name, number) = (record.name.clone(), record.next);
        let log = &self.gateway.logs.book(&name);
        record.next += 1;
        log.note(&format!("deploying release {number}"));
        let pending = self.add_pending_if_new(&name, number);
        let served = match self.make_release(&record, number, env, &lock, log).await {
            Ok(release) => {
                record.upload = None;
                self.serve_release(record, release, check, lock).await
            }
            Err(error) => Err(self.record_failure(&name, number, error).await),
        };
        // The release or its failure has replaced the entry, unless a delete ended the deploy.
        if let Some(sequence) = pending {
            self.gateway.registry.remove_if(name.as_str(), sequence);
        }
        served
    }

    /// Loads a release while the old one stays in service, writes the record, and swaps the release in.
    async fn serve_release(
        self: &Arc<Self>,
        record: Record,
        release: Release,
        check: CompatCheck,
        lock: ChangeLock,
    ) -> Result<Deployed, DeployError> {
        let (name, number) = (record.name.clone(), release.number);
        let loading = async {
            // Those of a release of another gateway.
            if self.cluster.is_some() && (release.files != number || record.release(number).is_some()) {
                self.make_missing_files(&name, &release, self.store.record(name.as_str()).as_ref()).await?;
            }
            self.load_release(&name, &release).await
        };
        let deployment = match self.unless_given_up(&lock, &name, loading).await.and_then(|loaded| loaded) {
            Ok(deployment) => deployment,
            Err(error) => return Err(self.record_failure(&name, number, error).await),
        };
        if let Err(error) = self.check_compatibility(&deployment, check, &self.gateway.logs.book(&name)) {
            let error = self.record_failure(&name, number, error).await;
            self.gateway.drain_in_background(&deployment, Some(lock));
            return Err(error);
        }
        let record = with_live(record, release, self.settings.keep as usize);
        let revision = match self.records.replace(record).await {
            Ok(record) => record.revision,
            Err(error) => {
                let error = self.record_failure(&name, number, error.into()).await;
                self.gateway.drain_in_background(&deployment, Some(lock));
                return Err(error);
            }
        };
        if let Some(old) = self.gateway.put_in_service(deployment) {
            self.gateway.drain_in_background(&old, Some(lock));
        }
        tracing::info!(deployment = %name, release = number, "new release in service");
        self.gateway.logs.book(&name).note(&format!("release {number} in service"));
        Ok(Deployed { name, release: number, revision })
    }

    /// Loads a release that cannot be called yet.
    pub(super) async fn load_release(
        self: &Arc<Self>,
        name: &DeploymentName,
        release: &Release,
    ) -> Result<Deployment, DeployError> {
        let stored = StoredRelease { number: release.number, origin: release.origin.kind() };
        let config = self.config_of(name, release).await?;
        self.gateway.load_candidate(config, Some(stored)).await.map_err(|(failed, failure)| {
            self.gateway.drain_in_background(&failed, None);
            DeployError::Load(failure)
        })
    }
}

/// Why a change failed, if it did.
fn fault_of(changed: &Result<Deployed, DeployError>) -> Option<String> {
    changed.as_ref().err().map(ToString::to_string)
}

fn find_release(record: &Record, number: Option<u64>) -> Result<Release, DeployError> {
    let before = || record.releases.iter().rev().find(|release| record.live.is_none_or(|live| release.number < live));
    let found = match number {
        Some(number) => record.release(number),
        None => before(),
    };
    let kept: Vec<String> = record.releases.iter().map(|release| release.number.to_string()).collect();
    found.cloned().ok_or_else(|| DeployError::NoRelease {
        name: record.name.as_str().to_owned(),
        wanted: number.map_or_else(|| "earlier release".to_owned(), |number| format!("release {number}")),
        kept: match kept.as_slice() {
            [] => "no release is kept".to_owned(),
            kept => format!("the gateway keeps {}", kept.join(", ")),
        },
    })
}

/// The record with this release in service.
fn with_live(mut record: Record, release: Release, keep: usize) -> Record {
    record.live = Some(release.number);
    record.failure = None;
    if record.release(release.number).is_none() {
        record.releases.push(release);
    }
    record.forget_beyond(keep);
    record
}
