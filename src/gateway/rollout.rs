//! Putting releases in service and taking them out: a candidate loads while the old release serves, replaces it in one
//! step, and the old release drains.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::DeploymentConfig;
use crate::gateway::Gateway;
use crate::gateway::change_lock::ChangeLock;
use crate::registry::{Deployment, State, StoredRelease};
use crate::traces::{change, timeline};
use crate::worker::failure::LoadFailure;
use crate::worker::pool::Pool;

/// A release that loads while the old one serves. If the load is abandoned, its workers end.
struct Candidate<'a> {
    gateway: &'a Arc<Gateway>,
    deployment: Option<Deployment>,
}

impl Candidate<'_> {
    fn into_deployment(mut self) -> Deployment {
        self.deployment.take().expect("only this and drop take it")
    }
}

impl Drop for Candidate<'_> {
    fn drop(&mut self) {
        if let Some(deployment) = self.deployment.take() {
            self.gateway.drain_in_background(&deployment, None);
        }
    }
}

impl Gateway {
    /// Starts a release that cannot be called yet, and waits until its first worker has loaded.
    ///
    /// # Errors
    ///
    /// The release did not load. It comes with the reason, because its workers may still run.
    pub(super) async fn load_candidate(
        self: &Arc<Self>,
        config: DeploymentConfig,
        stored: Option<StoredRelease>,
    ) -> Result<Deployment, (Deployment, Arc<LoadFailure>)> {
        let deployment = self.launch(config, stored).await;
        let (pool, failed) = match &deployment.state {
            State::Running(pool) => (Some(Arc::clone(pool)), None),
            State::Failed(failure) => (None, Some(Arc::clone(failure))),
            State::Pending => (None, None),
        };
        let candidate = Candidate { gateway: self, deployment: Some(deployment) };
        let loaded = match pool {
            Some(pool) => pool.first_load().await.map(drop),
            None => failed.map_or(Ok(()), Err),
        };
        match loaded {
            Ok(()) => Ok(candidate.into_deployment()),
            Err(failure) => Err((candidate.into_deployment(), failure)),
        }
    }

    /// Puts a deployment in service, and returns the one of the same name that it replaces.
    pub(super) fn put_in_service(&self, deployment: Deployment) -> Option<Arc<Deployment>> {
        let step = if matches!(deployment.state, State::Pending) { None } else { change::begin("swap") };
        let _swap = self.swap.lock();
        deployment.chain.store(Arc::new(self.plugins.current().chain_of(deployment.name.as_str())));
        self.check_targets_in(&deployment.name, deployment.pool());
        let replaced = self.registry.put(deployment);
        timeline::succeed(step);
        replaced
    }

    /// Lets a release that is out of service finish its calls, then ends its workers. The change lock is held until
    /// they are gone, so that a name never has the processes of more than two releases.
    pub(super) fn drain_in_background(&self, deployment: &Deployment, lock: Option<ChangeLock>) {
        let Some(pool) = deployment.pool().cloned() else { return };
        let (kill, step) = (self.kill.clone(), change::begin("drain"));
        self.tasks.spawn(async move {
            drain_pool(&pool, pool.settings().timeout, &kill).await;
            timeline::succeed(step);
            drop(lock);
        });
    }
}

/// Ends the workers of a release that is out of service. Calls may finish within `drain`, or until `kill` is cancelled.
pub(super) async fn drain_pool(pool: &Pool, drain: Duration, kill: &CancellationToken) {
    let drained = pool.drain(drain);
    tokio::pin!(drained);
    tokio::select! {
        biased;
        () = &mut drained => {}
        () = kill.cancelled() => {
            pool.kill();
            drained.await;
        }
    }
}
