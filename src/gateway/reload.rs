//! Carrying a changed configuration out while the gateway serves: plugins first, then deployments.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::config::{DeploymentConfig, PluginConfig};
use crate::deployment::{DeploymentName, Fingerprint};
use crate::gateway::Gateway;
use crate::plugin::load::LoadError;
use crate::registry::Live;
use crate::source::fingerprint;
use crate::worker::outcome::{LoadFailure, LoadFailureKind};

/// Why a configuration as a whole was not taken: its faults.
pub type NotTaken = String;

/// A wish for a reload.
pub struct ReloadRequest {
    /// Who wishes it.
    pub why: &'static str,
    /// Whether files of functions are looked at too.
    pub functions: Functions,
    /// Where to tell what came of it.
    pub answer: Option<oneshot::Sender<Result<Arc<Reloaded>, NotTaken>>>,
}

impl ReloadRequest {
    /// For changes of the configuration and its plugins.
    #[must_use]
    pub fn of_configuration(why: &'static str) -> Self {
        Self { why, functions: Functions::LeaveAlone, answer: None }
    }

    /// Also for changes of the functions' files.
    #[must_use]
    pub fn of_functions(why: &'static str) -> Self {
        Self { why, functions: Functions::Look, answer: None }
    }
}

/// What a reload does about deployments whose table is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Functions {
    /// Deploys those again whose files have changed since they were loaded.
    Look,
    /// Nothing.
    LeaveAlone,
}

/// What a reload has changed, and what it could not change.
#[derive(Debug, Default, Serialize)]
pub struct Reloaded {
    /// Plugins in the order of the chain.
    pub plugins: Vec<String>,
    /// Deployments that were started or replaced.
    pub deployed: Vec<String>,
    /// Deployments that are served no longer.
    pub removed: Vec<String>,
    /// What could not be done; what there was before goes on.
    #[serde(skip)]
    pub failures: Vec<ReloadFailure>,
}

/// Something that a reload could not do.
#[derive(Debug, thiserror::Error)]
pub enum ReloadFailure {
    /// A plugin was not loaded.
    #[error(transparent)]
    Plugin(#[from] LoadError),
    /// A deployment was not replaced.
    #[error("deployment {name:?}: {failure}", failure = failure.message)]
    Deployment {
        /// Its name.
        name: String,
        /// Why.
        failure: Arc<LoadFailure>,
    },
}

impl ReloadFailure {
    /// What could not be done, without words of a plugin about its own configuration.
    #[must_use]
    pub fn for_everybody(&self) -> String {
        match self {
            Self::Plugin(error) => format!("plugin {:?}: {}", error.name, error.for_everybody()),
            Self::Deployment { .. } => self.to_string(),
        }
    }
}

impl Gateway {
    /// Whoever reads the configuration takes wishes for a reload here.
    pub fn take_asks(&self, asks: mpsc::UnboundedSender<ReloadRequest>) {
        let _taken = self.asks.set(asks);
    }

    /// Has the configuration read again and waits for what comes of it; nothing if nobody reads it.
    pub async fn ask_reload(&self, why: &'static str) -> Option<Result<Arc<Reloaded>, NotTaken>> {
        let (answer, told) = oneshot::channel();
        self.asks.get()?.send(ReloadRequest { answer: Some(answer), ..ReloadRequest::of_functions(why) }).ok()?;
        told.await.ok()
    }

    /// Remembers what was wrong with the last reload, for whoever asks how the gateway is.
    pub fn note_reload(&self, failure: Option<String>) {
        self.reload_failure.store(failure.map(Arc::new));
    }

    /// Loads the plugins of a configuration and puts them in place of those that run, in one step. Gives what could not
    /// be loaded: there, what ran before goes on.
    pub async fn load_plugins(self: &Arc<Self>, configs: Vec<PluginConfig>) -> Vec<LoadError> {
        let loading = Arc::clone(&self.plugins);
        let loaded = tokio::task::spawn_blocking(move || loading.load(configs)).await;
        let (set, errors) = loaded.expect("loading a plugin tells its failures");
        let _placing = self.placing.lock();
        for live in self.registry.all() {
            live.chain.store(Arc::new(set.chain_of(live.name.as_str())));
        }
        self.plugins.put(set);
        errors
    }

    /// Makes the deployments of the configuration those that serve: new ones are started, changed ones replaced once they
    /// have loaded, missing ones taken out of service.
    pub async fn reload(
        self: &Arc<Self>,
        plugins: Vec<PluginConfig>,
        deployments: Vec<DeploymentConfig>,
        functions: Functions,
    ) -> Reloaded {
        let mut reloaded = Reloaded::default();
        let errors = self.load_plugins(plugins).await;
        reloaded.failures.extend(errors.into_iter().map(ReloadFailure::Plugin));
        reloaded.plugins = self.plugins.current().plugins.iter().map(|plugin| plugin.name().to_owned()).collect();
        let wanted: HashSet<&str> = deployments.iter().map(|config| config.name.as_str()).collect();
        for live in self.registry.all() {
            if live.stored.is_none() && !wanted.contains(live.name.as_str()) {
                self.undeploy(live.name.as_str()).await;
                self.restore_one(live.name.as_str());
                reloaded.removed.push(live.name.as_str().to_owned());
            }
        }
        let changed = match functions {
            Functions::Look => self.changed().await,
            Functions::LeaveAlone => HashSet::new(),
        };
        let is_new = |config: &DeploymentConfig| {
            let now = self.registry.get(config.name.as_str());
            changed.contains(&config.name) || now.is_none_or(|now| now.config != *config)
        };
        let mut deploying = JoinSet::new();
        for config in deployments.into_iter().filter(is_new) {
            if let Err(failure) = self.check_may_come(&config) {
                let name = config.name.as_str().to_owned();
                reloaded.failures.push(ReloadFailure::Deployment { name, failure: Arc::new(failure) });
                continue;
            }
            let (gateway, name) = (Arc::clone(self), config.name.as_str().to_owned());
            deploying.spawn(async move { (name, gateway.redeploy(config).await) });
        }
        for (name, deployed) in deploying.join_all().await {
            match deployed {
                Ok(()) => reloaded.deployed.push(name),
                Err(failure) => reloaded.failures.push(ReloadFailure::Deployment { name, failure }),
            }
        }
        reloaded
    }

    /// A name that was taken over HTTP is not one of the configuration.
    pub(super) fn check_not_of_api(&self, config: &DeploymentConfig) -> Result<(), LoadFailure> {
        let name = config.name.as_str();
        if self.registry.get(name).is_none_or(|live| live.stored.is_none()) {
            return Ok(());
        }
        Err(LoadFailure {
            kind: LoadFailureKind::Load,
            message: format!("{name:?} was deployed over HTTP: delete it first (metagate delete {name})"),
            stderr: String::new(),
        })
    }

    /// Folders of the configuration's deployments, with the state in which they were loaded.
    #[must_use]
    pub fn folders(&self) -> Vec<(DeploymentName, PathBuf, Fingerprint)> {
        let folder = |live: &Arc<Live>| Some((live.name.clone(), live.config.path.clone(), live.fingerprint?));
        self.registry.all().iter().filter_map(folder).collect()
    }

    /// Deployments whose files have changed since they were loaded.
    async fn changed(&self) -> HashSet<DeploymentName> {
        let folders = self.folders();
        let looking = tokio::task::spawn_blocking(move || {
            let changed = folders.into_iter().filter(|(_, path, loaded)| fingerprint::of_folder(path) != *loaded);
            changed.map(|(name, _, _)| name).collect()
        });
        let changed: HashSet<DeploymentName> = looking.await.unwrap_or_default();
        for name in &changed {
            tracing::info!(deployment = %name, "its files have changed: it is deployed again");
        }
        changed
    }

    /// A deployment that nobody could call before does not come into service without a plugin that is meant for it; nor
    /// does one whose name was taken over HTTP.
    fn check_may_come(&self, config: &DeploymentConfig) -> Result<(), LoadFailure> {
        self.check_not_of_api(config)?;
        let name = config.name.as_str();
        let plugins = self.plugins.current();
        match plugins.missing_for(name) {
            Some(missing) if self.registry.get(name).is_none() => Err(LoadFailure {
                kind: LoadFailureKind::Load,
                message: format!("the plugin {:?}, which applies to it, cannot be loaded", missing.settings.name),
                stderr: String::new(),
            }),
            Some(_) | None => Ok(()),
        }
    }
}
