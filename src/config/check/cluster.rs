//! Rules of `[cluster]`.

use crate::config::fault::{Fault, Faults};
use crate::config::tables::config::Config;

/// Minimum length of the secret in bytes.
const SECRET_LENGTH: usize = 32;

/// Checks the rules and adds to `faults`.
pub(super) fn check(config: &Config, faults: &mut Faults) {
    let Some(cluster) = &config.cluster else { return };
    let locations = &config.locations;
    let mut fault =
        |key: &str, message: String| faults.push(Fault::new(locations.of(&format!("cluster.{key}")), message));
    if cluster.secret.as_ref().is_some_and(|secret| secret.expose().len() < SECRET_LENGTH) {
        fault("secret", format!("the secret of a cluster has at least {SECRET_LENGTH} bytes"));
    }
    for (one, other) in [("user", "password"), ("password", "user"), ("cert", "key"), ("key", "cert")] {
        if locations.has(&format!("cluster.{one}")) && !locations.has(&format!("cluster.{other}")) {
            fault(one, format!("{one:?} needs {other:?}"));
        }
    }
    let ways: Vec<&str> =
        ["user", "token", "credentials"].into_iter().filter(|key| locations.has(&format!("cluster.{key}"))).collect();
    if let [first, second, ..] = ways.as_slice() {
        fault(second, format!("there is {first:?} already; NATS servers take one of them"));
    }
    let is_tls = cluster.nats.iter().any(|server| server.is_tls());
    for key in ["ca", "cert"] {
        if locations.has(&format!("cluster.{key}")) && !is_tls && !cluster.nats.is_empty() {
            fault(key, format!("{key:?} is for addresses with tls://, of which \"nats\" has none"));
        }
    }
}
