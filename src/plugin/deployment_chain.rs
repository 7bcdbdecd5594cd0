//! Which plugins apply to the functions of a deployment.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::{Exclusion, HookName, Pattern};
use crate::plugin::Plugin;
use crate::plugin::chain::Chain;

/// Largest number of functions of one deployment whose chains are kept. Those of further functions are computed at
/// each call.
const KEPT_CHAINS: usize = 4_096;

/// The chains of one deployment: computed when plugins or deployments change, looked up at each call.
pub enum DeploymentChain {
    /// No plugin applies to any of its functions.
    None,
    /// All functions have the same chain.
    Uniform(Chain),
    /// Functions have different chains.
    ByFunction {
        /// Plugins that apply to some function.
        plugins: Vec<Arc<Plugin>>,
        /// The deployment.
        deployment: Box<str>,
        /// Chains computed so far, by function.
        kept: ArcSwap<HashMap<Box<str>, Option<Chain>>>,
    },
}

impl DeploymentChain {
    /// The chains for a deployment among all plugins.
    #[must_use]
    pub fn new(plugins: &[Arc<Plugin>], deployment: &str) -> Self {
        let hooked = |plugin: &&Arc<Plugin>| plugin.has(HookName::BeforeInvoke) || plugin.has(HookName::AfterInvoke);
        let applying: Vec<Arc<Plugin>> = plugins
            .iter()
            .filter(hooked)
            .filter(|plugin| plugin.settings.applies_to_deployment(deployment))
            .cloned()
            .collect();
        if applying.is_empty() {
            return Self::None;
        }
        if applying.iter().all(|plugin| applies_to_all(plugin, deployment)) {
            return Self::Uniform(Chain::new(applying));
        }
        Self::ByFunction { plugins: applying, deployment: deployment.into(), kept: ArcSwap::default() }
    }

    /// The plugins that apply to calls of some function, in order.
    #[must_use]
    pub fn plugins(&self) -> &[Arc<Plugin>] {
        match self {
            Self::None => &[],
            Self::Uniform(chain) => chain.plugins(),
            Self::ByFunction { plugins, .. } => plugins,
        }
    }

    /// The chain of a function; `None` if no plugin applies. `is_known` returns whether the deployment has the
    /// function. Only then is its chain kept, so that callers cannot fill the map with invented names.
    #[must_use]
    pub fn of(&self, function: &str, is_known: impl FnOnce() -> bool) -> Option<Chain> {
        match self {
            Self::None => None,
            Self::Uniform(chain) => Some(chain.clone()),
            Self::ByFunction { plugins, deployment, kept } => {
                if let Some(found) = kept.load().get(function) {
                    return found.clone();
                }
                let applying = plugins.iter().filter(|plugin| plugin.settings.applies_to(deployment, function));
                let applying: Vec<Arc<Plugin>> = applying.cloned().collect();
                let chain = (!applying.is_empty()).then(|| Chain::new(applying));
                if kept.load().len() < KEPT_CHAINS && is_known() {
                    kept.rcu(|kept| {
                        let mut kept = HashMap::clone(kept);
                        kept.insert(function.into(), chain.clone());
                        kept
                    });
                }
                chain
            }
        }
    }
}

fn applies_to_all(plugin: &Plugin, deployment: &str) -> bool {
    let settings = &plugin.settings;
    let excludes_some =
        |exclusion: &Exclusion| exclusion.function.is_some() && exclusion.deployment.matches(deployment);
    settings.functions.iter().any(Pattern::is_any) && !settings.exclude.iter().any(excludes_some)
}
