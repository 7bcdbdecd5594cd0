//! Bringing a deployment of the configuration into service: its files, its runtime, its load hooks, its workers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_swap::ArcSwap;

use crate::config::DeploymentConfig;
use crate::deployment::MetaCallJson;
use crate::gateway::Gateway;
use crate::gateway::loads::{self, Admission};
use crate::plugin::chain::DeploymentChain;
use crate::plugin::release::Adjusted;
use crate::registry::{Labels, Live, Serving};
use crate::runtime::scripts::WorkerScripts;
use crate::runtime::{self, Plan, RuntimeError};
use crate::source::{self, SourceError};
use crate::worker::logs::LogBook;
use crate::worker::outcome::{LoadFailure, LoadFailureKind};
use crate::worker::pool::Pool;

/// Why a folder cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Its files.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Its runtime.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

impl Refusal {
    fn into_failure(self) -> LoadFailure {
        let kind = match self {
            Self::Runtime(RuntimeError::Program(_)) => LoadFailureKind::Spawn,
            Self::Runtime(_) | Self::Source(_) => LoadFailureKind::Load,
        };
        LoadFailure { kind, message: self.to_string(), stderr: String::new() }
    }
}

/// How a deployment's workers would be started. Reads its folder and looks its program up; starts no worker.
pub fn prepare(config: &DeploymentConfig, scripts: &WorkerScripts) -> Result<Plan, Refusal> {
    let jsons: Vec<MetaCallJson> = source::metacall_jsons(&config.path)?;
    let (kind, jsons) = runtime::choose(config, jsons)?;
    Ok(runtime::plan(config, kind, jsons, scripts)?)
}

impl Gateway {
    /// Puts a deployment of the configuration into the registry and starts its workers. Does not wait for them. What
    /// cannot be served is in the registry all the same, with the reason.
    pub async fn deploy_configured(&self, config: DeploymentConfig) {
        let live = self.bring_up(config).await;
        self.place(live);
    }

    /// Puts a new release of a deployment beside the one that serves, and in its place once it has loaded: the old one
    /// finishes its calls. If the new one fails, the old one goes on.
    pub async fn redeploy(&self, config: DeploymentConfig) -> Result<(), Arc<LoadFailure>> {
        let live = self.bring_up(config).await;
        let loaded = match &live.serving {
            Serving::Refused(failure) => Err(Arc::clone(failure)),
            Serving::Pool(pool) => pool.first_load().await.map(drop),
        };
        let has_old = self.registry.get(live.name.as_str()).is_some_and(|old| old.has_loaded());
        if let Err(failure) = loaded {
            if has_old {
                retire(&live);
            } else if let Some(old) = self.place(live) {
                retire(&old);
            }
            return Err(failure);
        }
        let name = live.name.clone();
        if let Some(old) = self.place(live) {
            retire(&old);
        }
        tracing::info!(deployment = %name, "a new release serves");
        Ok(())
    }

    /// Takes a deployment out of service: no new calls, those under way finish.
    pub fn undeploy(&self, name: &str) {
        if let Some(old) = self.registry.remove(name) {
            retire(&old);
            tracing::info!(deployment = name, "no longer serves");
        }
    }

    /// A release with its workers on their way, or why there are none. Nobody can call it yet.
    async fn bring_up(&self, config: DeploymentConfig) -> Live {
        let name = config.name.clone();
        let logs = match self.registry.get(name.as_str()) {
            Some(old) => Arc::clone(&old.logs),
            None => Arc::new(LogBook::new(name.clone(), self.log_files.clone())),
        };
        let labels = Labels::default();
        let serving = match self.start(config.clone(), &logs, &labels).await {
            Ok(pool) => Serving::Pool(pool),
            Err(failure) => {
                tracing::error!(deployment = %name, reason = failure.message, "cannot be served");
                logs.note(&failure.message);
                Serving::Refused(Arc::new(failure))
            }
        };
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        Live { name, serving, logs, sequence, chain: ArcSwap::from_pointee(DeploymentChain::None), labels, config }
    }

    async fn start(
        &self,
        mut config: DeploymentConfig,
        logs: &Arc<LogBook>,
        labels: &Labels,
    ) -> Result<Arc<Pool>, LoadFailure> {
        let mut plan = self.prepare(config.clone()).await?;
        let release = Box::new(loads::release_of(&config, &plan));
        let unadjusted = release.adjusted.clone();
        let chain = self.plugins.current().load_chain(config.name.as_str());
        let release = chain.before_load(release).await.map_err(|refusal| LoadFailure {
            kind: LoadFailureKind::Refused,
            message: refusal.to_string(),
            stderr: String::new(),
        })?;
        if release.adjusted != unadjusted {
            loads::adjust(&mut config, &release.adjusted);
            plan = self.prepare(config.clone()).await?;
        }
        let Adjusted { labels: set, limits, .. } = &release.adjusted;
        labels.lock().clone_from(set);
        let settings = loads::settings(&config, *limits);
        tracing::info!(
            deployment = %config.name,
            runtime = plan.kind.name(),
            folder = %plan.folder.display(),
            "starting"
        );
        let admission = Admission::new(Arc::clone(&self.plugins), *release, Arc::clone(labels));
        Ok(Pool::start(settings, plan, Arc::clone(logs), Arc::clone(&self.spawner), Arc::new(admission)))
    }

    async fn prepare(&self, config: DeploymentConfig) -> Result<Plan, LoadFailure> {
        let name = config.name.clone();
        let scripts = self.scripts.clone();
        // It reads folders and may ask a version manager where a program is.
        match tokio::task::spawn_blocking(move || prepare(&config, &scripts)).await {
            Ok(prepared) => prepared.map_err(Refusal::into_failure),
            Err(error) => Err(LoadFailure {
                kind: LoadFailureKind::Load,
                message: format!("preparing {name:?} failed: {error}"),
                stderr: String::new(),
            }),
        }
    }

    /// From now on it is what its name means. Gives back what its name meant before.
    fn place(&self, live: Live) -> Option<Arc<Live>> {
        let _placing = self.placing.lock();
        live.chain.store(Arc::new(self.plugins.current().chain_of(live.name.as_str())));
        self.registry.put(live)
    }
}

/// Lets a release finish its calls, and ends its workers.
fn retire(live: &Live) {
    if let Serving::Pool(pool) = &live.serving {
        let pool = Arc::clone(pool);
        let grace = pool.settings.timeout;
        tokio::spawn(async move { pool.stop(grace).await });
    }
}
