//! Comparing: an uploaded package loads as its release would, and its functions are compared with those of the release
//! in service. Nothing of it stays.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::config::{DeploymentConfig, Workers};
use crate::deployment::{DeploymentName, Exports};
use crate::describe::difference::{self, Effect, FunctionChange};
use crate::gateway::change_lock::ChangeLock;
use crate::gateway::deploy_error::DeployError;
use crate::gateway::deployer::Deployer;
use crate::gateway::deploying::Deploying;
use crate::gateway::packages::{FILES, Package};
use crate::gateway::release_files::Archive;
use crate::gateway::rollout::drain_pool;
use crate::logs::book::LogBook;
use crate::registry::record::Variables;
use crate::registry::{Deployment, StoredRelease};

/// Most changes that the log names.
const NOTED: usize = 20;

/// How a package differs, for callers, from the release in service.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// The deployment.
    pub name: DeploymentName,
    /// The number of the release in service; none for a deployment of the configuration.
    pub release: Option<u64>,
    /// What differs.
    pub changes: Vec<FunctionChange>,
}

/// What a deploy does about changes that break callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CompatCheck {
    /// Does not look for them.
    #[default]
    Off,
    /// Names them in the log.
    Note,
    /// Does not put such a release in service.
    Refuse,
}

impl Deployer {
    /// Starts to compare a package with the release in service of its deployment. `env`: the variables of its workers;
    /// none for those of the release in service. `with_configured`: whether that may be a deployment of the
    /// configuration, whose secrets and permissions the code in the package then has.
    ///
    /// # Errors
    ///
    /// No release of the deployment is in service, or it may not be compared with.
    pub fn compare(
        self: &Arc<Self>,
        package: Package,
        env: Option<Variables>,
        with_configured: bool,
    ) -> Result<Deploying<Comparison>, DeployError> {
        let name = package.name.clone();
        self.comparable(&name, with_configured)?;
        let logs = self.gateway.logs.book(&name);
        let first_line = logs.position();
        let (sender, result) = oneshot::channel();
        let (deployer, log) = (Arc::clone(self), Arc::clone(&logs));
        self.gateway.tasks.spawn(async move {
            let compared = deployer.load_and_compare(package, env, with_configured, &log).await;
            if let Err(error) = &compared
                && !matches!(error, DeployError::Load(_))
            {
                log.note(&format!("package not compared: {error}"));
            }
            let _client_is_gone = sender.send(compared);
        });
        Ok(Deploying { logs, first_line, result })
    }

    async fn load_and_compare(
        self: &Arc<Self>,
        package: Package,
        env: Option<Variables>,
        with_configured: bool,
        log: &Arc<LogBook>,
    ) -> Result<Comparison, DeployError> {
        let Package { name, archive: file, staging: _uploaded, origin, jsons, runners, slot } = package;
        // Before the wait for the lock, which may be long: other uploads need the slot.
        drop(slot);
        let lock = self.lock_changes(&name).await?;
        let (served, before) = self.comparable(&name, with_configured)?;
        log.note("comparing a package with the release in service");
        let archive = Archive { file, origin, jsons, runners };
        let made = self.unless_given_up(&lock, &name, self.make_files(&name, archive, log)).await??;
        let config = self.config_to_compare(&served, made.path().join(FILES), env).await?;
        let changes = self.load_to_compare(config, &served, &before, &lock).await?;
        // Removed only now: the workers have run in it.
        drop(made);
        log.note("package compared, nothing of it stays");
        Ok(Comparison { name, release: served.stored().map(|stored| stored.number), changes })
    }

    /// Loads a release, compares its functions, and ends its workers.
    async fn load_to_compare(
        self: &Arc<Self>,
        config: DeploymentConfig,
        served: &Deployment,
        before: &Exports,
        lock: &ChangeLock,
    ) -> Result<Vec<FunctionChange>, DeployError> {
        let (name, origin) = (config.name.clone(), served.stored().map_or("toml", |stored| stored.origin));
        let loading = self.gateway.load_candidate(config, Some(StoredRelease { number: 0, origin }));
        let (loaded, changes) = match self.unless_given_up(lock, &name, loading).await? {
            Ok(deployment) => {
                let exports = deployment.pool().and_then(|pool| pool.exports());
                let unknown = || DeployError::NotComparable(name.as_str().to_owned());
                let changes = exports.ok_or_else(unknown).map(|after| difference::between(before, &after));
                (deployment, changes)
            }
            Err((deployment, failure)) => (deployment, Err(DeployError::Load(failure))),
        };
        if let Some(pool) = loaded.pool() {
            drain_pool(pool, Duration::ZERO, &self.gateway.kill).await;
        }
        changes
    }

    /// The settings of the deployment in service for files elsewhere, with one worker. `env`: the variables; none for
    /// those of the release in service.
    async fn config_to_compare(
        &self,
        served: &Deployment,
        files: PathBuf,
        env: Option<Variables>,
    ) -> Result<DeploymentConfig, DeployError> {
        let mut config = match served.config() {
            Some(config) => {
                let mut config = DeploymentConfig { path: files, ..config.clone() };
                config.env.extend(env.iter().flat_map(Variables::secrets));
                config
            }
            None => {
                let record = self.store.record(served.name.as_str());
                let deployed = || record?.live_release().map(|release| release.env.clone());
                self.config_for(&served.name, files, &env.or_else(deployed).unwrap_or_default()).await?
            }
        };
        config.workers = Workers::default();
        Ok(config)
    }

    /// The release in service and its functions, if a package may be compared with it.
    fn comparable(
        &self,
        name: &DeploymentName,
        with_configured: bool,
    ) -> Result<(Arc<Deployment>, Arc<Exports>), DeployError> {
        let (served, exports) = self.in_service(name)?;
        match served.stored() {
            None if !with_configured => Err(DeployError::NotPermittedOfConfiguration(name.as_str().to_owned())),
            _ => Ok((served, exports)),
        }
    }

    /// The release in service and its functions.
    fn in_service(&self, name: &DeploymentName) -> Result<(Arc<Deployment>, Arc<Exports>), DeployError> {
        let unserved = || DeployError::NotInService(name.as_str().to_owned());
        let served = self.gateway.deployment(name.as_str()).ok_or_else(unserved)?;
        let exports = served.pool().and_then(|pool| pool.exports()).ok_or_else(unserved)?;
        Ok((served, exports))
    }

    /// Compares a release that has loaded with the one that it is to replace. Writes what may break callers to the
    /// log, and fails if it is to be refused.
    pub(super) fn check_compatibility(
        &self,
        candidate: &Deployment,
        check: CompatCheck,
        log: &LogBook,
    ) -> Result<(), DeployError> {
        if check == CompatCheck::Off {
            return Ok(());
        }
        let name = candidate.name.as_str();
        let before = self.in_service(&candidate.name).ok().map(|(_, before)| before);
        let is_first = || {
            // Of a first deploy there is a deployment already, without a release.
            self.store.record(name).is_none_or(|record| record.live_release().is_none())
        };
        if before.is_none() && is_first() {
            log.note("no release is in service: nothing to compare with");
            return Ok(());
        }
        let (Some(before), Some(after)) = (before, candidate.pool().and_then(|pool| pool.exports())) else {
            let error = DeployError::NotComparable(name.to_owned());
            log.note(&error.to_string());
            return if check == CompatCheck::Refuse { Err(error) } else { Ok(()) };
        };
        let changes = difference::between(&before, &after);
        let words = |change: &FunctionChange| match change.effect {
            Effect::Breaks => Some(format!("breaks callers: {change}")),
            Effect::Unclear => Some(format!("may break callers: {change}")),
            Effect::Compatible => None,
        };
        let mut noted = changes.iter().filter_map(words);
        noted.by_ref().take(NOTED).for_each(|line| log.note(&line));
        let more = noted.count();
        if more > 0 {
            log.note(&format!("and {more} more changes that break callers, or may"));
        }
        if check == CompatCheck::Refuse && difference::breaks(&changes) {
            return Err(DeployError::Incompatible { name: candidate.name.as_str().to_owned(), changes });
        }
        Ok(())
    }
}
