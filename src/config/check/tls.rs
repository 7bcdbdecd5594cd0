//! Rules of `[[server.tls]]`, `[[admin.tls]]` and what belongs to them. Whether the files are certificates is left to
//! those who load them.

use crate::config::fault::{Fault, Faults};
use crate::config::tables::config::Config;
use crate::config::values::listen::Listen;

/// Checks the rules and adds to `faults`.
pub(super) fn check(config: &Config, faults: &mut Faults) {
    let (server, admin) = (&config.server, &config.admin);
    check_table(config, "server", !server.tls.is_empty(), Some(&server.listen), faults);
    check_table(config, "admin", !admin.tls.is_empty(), admin.listen.as_ref(), faults);
}

fn check_table(config: &Config, table: &str, has_pairs: bool, listen: Option<&Listen>, faults: &mut Faults) {
    let locations = &config.locations;
    let key = |name: &str| format!("{table}.{name}");
    if has_pairs && listen.is_none() && !locations.has(&key("listen")) {
        let message = "certificates of [admin] are for its own listener: set \"listen\", or use [[server.tls]]";
        faults.push(Fault::new(locations.of(&key("tls")), message));
    }
    if has_pairs && listen.is_some_and(|listen| listen.iter().all(|listener| !listener.tls)) {
        let message = "no address in \"listen\" uses certificates: UNIX sockets and tls = false take plain HTTP";
        faults.push(Fault::new(locations.of(&key("tls")), message));
    }
    for name in ["client_ca", "tls_min_version", "client_certificates"] {
        if !has_pairs && locations.has(&key(name)) {
            let message = format!("{name:?} requires [[{table}.tls]]");
            faults.push(Fault::new(locations.of(&key(name)), message));
        }
    }
    if locations.has(&key("client_certificates")) && !locations.has(&key("client_ca")) {
        let message = "\"client_certificates\" requires \"client_ca\"";
        faults.push(Fault::new(locations.of(&key("client_certificates")), message));
    }
}
