//! Rules about what stands in front of deployments: proxies and CORS.

use crate::config::fault::{Fault, Faults};
use crate::config::locations::Locations;
use crate::config::tables::config::Config;
use crate::config::tables::cors::CorsConfig;
use crate::config::values::cors_origin::CorsOrigin;

/// Checks the rules and adds to `faults`.
pub(super) fn check(config: &Config, faults: &mut Faults) {
    check_proxies(config, faults);
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
