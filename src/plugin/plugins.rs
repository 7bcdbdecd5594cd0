//! The plugins in service, and how a reload replaces them: new ones are loaded and checked first, then swapped in one
//! step.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::config::{HookName, PluginConfig, PluginIsolation, PluginName, PluginsConfig};
use crate::plugin::apart::Processes;
use crate::plugin::chain::Chain;
use crate::plugin::deployment_chain::DeploymentChain;
use crate::plugin::host::http::Network;
use crate::plugin::load::Loader;
use crate::plugin::load_error::{LoadError, Reason};
use crate::plugin::outside::{CallFunction, GatewayLog, Outside, SendHttp, SystemClock};
use crate::plugin::shares::Shares;
use crate::plugin::threads::Threads;
use crate::plugin::{Plugin, load_apart};
use crate::process::spawner::Spawner;
use crate::wasm::budget::MemoryBudget;

/// The folder next to that of compiled code with the code of plugins that have processes of their own.
const APART: &str = "compiled-apart";

/// The plugins in service at one moment.
#[derive(Default)]
pub struct PluginSet {
    /// In the order of the chain.
    pub plugins: Vec<Arc<Plugin>>,
    /// Plugins of the configuration that could not be loaded. Their previous version may be in service.
    pub failed: Vec<FailedPlugin>,
}

/// A plugin that could not be loaded.
#[derive(Debug, Clone)]
pub struct FailedPlugin {
    /// Its configuration.
    pub settings: PluginConfig,
    /// Why it could not be loaded.
    pub reason: String,
    /// Whether its previous version stays in service.
    pub keeps_old: bool,
}

impl PluginSet {
    /// The chains of a deployment's functions.
    #[must_use]
    pub fn chain_of(&self, deployment: &str) -> DeploymentChain {
        DeploymentChain::new(&self.plugins, deployment)
    }

    /// A plugin that applies to the deployment and of which no version is in service.
    #[must_use]
    pub fn missing_for(&self, deployment: &str) -> Option<&FailedPlugin> {
        self.failed.iter().find(|failed| !failed.keeps_old && failed.settings.applies_to_deployment(deployment))
    }

    /// The chain for the loads of a deployment.
    #[must_use]
    pub fn load_chain(&self, deployment: &str) -> Chain {
        let applying = self.plugins.iter().filter(|plugin| plugin.settings.applies_to_deployment(deployment));
        Chain::new(applying.cloned().collect())
    }
}

/// Keeps removed plugins in service while another cannot be loaded: that one may be a removed plugin under a new name.
fn keep_removed(set: &mut PluginSet, now: &PluginSet, wanted: &[PluginName]) {
    for (at, old) in now.plugins.iter().enumerate() {
        if !wanted.contains(&old.settings.name) {
            set.plugins.insert(at.min(set.plugins.len()), Arc::clone(old));
            let reason = "kept in service until all other plugins can be loaded".to_owned();
            set.failed.push(FailedPlugin { settings: old.settings.clone(), reason, keeps_old: true });
        }
    }
}

/// The plugins of a gateway.
pub struct Plugins {
    cache: PathBuf,
    max_body: u64,
    functions: Arc<dyn CallFunction>,
    /// The memory of the instances in the gateway.
    memory: Arc<MemoryBudget>,
    /// The memory of these and of each process.
    shares: Mutex<Shares>,
    /// Set when the first plugin is loaded: a gateway without plugins starts no engine.
    loader: Mutex<Option<Arc<Loader>>>,
    /// Starts the processes of plugins; none in a program that starts no processes.
    spawner: Option<Arc<Spawner>>,
    /// Set when the first plugin is loaded that has a process of its own.
    processes: Mutex<Option<Arc<Processes>>>,
    set: ArcSwap<PluginSet>,
}

impl Plugins {
    /// Starts without plugins. Compiled code is kept below `cache`; plugins call functions through `functions`.
    #[must_use]
    pub fn new(cache: PathBuf, max_body: u64, functions: Arc<dyn CallFunction>) -> Self {
        let shares = Shares::new(None, &[]);
        let memory = Arc::new(MemoryBudget::new(shares.in_gateway));
        Self {
            cache,
            max_body,
            functions,
            memory,
            shares: Mutex::new(shares),
            loader: Mutex::default(),
            spawner: None,
            processes: Mutex::default(),
            set: ArcSwap::default(),
        }
    }

    /// The same; plugins with `isolation = "process"` have processes that `spawner` starts.
    #[must_use]
    pub fn with_processes(self, spawner: Arc<Spawner>) -> Self {
        Self { spawner: Some(spawner), ..self }
    }

    /// The same as [`Self::stop`], for a program without a runtime.
    pub fn end_processes(&self) {
        let processes = self.processes.lock().clone();
        if let Some(processes) = processes {
            processes.end();
        }
    }

    /// Ends the processes of plugins. When it returns, none is left.
    pub async fn stop(&self) {
        let processes = self.processes.lock().clone();
        if let Some(processes) = processes {
            processes.stop().await;
        }
    }

    /// Sets the memory of all instances, from a configuration and its plugins. Processes get theirs when they are
    /// loaded.
    pub fn limit_memory(&self, config: &PluginsConfig, plugins: &[PluginConfig]) {
        let shares = Shares::new(config.max_memory, plugins);
        self.memory.set_limit(shares.in_gateway);
        *self.shares.lock() = shares;
    }

    /// The folder of compiled code.
    #[must_use]
    pub fn code_folder(&self) -> &Path {
        &self.cache
    }

    /// The memory of all instances in the gateway.
    #[must_use]
    pub fn memory(&self) -> &MemoryBudget {
        &self.memory
    }

    /// The plugins in service.
    #[must_use]
    pub fn current(&self) -> Arc<PluginSet> {
        self.set.load_full()
    }

    /// Replaces the plugins in service. Calls in flight finish with the plugins with which they started.
    pub fn put(&self, set: PluginSet) {
        self.set.store(Arc::new(set));
    }

    /// Loads the plugins of a configuration and reuses unchanged ones. If one cannot be loaded, its previous version
    /// stays in service, and no plugin is removed. Blocks, for minutes at worst: do not call it on a thread of an
    /// async runtime.
    pub fn load(&self, configs: Vec<PluginConfig>) -> (PluginSet, Vec<LoadError>) {
        let now = self.current();
        let (mut set, mut errors) = (PluginSet::default(), Vec::new());
        let wanted: Vec<PluginName> = configs.iter().map(|config| config.name.clone()).collect();
        for config in configs {
            let old = now.plugins.iter().find(|plugin| plugin.settings.name == config.name);
            match self.load_one(&config, old) {
                Ok(plugin) => set.plugins.push(plugin),
                Err(error) => {
                    let reason = error.without_secrets();
                    set.failed.push(FailedPlugin { settings: config, reason, keeps_old: old.is_some() });
                    set.plugins.extend(old.cloned());
                    errors.push(error);
                }
            }
        }
        if !errors.is_empty() {
            keep_removed(&mut set, &now, &wanted);
        }
        (set, errors)
    }

    fn load_one(&self, config: &PluginConfig, old: Option<&Arc<Plugin>>) -> Result<Arc<Plugin>, LoadError> {
        let bytes = Loader::read(config)?;
        let share = self.shares.lock().of(config);
        if let Some(old) = old
            && old.is_same(config, &bytes)
            && old.share().is_none_or(|old| old == share)
        {
            return Ok(Arc::clone(old));
        }
        tracing::info!(plugin = %config.name, bytes = bytes.len(), "loading plugin");
        let loader = self.loader().map_err(|error| LoadError::of_engine(config, &error))?;
        let plugin = match config.isolation {
            PluginIsolation::None => loader.load(config.clone(), bytes)?,
            PluginIsolation::Process => {
                let processes = self.processes();
                let processes = processes
                    .map_err(|error| LoadError::new(config, "isolation", Reason::Process(error.to_string())))?;
                let cache = self.cache.with_file_name(APART);
                load_apart::load(&loader, &processes, &cache, (config.clone(), share), bytes)?
            }
        };
        tracing::info!(
            plugin = %plugin.name(),
            file = %config.path.display(),
            sha256 = &plugin.surface.sha256_text()[..12],
            "plugin loaded"
        );
        if old.is_some() && [HookName::BeforeLoad, HookName::AfterLoad].iter().any(|hook| plugin.has(*hook)) {
            tracing::info!(plugin = %plugin.name(), "load hooks apply to new releases only, not to those in service");
        }
        Ok(plugin)
    }

    fn processes(&self) -> anyhow::Result<Arc<Processes>> {
        let spawner = self.spawner.as_ref().context("cannot be started by this program")?;
        let mut processes = self.processes.lock();
        if let Some(processes) = &*processes {
            return Ok(Arc::clone(processes));
        }
        let started = Arc::new(Processes::new(Arc::clone(spawner)).context("cannot be started")?);
        Ok(Arc::clone(processes.insert(started)))
    }

    fn loader(&self) -> anyhow::Result<Arc<Loader>> {
        let mut loader = self.loader.lock();
        if let Some(loader) = &*loader {
            return Ok(Arc::clone(loader));
        }
        let threads = Arc::new(Threads::start().context("starting the plugins' threads")?);
        let handle = threads.handle().clone();
        let outside = Outside {
            clock: Arc::new(SystemClock::default()),
            http: Arc::new(move |granted| Arc::new(Network::new(granted, handle.clone())) as Arc<dyn SendHttp>),
            functions: Arc::clone(&self.functions),
            log: Arc::new(GatewayLog),
            variable: Arc::new(|name| std::env::var(name).ok()),
            gateway: None,
        };
        let started = Arc::new(Loader::new(&self.cache, outside, threads, self.max_body, Arc::clone(&self.memory))?);
        *loader = Some(Arc::clone(&started));
        Ok(started)
    }
}
