//! The walls of a deployment's workers: the folders that they may change, and where their programs are told to keep
//! temporary files and caches.

use std::ffi::OsString;
use std::path::Path;

use crate::config::{DeploymentConfig, Endpoint, Isolation, RuntimeKind};
use crate::process::walls::Walls;
use crate::process::walls::level::Level;
use crate::runtime::scripts::WorkerScripts;

/// The home folder; the walls replace it.
const HOME: &str = "HOME";
/// Folders of temporary files and of caches, as programs look them up.
const TEMP_VARIABLES: [&str; 5] = ["TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"];
/// Where Python looks for packages that the user has installed: below the home folder unless this says otherwise.
const PYTHON_USER_BASE: &str = "PYTHONUSERBASE";
/// Makes the C library ask name servers over TCP, the only protocol that strict isolation lets through.
const NAMES_OVER_TCP: (&str, &str) = ("RES_OPTIONS", "use-vc");

/// The walls of a deployment's workers; none without isolation.
pub(super) fn of(deployment: &DeploymentConfig, kind: RuntimeKind, scripts: &WorkerScripts) -> Option<Walls> {
    if deployment.isolation == Isolation::None {
        return None;
    }
    let name = deployment.name.as_str();
    let mut read = [&scripts.node, &scripts.python, &scripts.metacall].map(Clone::clone).to_vec();
    read.extend(scripts.modules.iter().cloned());
    read.extend(deployment.read.iter().cloned());
    read.extend(deployment.worker_script.clone());
    let mut make = Vec::new();
    match kind {
        RuntimeKind::Python => make.push(scripts.python_caches.join(name)),
        RuntimeKind::Wasm => {
            make.push(scripts.wasm_caches.join(name));
            read.extend(deployment.wasm.grants.folders.values().cloned());
        }
        RuntimeKind::Node | RuntimeKind::Metacall | RuntimeKind::Command => {}
    }
    Some(Walls {
        level: if deployment.isolation == Isolation::Strict { Level::Strict } else { Level::Standard },
        temp: Some(scripts.temp.join(name)),
        own: Some(deployment.path.clone()),
        make,
        write: deployment.write.clone(),
        read,
        runtime: Vec::new(),
        max_files: Some(u64::from(deployment.max_files)),
        max_file: Some(deployment.max_file_size.bytes()),
        max_processes: Some(u64::from(deployment.max_processes)),
        user: None,
        ports: Endpoint::ports(&deployment.network),
    })
}

/// Makes programs keep temporary files and caches in `temp`. The deployment's own variables are set after these.
pub(super) fn point_to(temp: &Path, env: &mut Vec<(OsString, OsString)>, deployment: &DeploymentConfig) {
    if !deployment.env.contains_key(HOME) {
        let home = env.iter().position(|(name, _)| name == HOME).map(|at| env.remove(at).1);
        env.extend(home.map(|home| (PYTHON_USER_BASE.into(), Path::new(&home).join(".local").into())));
        env.push((HOME.into(), temp.into()));
    }
    env.extend(TEMP_VARIABLES.map(|name| (name.into(), temp.into())));
    if deployment.isolation == Isolation::Strict && deployment.network.iter().any(Endpoint::needs_name_server) {
        env.push((NAMES_OVER_TCP.0.into(), NAMES_OVER_TCP.1.into()));
    }
}
