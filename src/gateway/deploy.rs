//! Bringing a deployment of the configuration into service: its files, its runtime, its load hooks, its workers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use crate::config::DeploymentConfig;
use crate::deployment::MetaCallJson;
use crate::gateway::Gateway;
use crate::gateway::change_lock::ChangeLock;
use crate::gateway::load_hooks::{self, Admission};
use crate::plugin::chain::DeploymentChain;
use crate::plugin::release::Adjusted;
use crate::registry::{Labels, Live, Serving, Stored};
use crate::runtime::scripts::WorkerScripts;
use crate::runtime::{self, Plan, RuntimeError};
use crate::source::fingerprint;
use crate::source::{self, SourceError};
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

/// A release that is being loaded beside the one that serves; its workers end if nobody waits for it any more.
struct Beside<'a> {
    gateway: &'a Arc<Gateway>,
    live: Option<Live>,
}

impl Beside<'_> {
    fn take(mut self) -> Live {
        self.live.take().expect("it is taken once")
    }
}

impl Drop for Beside<'_> {
    fn drop(&mut self) {
        if let Some(live) = self.live.take() {
            self.gateway.retire(&live, None);
        }
    }
}

impl Gateway {
    /// Puts a deployment of the configuration into the registry and starts its workers. Does not wait for them. What
    /// cannot be served is in the registry all the same, with the reason.
    pub async fn deploy_configured(&self, config: DeploymentConfig) {
        let live = self.bring_up(config, None).await;
        self.place(live);
    }

    /// Puts a new release of a deployment of the configuration beside the one that serves, and in its place once it has
    /// loaded: the old one finishes its calls. If the new one fails, the old one goes on.
    pub async fn redeploy(self: &Arc<Self>, config: DeploymentConfig) -> Result<(), Arc<LoadFailure>> {
        let turn = self.turns.take_patiently(config.name.as_str()).await;
        self.check_not_of_api(&config).map_err(Arc::new)?;
        let (live, failure) = match self.load_beside(config, None).await {
            Ok(live) => (live, None),
            Err((live, failure)) => (live, Some(failure)),
        };
        let name = live.name.clone();
        let has_old = self.registry.get(name.as_str()).is_some_and(|old| old.has_loaded());
        let leaves = if failure.is_some() && has_old { Some(Arc::new(live)) } else { self.place(live) };
        if let Some(leaves) = leaves {
            self.retire(&leaves, Some(turn));
        }
        match failure {
            Some(failure) => Err(failure),
            None => {
                tracing::info!(deployment = %name, "a new release serves");
                Ok(())
            }
        }
    }

    /// Loads a release that nobody can call yet. One that fails comes with the reason.
    pub(super) async fn load_beside(
        self: &Arc<Self>,
        config: DeploymentConfig,
        stored: Option<Stored>,
    ) -> Result<Live, (Live, Arc<LoadFailure>)> {
        let live = self.bring_up(config, stored).await;
        let pool = live.pool().cloned();
        let refused = match &live.serving {
            Serving::Refused(failure) => Some(Arc::clone(failure)),
            Serving::Pool(_) | Serving::Waiting => None,
        };
        let beside = Beside { gateway: self, live: Some(live) };
        let loaded = match pool {
            Some(pool) => pool.first_load().await.map(drop),
            None => refused.map_or(Ok(()), Err),
        };
        match loaded {
            Ok(()) => Ok(beside.take()),
            Err(failure) => Err((beside.take(), failure)),
        }
    }

    /// Takes a deployment of the configuration out of service: no new calls, those under way finish.
    pub async fn undeploy(self: &Arc<Self>, name: &str) {
        let turn = self.turns.take_patiently(name).await;
        if let Some(old) = self.registry.remove(name) {
            self.retire(&old, Some(turn));
            tracing::info!(deployment = name, "no longer serves");
        }
    }

    /// A release with its workers on their way, or why there are none. Nobody can call it yet.
    pub(super) async fn bring_up(&self, config: DeploymentConfig, stored: Option<Stored>) -> Live {
        let name = config.name.clone();
        let mut live = self.live(config, stored, Serving::Waiting);
        if stored.is_none() {
            let folder = live.config.path.clone();
            live.fingerprint = tokio::task::spawn_blocking(move || fingerprint::of_folder(&folder)).await.ok();
        }
        live.serving = match self.start(live.config.clone(), &live).await {
            Ok(pool) => Serving::Pool(pool),
            Err(failure) => {
                tracing::error!(deployment = %name, reason = failure.message, "cannot be served");
                live.logs.note(&failure.message);
                Serving::Refused(Arc::new(failure))
            }
        };
        live
    }

    /// A deployment that nobody can call yet.
    pub(super) fn live(&self, config: DeploymentConfig, stored: Option<Stored>, serving: Serving) -> Live {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        Live {
            name: config.name.clone(),
            serving,
            logs: self.book(&config.name),
            sequence,
            chain: ArcSwap::from_pointee(DeploymentChain::None),
            labels: Labels::default(),
            fingerprint: None,
            stored,
            config,
        }
    }

    async fn start(&self, mut config: DeploymentConfig, live: &Live) -> Result<Arc<Pool>, LoadFailure> {
        let mut plan = self.prepare(config.clone()).await?;
        let origin = live.stored.map_or("toml", |stored| stored.origin);
        let release = Box::new(load_hooks::release_of(&config, &plan, origin));
        let unadjusted = release.adjusted.clone();
        let chain = self.plugins.current().load_chain(config.name.as_str());
        let release = chain.before_load(release).await.map_err(|refusal| LoadFailure {
            kind: LoadFailureKind::Refused,
            message: refusal.to_string(),
            stderr: String::new(),
        })?;
        if release.adjusted != unadjusted {
            load_hooks::adjust(&mut config, &release.adjusted);
            plan = self.prepare(config.clone()).await?;
        }
        let Adjusted { labels: set, limits, .. } = &release.adjusted;
        live.labels.lock().clone_from(set);
        let settings = load_hooks::settings(&config, *limits);
        tracing::info!(
            deployment = %config.name,
            runtime = plan.kind.name(),
            folder = %plan.folder.display(),
            "starting"
        );
        let admission = Admission::new(Arc::clone(&self.plugins), *release, Arc::clone(&live.labels));
        Ok(Pool::start(settings, plan, Arc::clone(&live.logs), Arc::clone(&self.spawner), Arc::new(admission)))
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
    pub(super) fn place(&self, live: Live) -> Option<Arc<Live>> {
        let _placing = self.placing.lock();
        live.chain.store(Arc::new(self.plugins.current().chain_of(live.name.as_str())));
        self.registry.put(live)
    }

    /// Lets a release finish its calls, and ends its workers; whoever waits for the turn waits until they are gone.
    pub(super) fn retire(&self, live: &Live, turn: Option<ChangeLock>) {
        let Some(pool) = live.pool().cloned() else { return };
        let cut = self.cut.clone();
        self.tasks.spawn(async move {
            leave(&pool, pool.settings.timeout, &cut).await;
            drop(turn);
        });
    }
}

/// Ends the workers of a release that is no longer wanted: calls may go on for `drain`, or until `cut`.
pub(super) async fn leave(pool: &Pool, drain: Duration, cut: &CancellationToken) {
    let leaving = pool.retire(drain);
    tokio::pin!(leaving);
    tokio::select! {
        () = &mut leaving => {}
        () = cut.cancelled() => {
            pool.kill();
            leaving.await;
        }
    }
}
