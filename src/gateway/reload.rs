//! Applying a changed configuration while the gateway serves: plugins first, then deployments.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::config::{DeploymentConfig, PluginConfig, PluginsConfig};
use crate::deployment::{DeploymentName, Fingerprint};
use crate::gateway::Gateway;
use crate::gateway::deployer::Deployer;
use crate::gateway::load_slots::LoadSlots;
use crate::gateway::reload_request::{Functions, ReloadFailure, Reloaded};
use crate::plugin::load_error::LoadError;
use crate::source::fingerprint;
use crate::traces::change::{self, PartOf, TracedChange};
use crate::worker::failure::{LoadFailure, LoadFailureKind};

impl Gateway {
    /// Loads the plugins of a configuration, with the settings of all plugins, and puts them in service in one step.
    /// Returns those that could not be loaded; the versions of them that run stay in service.
    pub async fn load_plugins(&self, settings: &PluginsConfig, configs: Vec<PluginConfig>) -> Vec<LoadError> {
        let plugins = Arc::clone(&self.plugins);
        plugins.limit_memory(settings, &configs);
        let loaded = tokio::task::spawn_blocking(move || plugins.load(configs)).await;
        let (set, errors) = loaded.expect("loading plugins returns failures and does not panic");
        let _swap = self.swap.lock();
        for deployment in self.registry.all() {
            deployment.chain.store(Arc::new(set.chain_of(deployment.name.as_str())));
        }
        self.plugins.put(set);
        errors
    }

    /// The folders of the configuration's deployments, with the state in which their files were loaded.
    #[must_use]
    pub fn loaded_folders(&self) -> Vec<(DeploymentName, PathBuf, Fingerprint)> {
        let all = self.registry.all();
        let folders = all.iter().filter_map(|deployment| {
            let folder = deployment.loaded_folder()?;
            Some((deployment.name.clone(), folder.path().to_owned(), folder.loaded()))
        });
        folders.collect()
    }
}

impl Deployer {
    /// Makes the deployments of a configuration those in service: starts new ones, replaces changed ones once their new
    /// release has loaded, and removes missing ones.
    pub async fn reload(
        self: &Arc<Self>,
        settings: &PluginsConfig,
        plugins: Vec<PluginConfig>,
        deployments: Vec<DeploymentConfig>,
        functions: Functions,
    ) -> Reloaded {
        let step = change::begin("plugins");
        let errors = self.gateway.load_plugins(settings, plugins).await;
        if let Some(step) = step {
            step.end("", (!errors.is_empty()).then(|| "failed".into()));
        }
        let mut reloaded = Reloaded {
            plugins: self.gateway.plugins().plugins.iter().map(|plugin| plugin.name().to_owned()).collect(),
            failures: errors.into_iter().map(ReloadFailure::Plugin).collect(),
            ..Reloaded::default()
        };
        // First: a stored deployment gets its name back before a new one of the configuration is refused for it.
        self.remove_missing(&deployments, &mut reloaded).await;
        let changed_files = match functions {
            Functions::Check => self.changed_files().await,
            Functions::Ignore => HashSet::new(),
        };
        let is_changed = |config: &DeploymentConfig| {
            let current = self.gateway.deployment(config.name.as_str());
            let running = current.as_ref().and_then(|current| current.config());
            let has_changed = running.is_none_or(|running| !running.has_same_settings(config));
            has_changed || changed_files.contains(&config.name)
        };
        let (mut deploying, slots) = (JoinSet::new(), LoadSlots::new());
        for config in deployments.into_iter().filter(is_changed) {
            let name = config.name.as_str().to_owned();
            if let Err(failure) = self.check_may_serve(&config) {
                reloaded.failures.push(ReloadFailure::Deployment { name, failure: Arc::new(failure) });
                continue;
            }
            let (deployer, slots) = (Arc::clone(self), slots.clone());
            let whole = change::context();
            deploying.spawn(async move {
                let tracer = deployer.gateway.tracer().filter(|_| whole.is_some());
                let part_of = whole.map_or(PartOf::Nothing, PartOf::Change);
                let part = TracedChange { kind: "deploy", deployment: Some(&name), part_of };
                let redeploying = slots.hold(deployer.redeploy(config));
                let redeployed = change::traced(tracer, part, redeploying, |redeployed| {
                    redeployed.as_ref().err().map(|failure| failure.message.clone())
                });
                (name.clone(), redeployed.await)
            });
        }
        for (name, deployed) in deploying.join_all().await {
            match deployed {
                Ok(()) => reloaded.deployed.push(name),
                Err(failure) => reloaded.failures.push(ReloadFailure::Deployment { name, failure }),
            }
        }
        reloaded
    }

    /// Takes the configuration's deployments out of service that are not in `deployments`. A stored deployment of the
    /// same name, which the configuration had hidden, is restored.
    async fn remove_missing(self: &Arc<Self>, deployments: &[DeploymentConfig], reloaded: &mut Reloaded) {
        let wanted: HashSet<&str> = deployments.iter().map(|config| config.name.as_str()).collect();
        for deployment in self.gateway.registry.all() {
            let name = deployment.name.as_str();
            if deployment.stored().is_none() && !wanted.contains(name) {
                self.undeploy(name).await;
                self.restore_one(name);
                reloaded.removed.push(name.to_owned());
            }
        }
    }

    /// The deployments whose files have changed since they were loaded.
    async fn changed_files(&self) -> HashSet<DeploymentName> {
        let folders = self.gateway.loaded_folders();
        let checking = tokio::task::spawn_blocking(move || {
            let changed = folders.into_iter().filter(|(_, path, loaded)| fingerprint::of_folder(path) != *loaded);
            changed.map(|(name, _, _)| name).collect()
        });
        let changed: HashSet<DeploymentName> = checking.await.unwrap_or_default();
        for name in &changed {
            tracing::info!(deployment = %name, "files have changed: deploying again");
        }
        changed
    }

    /// Fails if a deployment must not enter service: its name was deployed over HTTP, or it is new and a plugin that
    /// applies to it could not be loaded. That plugin may be the one that checks who may call.
    fn check_may_serve(&self, config: &DeploymentConfig) -> Result<(), LoadFailure> {
        self.check_not_stored(config)?;
        let name = config.name.as_str();
        let plugins = self.gateway.plugins();
        match plugins.missing_for(name) {
            Some(missing) if self.gateway.deployment(name).is_none() => Err(LoadFailure::new(
                LoadFailureKind::Load,
                format!("the plugin {:?}, which applies to it, cannot be loaded", missing.settings.name),
            )),
            Some(_) | None => Ok(()),
        }
    }
}
