//! Rules about isolation, for `[[deployment]]` and `[deploy]`: which keys need which, and what needs root.

use rustix::process::geteuid;

use crate::config::fault::{Fault, Faults};
use crate::config::locations::Location;
use crate::config::tables::config::Config;
use crate::config::values::choice::Isolation;
use crate::config::values::endpoint::Endpoint;
use crate::config::values::run_as::{Ids, RunAs};

/// The keys of one table.
struct Keys<'a> {
    isolation: Isolation,
    run_as: Option<&'a RunAs>,
    network: &'a [Endpoint],
}

/// Checks the rules of every table and adds to `faults`.
pub(super) fn check(config: &Config, faults: &mut Faults) {
    for deployment in &config.deployments {
        let keys =
            Keys { isolation: deployment.isolation, run_as: deployment.run_as.as_ref(), network: &deployment.network };
        let locations = &deployment.locations;
        // A table without the key is located by its name.
        let of = |key: &str| locations.of(key).or_else(|| locations.of("name"));
        check_keys(&keys, &of, keys.run_as.is_none() && locations.has("run_as"), faults);
    }
    let deploy = &config.deploy;
    let keys = Keys { isolation: deploy.isolation, run_as: deploy.run_as.as_ref(), network: &deploy.network };
    let is_refused = keys.run_as.is_none() && config.locations.has("deploy.run_as");
    check_keys(&keys, &|key| config.locations.of(&format!("deploy.{key}")), is_refused, faults);
}

fn check_keys(keys: &Keys<'_>, of: &dyn Fn(&str) -> Option<Location>, run_as_is_refused: bool, faults: &mut Faults) {
    let is_root = geteuid().is_root();
    match keys.run_as {
        Some(_) if keys.isolation == Isolation::None => {
            faults.push(Fault::new(of("run_as"), "\"run_as\" cannot be used with isolation = \"none\""));
        }
        Some(_) if !is_root => {
            faults.push(Fault::new(of("run_as"), "\"run_as\" needs a gateway that runs as root"));
        }
        Some(RunAs::Name(name)) if Ids::of_name(name).is_none() => {
            faults.push(Fault::new(of("run_as"), format!("this machine has no user {name:?}")));
        }
        Some(RunAs::Name(name)) if Ids::of_name(name).is_some_and(|ids| ids.uid == 0) => {
            faults.push(Fault::new(of("run_as"), format!("the user {name:?} is root")));
        }
        None if is_root && keys.isolation == Isolation::Strict && !run_as_is_refused => {
            let message = "isolation = \"strict\" as root needs \"run_as\", such as run_as = \"100000-165535\"";
            faults.push(Fault::new(of("isolation"), message));
        }
        _ => {}
    }
    if !keys.network.is_empty() && keys.isolation != Isolation::Strict {
        faults.push(Fault::new(of("network"), "\"network\" requires isolation = \"strict\""));
    }
}
