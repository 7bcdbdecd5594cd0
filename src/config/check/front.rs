//! Rules about what stands in front of deployments: proxies, CORS and routes.

use crate::config::fault::{Fault, Faults};
use crate::config::locations::Locations;
use crate::config::tables::config::Config;
use crate::config::tables::cors::CorsConfig;
use crate::config::tables::route::RouteConfig;
use crate::config::values::cors_origin::CorsOrigin;
use crate::config::values::route_path::RoutePart;
use crate::deployment::{DeploymentName, RESERVED_NAMES};

/// Checks the rules and adds to `faults`.
pub(super) fn check(config: &Config, faults: &mut Faults) {
    check_proxies(config, faults);
    check_routes(config, faults);
    check_cors(config.server.cors.as_ref(), "server.cors", &config.locations, faults);
    for deployment in &config.deployments {
        check_cors(deployment.cors.as_ref(), "cors", &deployment.locations, faults);
    }
}

fn check_proxies(config: &Config, faults: &mut Faults) {
    let server = &config.server;
    if server.proxy_protocol && server.trusted_proxies.is_empty() && !config.locations.has("server.trusted_proxies") {
        let message = "proxy_protocol needs \"trusted_proxies\", the proxies that may name their clients";
        faults.push(Fault::new(config.locations.of("server.proxy_protocol"), message));
    }
}

fn check_cors(cors: Option<&CorsConfig>, key: &str, locations: &Locations, faults: &mut Faults) {
    if cors.is_some_and(|cors| cors.credentials && cors.origins.contains(&CorsOrigin::Any)) {
        let message = "credentials are not for the origin \"*\": every page could act for the users of all others; \
                       list the origins that may";
        faults.push(Fault::new(locations.of(&format!("{key}.credentials")), message));
    }
}

fn check_routes(config: &Config, faults: &mut Faults) {
    for (at, route) in config.routes.iter().enumerate() {
        check_cors(route.cors.as_ref(), "cors", &route.locations, faults);
        if route.is_async && !may_be_async(config, &route.to.deployment) {
            let message =
                format!("calls of {:?} are not asynchronous: \"enabled\" is false", route.to.deployment.as_str());
            faults.push(Fault::new(route.locations.of("async"), message));
        }
        if route.is_async && route.to.function.is_none() {
            let message = format!("whole requests are not asynchronous: write \"{}/<function>\" in \"to\"", route.to);
            faults.push(Fault::new(route.locations.of("async"), message));
        }
        if let Some(message) = taken(route, config) {
            faults.push(Fault::new(route.locations.of("path"), message));
            continue;
        }
        let mut earlier = config.routes[..at].iter();
        if let Some(first) = earlier.find(|first| takes_the_same(first, route)) {
            let line = first.locations.of("path").map_or(0, |location| location.line);
            let message = format!(
                "the route of line {line} takes the same requests: give one of them another path, \"host\" or other \
                 \"methods\""
            );
            faults.push(Fault::new(route.locations.of("path"), message));
        }
    }
}

/// Why no request would reach a route: its addresses are the gateway's own.
fn taken(route: &RouteConfig, config: &Config) -> Option<String> {
    let Some(RoutePart::Text(first)) = route.path.parts().first() else { return None };
    if RESERVED_NAMES.iter().any(|name| name.eq_ignore_ascii_case(first)) {
        let names = RESERVED_NAMES.map(|name| format!("/{name}")).join(", ");
        return Some(format!("these addresses are reserved for the gateway: {names}"));
    }
    if config.mcp.enabled && first == "mcp" && route.path.parts().len() == 1 {
        return Some("the tools of [mcp] are at /mcp".to_owned());
    }
    let is_prefix = config.server.prefix.as_ref().is_some_and(|prefix| prefix.as_str() == first);
    is_prefix.then(|| format!("addresses below /{first} are those of deployments, because it is the prefix"))
}

fn takes_the_same(one: &RouteConfig, other: &RouteConfig) -> bool {
    let shares_method = match (one.accepted(), other.accepted()) {
        (Some(one), Some(other)) => one.iter().any(|method| other.contains(method)),
        (None, _) | (_, None) => true,
    };
    shares_method && one.host == other.host && one.path.matches_as(&other.path)
}

/// Routes to deployments that the file does not have: one of this name may be uploaded.
#[must_use]
pub fn route_warnings(config: &Config) -> Vec<String> {
    let is_known =
        |route: &&RouteConfig| config.deployments.iter().any(|deployment| deployment.name == route.to.deployment);
    let unknown = config.routes.iter().filter(|route| !is_known(route));
    let warning = |route: &RouteConfig| {
        let place = route.locations.of("to").map_or_else(String::new, |location| format!("{location}: "));
        format!(
            "{place}route {} leads to {:?}, which is no deployment of this file: it answers 404 until one is uploaded",
            route.path,
            route.to.deployment.as_str()
        )
    };
    unknown.map(warning).chain(schedule_warnings(config)).collect()
}

/// Schedules of deployments that the file does not have.
fn schedule_warnings(config: &Config) -> impl Iterator<Item = String> + '_ {
    let is_known = |name: &DeploymentName| config.deployments.iter().any(|deployment| deployment.name == *name);
    let unknown = config.schedules.iter().filter(move |schedule| !is_known(&schedule.to.deployment));
    unknown.map(|schedule| {
        let place = schedule.locations.of("to").map_or_else(String::new, |location| format!("{location}: "));
        format!(
            "{place}the schedule calls {:?}, which is no deployment of this file: its calls are dead until one is \
             uploaded",
            schedule.to.deployment.as_str()
        )
    })
}

/// Whether calls of a deployment may be asynchronous; those that are uploaded follow `[async]`.
fn may_be_async(config: &Config, name: &DeploymentName) -> bool {
    let own = config.deployments.iter().find(|deployment| deployment.name == *name);
    own.and_then(|deployment| deployment.async_calls.enabled).unwrap_or(config.async_calls.enabled)
}
