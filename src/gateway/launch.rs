//! Starting a release: plan its workers, run its before-load hooks, start its pool. Putting it in service is left to
//! `rollout`.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::config::{DeploymentConfig, StaticFiles};
use crate::deployment::DeploymentName;
use crate::gateway::Gateway;
use crate::gateway::blocking;
use crate::gateway::folder_changes;
use crate::gateway::load_hooks::{self, Admission};
use crate::gateway::plan::plan_workers;
use crate::gateway::run_as;
use crate::plugin::deployment_chain::DeploymentChain;
use crate::plugin::release::Adjusted;
use crate::registry::loaded_folder::LoadedFolder;
use crate::registry::{Definition, Deployment, Labels, ServedFiles, State, StoredRelease};
use crate::runtime::Plan;
use crate::traces::change;
use crate::worker::failure::{LoadFailure, LoadFailureKind};
use crate::worker::pool::Pool;
use crate::worker::release_check::{CheckRelease, Immutable};

impl Gateway {
    /// Starts the workers of a release and does not wait until they have loaded. The deployment is not in the registry
    /// yet. If its workers cannot be started, its state says why. `stored` is its release in the store; none for a
    /// deployment of the configuration.
    pub(super) async fn launch(&self, config: DeploymentConfig, stored: Option<StoredRelease>) -> Deployment {
        let definition = match stored {
            Some(release) => Definition::Stored(release),
            None => define(&config).await,
        };
        let mut deployment = self.new_deployment(&config.name, definition, config.timeout.get(), State::Pending);
        deployment.static_files = served_files(&config);
        deployment.state = match self.start_pool(config, &deployment).await {
            Ok(pool) => {
                // Before-load hooks may have tightened it.
                deployment.timeout = pool.settings().timeout;
                State::Running(pool)
            }
            Err(failure) => {
                tracing::error!(deployment = %deployment.name, reason = failure.message, "deployment cannot be served");
                deployment.logs.note(&failure.message);
                State::Failed(Arc::new(failure))
            }
        };
        deployment
    }

    /// A deployment that is not in the registry yet.
    pub(super) fn new_deployment(
        &self,
        name: &DeploymentName,
        definition: Definition,
        timeout: Duration,
        state: State,
    ) -> Deployment {
        Deployment {
            name: name.clone(),
            state,
            logs: self.logs.book(name),
            calls: self.calls.as_ref().map(|calls| calls.of(name)),
            sequence: self.sequence.fetch_add(1, Ordering::Relaxed),
            chain: ArcSwap::from_pointee(DeploymentChain::None),
            labels: Labels::default(),
            variables: Mutex::default(),
            definition,
            timeout,
            static_files: None,
        }
    }

    async fn start_pool(
        &self,
        mut config: DeploymentConfig,
        deployment: &Deployment,
    ) -> Result<Arc<Pool>, LoadFailure> {
        *deployment.variables.lock() = config.env.keys().cloned().collect();
        let mut plan = change::step("plan", self.plan(config.clone())).await?;
        let origin = deployment.stored().map_or("toml", |stored| stored.origin);
        let release = Box::new(load_hooks::release_of(&config, &plan, origin));
        let unadjusted = release.adjusted.clone();
        let chain = self.plugins.current().load_chain(config.name.as_str());
        let release = change::step("before-load hooks", chain.before_load(release))
            .await
            .map_err(|refusal| LoadFailure::new(LoadFailureKind::Refused, refusal.to_string()))?;
        if release.adjusted != unadjusted {
            load_hooks::adjust(&mut config, &release.adjusted);
            *deployment.variables.lock() = config.env.keys().cloned().collect();
            // The environment is part of the plan.
            plan = change::step("plan", self.plan(config.clone())).await?;
        }
        let Adjusted { labels, limits, .. } = &release.adjusted;
        deployment.labels.lock().clone_from(labels);
        let settings = load_hooks::settings(&config, *limits);
        let (runtime, folder) = (plan.kind.name(), plan.folder.display());
        tracing::info!(deployment = %config.name, %runtime, %folder, "starting deployment");
        let served = self.deployment(config.name.as_str()).map_or_else(Weak::new, |served| Arc::downgrade(&served));
        let admission = Admission::new(Arc::clone(&self.plugins), *release, Arc::clone(&deployment.labels), served);
        let files: Arc<dyn CheckRelease> = match deployment.loaded_folder().cloned() {
            Some(folder) => {
                Arc::new(self.folder_changes.check_of(deployment.name.clone(), deployment.sequence, folder))
            }
            None => Arc::new(Immutable),
        };
        let (logs, workers) = (Arc::clone(&deployment.logs), Arc::clone(&self.launcher.workers));
        Ok(Pool::start(settings, plan, logs, workers, Arc::new(admission), files))
    }

    async fn plan(&self, config: DeploymentConfig) -> Result<Plan, LoadFailure> {
        let name = config.name.clone();
        let (scripts, users) = (self.launcher.scripts.clone(), Arc::clone(&self.launcher.users));
        let planning = move || {
            let mut plan = plan_workers(&config, &scripts)?;
            if let Some(walls) = &mut plan.walls {
                walls.user = run_as::user_of(&config.name, config.run_as.as_ref(), &users).map_err(|error| {
                    LoadFailure::new(LoadFailureKind::Spawn, format!("choosing the user of {:?}: {error}", config.name))
                })?;
            }
            Ok(plan)
        };
        // Planning reads folders, and a version manager may have to be run to find a program.
        match blocking::run(planning).await {
            Ok(planned) => planned,
            Err(error) => Err(LoadFailure::new(
                LoadFailureKind::Load,
                format!("planning the workers of {name:?} failed: {error}"),
            )),
        }
    }
}

fn served_files(config: &DeploymentConfig) -> Option<ServedFiles> {
    let part = match &config.static_files {
        StaticFiles::None => return None,
        StaticFiles::All => PathBuf::new(),
        StaticFiles::Folder(part) => part.clone(),
    };
    Some(ServedFiles { folder: config.path.clone(), part })
}

/// The fingerprint is taken before the load: a file that changes during the load must count as changed.
async fn define(config: &DeploymentConfig) -> Definition {
    let fingerprint = folder_changes::fingerprint_of(&config.path).await;
    let folder = fingerprint.map(|loaded| Arc::new(LoadedFolder::new(config.path.clone(), loaded)));
    Definition::Configuration { config: Box::new(config.clone()), folder }
}
