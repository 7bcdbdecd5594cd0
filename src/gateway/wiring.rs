//! What the calls of a deployment run through: the routes that lead to it, the plugins of its chain with their cost,
//! its workers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Serialize;

use crate::config::{HookName, Pattern};
use crate::gateway::Gateway;
use crate::gateway::readiness;
use crate::metrics::calls::DeploymentCalls;
use crate::metrics::histogram::Snapshot;
use crate::plugin::Plugin;
use crate::registry::Deployment;

/// Durations that were counted.
#[derive(Debug, Default, Serialize)]
pub struct Cost {
    /// How many there are.
    pub count: u64,
    /// Their mean; none without any.
    pub mean_microseconds: Option<f64>,
    #[serde(skip)]
    seconds: f64,
}

/// The plugins of a deployment with their cost, and the names of its variables.
#[derive(Debug, Serialize)]
pub struct DeploymentDetail {
    /// The deployment.
    pub name: String,
    /// The names of the variables that its workers have in addition to those of the gateway.
    pub variables: Vec<String>,
    /// Its calls; none where metrics are off.
    pub calls: Option<Cost>,
    /// The time of its calls in the hooks of plugins; none where metrics are off.
    pub in_plugins: Option<Cost>,
    /// The plugins that apply to it, in the order of the chain.
    pub plugins: Vec<ChainedPlugin>,
}

/// A plugin in the chain of a deployment.
#[derive(Debug, Serialize)]
pub struct ChainedPlugin {
    /// Its name.
    pub name: String,
    /// `ready`, `stale`, `open` or `disabled`.
    pub status: &'static str,
    /// `enforce` or `observe`.
    pub mode: &'static str,
    /// The patterns of the functions that it applies to.
    pub functions: Vec<String>,
    /// Exceptions from its scope.
    pub exclude: Vec<String>,
    /// Its hooks that are used, in the order in which they run.
    pub hooks: Vec<ChainedHook>,
}

/// A hook of a plugin in a chain. Its figures are those of all deployments that the plugin applies to.
#[derive(Debug, Serialize)]
pub struct ChainedHook {
    /// Its name.
    pub hook: &'static str,
    /// What a failure does: `reject` or `skip`.
    pub on_error: &'static str,
    /// The hook calls that ran since the plugin was loaded.
    #[serde(flatten)]
    pub cost: Cost,
    /// Its part of the time that a call spends in the hooks of this chain, by the means: 0 to 1. None for hooks of
    /// loads and where nothing was measured.
    pub share: Option<f64>,
}

/// What leads to deployments: some of them, with how many there are.
#[derive(Debug, Serialize)]
pub struct Wiring {
    /// The first part of call addresses.
    pub prefix: String,
    /// The deployments that fit the filter.
    pub matching: usize,
    /// The first of them, by name.
    pub lanes: Vec<Lane>,
}

/// The way of the calls of one deployment.
#[derive(Debug, Serialize)]
pub struct Lane {
    /// The deployment.
    pub name: String,
    /// `ready`, `starting` or `failed`.
    pub state: &'static str,
    /// The routes that lead to it, in the order of the configuration.
    pub routes: Vec<LaneRoute>,
    /// The plugins that apply to its calls, in the order of the chain.
    pub plugins: Vec<LanePlugin>,
    /// Workers that take calls.
    pub ready: usize,
    /// All workers.
    pub workers: usize,
    /// Calls in its workers.
    pub in_flight: usize,
    /// Calls that wait for one.
    pub queued: usize,
}

/// A route to a deployment.
#[derive(Debug, Serialize)]
pub struct LaneRoute {
    /// Its path.
    pub path: String,
    /// The function; none for whole requests.
    pub function: Option<String>,
}

/// A plugin on the way of calls.
#[derive(Debug, Serialize)]
pub struct LanePlugin {
    /// Its name.
    pub name: String,
    /// `ready`, `stale`, `open` or `disabled`.
    pub status: &'static str,
    /// Whether it applies to some functions only.
    pub partly: bool,
}

impl Cost {
    pub(super) fn of(measured: &Snapshot) -> Self {
        let Snapshot { sum, count, .. } = *measured;
        Self::new(count, sum)
    }

    #[expect(clippy::cast_precision_loss, reason = "a mean")]
    fn new(count: u64, seconds: f64) -> Self {
        let mean = (count > 0).then(|| (seconds * 1e9 / count as f64).round() / 1e3);
        Self { count, mean_microseconds: mean, seconds }
    }

    /// That of all calls of a deployment.
    fn of_calls(calls: &DeploymentCalls) -> Self {
        let each = calls.functions().into_iter().map(|function| Self::of(&function.durations.snapshot()));
        let (count, seconds) = each.fold((0, 0.0), |(count, sum), one| (count + one.count, sum + one.seconds));
        Self::new(count, seconds)
    }
}

impl Gateway {
    /// The plugins, costs and variables of a deployment.
    #[must_use]
    pub fn detail_of(&self, deployment: &Deployment) -> DeploymentDetail {
        let set = self.plugins.current();
        let states = readiness::of_plugins(&set);
        let name = deployment.name.as_str();
        let applying = set
            .plugins
            .iter()
            .zip(&states)
            .filter(|(plugin, _)| !plugin.used_hooks().is_empty() && plugin.settings.applies_to_deployment(name));
        let mut plugins: Vec<ChainedPlugin> = applying.map(|(plugin, state)| chained(plugin, state.status)).collect();
        share_out(&mut plugins);
        DeploymentDetail {
            name: name.to_owned(),
            variables: deployment.variables.lock().clone(),
            calls: deployment.calls.as_deref().map(Cost::of_calls),
            in_plugins: deployment.calls.as_ref().map(|calls| Cost::of(&calls.plugins.snapshot())),
            plugins,
        }
    }

    /// The ways of calls to the deployments that `shows` and whose name, routes or plugins contain `filter`, the first
    /// `most` by name.
    #[must_use]
    pub fn wiring(&self, filter: &str, most: usize, shows: impl Fn(&str) -> bool) -> Wiring {
        let filter = filter.to_lowercase();
        let set = self.plugins.current();
        let states: BTreeMap<String, &'static str> =
            readiness::of_plugins(&set).into_iter().map(|state| (state.name, state.status)).collect();
        let mut routes: HashMap<&str, Vec<LaneRoute>> = HashMap::new();
        let targets = self.route_targets.load();
        for (path, to) in targets.iter() {
            let route = LaneRoute { path: path.to_string(), function: to.function.clone() };
            routes.entry(to.deployment.as_str()).or_default().push(route);
        }
        let mut all = self.registry.all();
        all.retain(|deployment| shows(deployment.name.as_str()));
        all.sort_by(|one, other| one.name.as_str().cmp(other.name.as_str()));
        let (mut matching, mut lanes) = (0, Vec::new());
        for deployment in &all {
            let routes = routes.remove(deployment.name.as_str()).unwrap_or_default();
            let plugins = deployment.chain.load().plugins().to_vec();
            let fits = |text: &str| text.to_lowercase().contains(&filter);
            let is_wanted = fits(deployment.name.as_str())
                || routes.iter().any(|route| fits(&route.path))
                || plugins.iter().any(|plugin| fits(plugin.name()));
            if !is_wanted {
                continue;
            }
            matching += 1;
            if lanes.len() < most {
                lanes.push(lane(deployment, routes, &plugins, &states));
            }
        }
        Wiring { prefix: self.prefix.as_str().to_owned(), matching, lanes }
    }
}

fn lane(
    deployment: &Deployment,
    routes: Vec<LaneRoute>,
    plugins: &[Arc<Plugin>],
    states: &BTreeMap<String, &'static str>,
) -> Lane {
    let state = readiness::of_deployment(deployment);
    let plugin = |plugin: &Arc<Plugin>| LanePlugin {
        name: plugin.name().to_owned(),
        status: states.get(plugin.name()).copied().unwrap_or("ready"),
        partly: !plugin.settings.functions.iter().any(Pattern::is_any) || !plugin.settings.exclude.is_empty(),
    };
    Lane {
        name: state.name,
        state: state.status,
        routes,
        plugins: plugins.iter().map(plugin).collect(),
        ready: state.ready_workers,
        workers: state.workers,
        in_flight: state.in_flight,
        queued: state.waiting,
    }
}

fn chained(plugin: &Arc<Plugin>, status: &'static str) -> ChainedPlugin {
    let settings = &plugin.settings;
    let hook = |hook: HookName| ChainedHook {
        hook: hook.as_str(),
        on_error: settings.on_error_of(hook).as_str(),
        cost: Cost::of(&plugin.figures.of(hook).durations.snapshot()),
        share: None,
    };
    ChainedPlugin {
        name: plugin.name().to_owned(),
        status,
        mode: settings.mode.as_str(),
        functions: settings.functions.iter().map(ToString::to_string).collect(),
        exclude: settings.exclude.iter().map(ToString::to_string).collect(),
        hooks: plugin.used_hooks().into_iter().map(hook).collect(),
    }
}

/// Gives each hook of calls its part of the sum of their means.
fn share_out(plugins: &mut [ChainedPlugin]) {
    let is_of_calls = |hook: &ChainedHook| {
        [HookName::BeforeInvoke, HookName::AfterInvoke].iter().any(|name| name.as_str() == hook.hook)
    };
    let mean = |hook: &ChainedHook| hook.cost.mean_microseconds.filter(|_| is_of_calls(hook));
    let all: f64 = plugins.iter().flat_map(|plugin| &plugin.hooks).filter_map(mean).sum();
    for hook in plugins.iter_mut().flat_map(|plugin| &mut plugin.hooks) {
        hook.share = mean(hook).filter(|_| all > 0.0).map(|mean| (mean / all * 1e3).round() / 1e3);
    }
}
