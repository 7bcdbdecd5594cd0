//! Where routes lead. What a deployment has is known when it has loaded; routes to what it lacks are logged then.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{RouteConfig, RoutePath, RouteTarget, nearest};
use crate::deployment::{DeploymentName, Exports, HTTP_FUNCTION, Takes};
use crate::gateway::Gateway;
use crate::worker::pool::Pool;

/// How much longer than a load may take its end is waited for: a pool that is removed while it loads has none.
const GRACE: Duration = Duration::from_secs(60);

impl Gateway {
    /// Logs routes to what their deployments lack, now and when deployments load later.
    pub fn check_routes(&self, routes: &[RouteConfig]) {
        let targets = routes.iter().map(|route| (route.path.clone(), route.to.clone())).collect();
        self.route_targets.store(Arc::new(targets));
        for deployment in self.registry.all() {
            self.check_routes_to(&deployment.name, deployment.pool());
        }
    }

    /// Logs routes to what this deployment lacks, once it has loaded.
    pub(super) fn check_routes_to(&self, name: &DeploymentName, pool: Option<&Arc<Pool>>) {
        let all = self.route_targets.load();
        let own: Vec<(RoutePath, RouteTarget)> = all.iter().filter(|(_, to)| to.deployment == *name).cloned().collect();
        let Some(pool) = pool.filter(|_| !own.is_empty()).cloned() else { return };
        tokio::spawn(async move {
            let longest = pool.settings().load_timeout + GRACE;
            if let Ok(Ok(exports)) = tokio::time::timeout(longest, pool.first_load()).await {
                own.iter().for_each(|(path, to)| check(path, to, &exports));
            }
        });
    }
}

fn check(path: &RoutePath, to: &RouteTarget, exports: &Exports) {
    let RouteTarget { deployment, function } = to;
    let has = |name: &str, takes| exports.functions.get(name).is_some_and(|function| function.takes == takes);
    let Some(function) = function else {
        if !has(HTTP_FUNCTION, Takes::Request) {
            tracing::warn!(route = %path, %deployment, "a route leads to a deployment without a web app");
        }
        return;
    };
    if has(function, Takes::Arguments) || exports.aliases.contains_key(function.as_str()) {
        return;
    }
    let callable = exports.functions.values().filter(|function| function.takes == Takes::Arguments);
    let names: Vec<&str> =
        callable.map(|function| &*function.name).chain(exports.aliases.keys().map(|a| &**a)).collect();
    let nearest = nearest(function, &names).unwrap_or("none");
    tracing::warn!(
        route = %path, %deployment, function, nearest,
        "a route leads to a function that its deployment does not have"
    );
}
