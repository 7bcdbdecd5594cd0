//! Where routes lead, and which functions the configuration names as prompts, resources and in schedules. What a
//! deployment has is known when it has loaded; what leads to a function that it lacks is logged then.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, FunctionTarget, RoutePath, RouteTarget, nearest};
use crate::deployment::{DeploymentName, Exports, Function, HTTP_FUNCTION, Takes};
use crate::gateway::Gateway;
use crate::worker::pool::Pool;

/// How much longer than a load may take its end is waited for: a pool that is removed while it loads has none.
const GRACE: Duration = Duration::from_secs(60);

/// The functions that a configuration names other than in routes: as what, the URI of a resource or the name of a
/// schedule, and the function.
fn named(config: &Config) -> Vec<(&'static str, String, FunctionTarget)> {
    let named = |kind, of: String, to: &FunctionTarget| (kind, of, to.clone());
    let mcp = Some(&config.mcp).filter(|mcp| mcp.enabled);
    let prompts = mcp.into_iter().flat_map(|mcp| &mcp.prompts).map(|to| named("prompt", to.to_string(), to));
    let resources =
        mcp.into_iter().flat_map(|mcp| &mcp.resource).map(|one| named("resource", one.uri.to_string(), &one.to));
    let schedules = config.schedules.iter().filter_map(|schedule| {
        let RouteTarget { deployment, function } = schedule.to.clone();
        Some(named("schedule", schedule.known_as(), &FunctionTarget { deployment, function: function? }))
    });
    prompts.chain(resources).chain(schedules).collect()
}

impl Gateway {
    /// Logs what leads to functions that their deployments lack, now and when deployments load later.
    pub fn check_targets(&self, config: &Config) {
        let targets = config.routes.iter().map(|route| (route.path.clone(), route.to.clone())).collect();
        self.route_targets.store(Arc::new(targets));
        self.named_functions.store(Arc::new(named(config)));
        for deployment in self.registry.all() {
            self.check_targets_in(&deployment.name, deployment.pool());
        }
    }

    /// Logs what leads to functions that this deployment lacks, once it has loaded.
    pub(super) fn check_targets_in(&self, name: &DeploymentName, pool: Option<&Arc<Pool>>) {
        let (routes, named) = (self.route_targets.load(), self.named_functions.load());
        let routes: Vec<_> = routes.iter().filter(|(_, to)| to.deployment == *name).cloned().collect();
        let named: Vec<_> = named.iter().filter(|(_, _, to)| to.deployment == *name).cloned().collect();
        let Some(pool) = pool.filter(|_| !routes.is_empty() || !named.is_empty()).cloned() else { return };
        tokio::spawn(async move {
            let longest = pool.settings().load_timeout + GRACE;
            if let Ok(Ok(exports)) = tokio::time::timeout(longest, pool.first_load()).await {
                routes.iter().for_each(|(path, to)| check(path, to, &exports));
                named.iter().for_each(|(kind, of, to)| check_named(kind, of, to, &exports));
            }
        });
    }
}

fn check_named(kind: &str, of: &str, to: &FunctionTarget, exports: &Exports) {
    let FunctionTarget { deployment, function } = to;
    if let Some(nearest) = missing(function, exports) {
        tracing::warn!(
            kind, of, %deployment, function, nearest,
            "the configuration names a function that its deployment does not have"
        );
    }
}

/// The name nearest to that of a function which is not there, `none` without any; nothing if the function is there.
fn missing<'e>(function: &str, exports: &'e Exports) -> Option<&'e str> {
    let callable = |function: &&Arc<Function>| function.takes == Takes::Arguments;
    if exports.functions.get(function).as_ref().is_some_and(callable) || exports.aliases.contains_key(function) {
        return None;
    }
    let own = exports.functions.values().filter(callable).map(|function| &*function.name);
    let names: Vec<&str> = own.chain(exports.aliases.keys().map(|alias| &**alias)).collect();
    Some(nearest(function, &names).unwrap_or("none"))
}

fn check(path: &RoutePath, to: &RouteTarget, exports: &Exports) {
    let RouteTarget { deployment, function } = to;
    let Some(function) = function else {
        if exports.functions.get(HTTP_FUNCTION).is_none_or(|app| app.takes != Takes::Request) {
            tracing::warn!(route = %path, %deployment, "a route leads to a deployment without a web app");
        }
        return;
    };
    if let Some(nearest) = missing(function, exports) {
        tracing::warn!(
            route = %path, %deployment, function, nearest,
            "a route leads to a function that its deployment does not have"
        );
    }
}
