//! Runtimes: which program runs a deployment's scripts, chosen by their language, and how it is started. Starting it is
//! left to `worker`.

pub mod command;
pub mod detection;
mod error;
pub mod metacall;
pub mod node;
pub mod python;
pub mod scripts;
pub mod wasm;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::config::{DeploymentConfig, RuntimeKind};
use crate::deployment::MetaCallJson;
use crate::runtime::scripts::WorkerScripts;

pub use crate::runtime::error::RuntimeError;

/// Variables of the gateway's environment that a worker gets too; everything else it gets from its deployment.
const INHERITED: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];

/// How a worker of one deployment is started.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The runtime that was chosen.
    pub kind: RuntimeKind,
    /// The program, absolute.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// The folder that it runs in.
    pub folder: PathBuf,
    /// The scripts that it is told to load.
    pub jsons: Vec<MetaCallJson>,
    /// The scripts whose functions count; the same unless the worker finds its scripts by itself.
    pub own: Vec<MetaCallJson>,
}

/// Decides the runtime of a folder: the one asked for, else by the metacall.json's languages, else by its files.
/// `jsons` are the folder's metacall files. Gives the scripts to load as well.
pub fn choose(
    deployment: &DeploymentConfig,
    jsons: Vec<MetaCallJson>,
) -> Result<(RuntimeKind, Vec<MetaCallJson>), RuntimeError> {
    let folder = &deployment.path;
    if let Some(kind) = deployment.runtime {
        return with_runtime(kind, folder, jsons);
    }
    let jsons = if jsons.is_empty() { detect(folder) } else { jsons };
    let languages: BTreeSet<&str> = jsons.iter().map(|json| json.language_id.as_str()).collect();
    let kind = match languages.iter().copied().collect::<Vec<_>>().as_slice() {
        [] => return Err(RuntimeError::NoScripts(folder.clone())),
        [language] if node::LANGUAGES.contains(language) => RuntimeKind::Node,
        languages if languages.iter().all(|language| python::LANGUAGES.contains(language)) => RuntimeKind::Python,
        languages if languages.iter().all(|language| wasm::LANGUAGES.contains(language)) => RuntimeKind::Wasm,
        languages => {
            if metacall::is_installed(deployment) {
                return Ok((RuntimeKind::Metacall, jsons));
            }
            let reason = match languages {
                [language] => format!("{language:?} has no runtime of metagate's own"),
                several => format!("{} are in one folder", several.join(" and ")),
            };
            return Err(RuntimeError::NeedsMetaCall { reason });
        }
    };
    Ok((kind, jsons))
}

fn with_runtime(
    kind: RuntimeKind,
    folder: &Path,
    jsons: Vec<MetaCallJson>,
) -> Result<(RuntimeKind, Vec<MetaCallJson>), RuntimeError> {
    let (runtime, languages, found, expected) = match kind {
        RuntimeKind::Node => ("node", &node::LANGUAGES[..], node::detect(folder), node::EXPECTED),
        RuntimeKind::Python => ("python", &python::LANGUAGES[..], python::detect(folder), python::EXPECTED),
        RuntimeKind::Wasm => ("wasm", &wasm::LANGUAGES[..], wasm::detect(folder), wasm::EXPECTED),
        RuntimeKind::Metacall if jsons.is_empty() => return Ok((kind, detect(folder))),
        RuntimeKind::Metacall | RuntimeKind::Command => return Ok((kind, jsons)),
    };
    if let Some(json) = jsons.iter().find(|json| !languages.contains(&json.language_id.as_str())) {
        return Err(RuntimeError::WrongLanguage { runtime, language: json.language_id.clone() });
    }
    if !jsons.is_empty() {
        return Ok((kind, jsons));
    }
    match found {
        Some(json) => Ok((kind, vec![json])),
        None => Err(RuntimeError::NothingFor { runtime, folder: folder.to_owned(), expected }),
    }
}

fn detect(folder: &Path) -> Vec<MetaCallJson> {
    let found: Vec<MetaCallJson> = [node::detect(folder), python::detect(folder)].into_iter().flatten().collect();
    // Beside scripts, a module is what a script loads.
    if found.is_empty() { wasm::detect(folder).into_iter().collect() } else { found }
}

/// How to start a worker that loads `jsons` with the runtime `kind`. Looks programs up, and may ask one where it is.
pub fn plan(
    deployment: &DeploymentConfig,
    kind: RuntimeKind,
    jsons: Vec<MetaCallJson>,
    scripts: &WorkerScripts,
) -> Result<Plan, RuntimeError> {
    let mut env: Vec<(OsString, OsString)> = INHERITED
        .iter()
        .filter_map(|name| std::env::var_os(name).map(|value| (OsString::from(*name), value)))
        .filter(|(name, _)| name.to_str().is_none_or(|name| !deployment.env.contains_key(name)))
        .collect();
    env.extend(deployment.env.iter().map(|(name, value)| (name.into(), value.expose().into())));
    env.push(("METAGATE_CHANNEL_FD".into(), "3".into()));
    env.push(("METAGATE_CONCURRENCY".into(), deployment.concurrency.to_string().into()));
    let (program, args) = match kind {
        RuntimeKind::Node => node::program(deployment, scripts)?,
        RuntimeKind::Python => python::program(deployment, scripts)?,
        RuntimeKind::Wasm => wasm::program(deployment, &jsons, scripts)?,
        RuntimeKind::Metacall => metacall::program(deployment, scripts)?,
        RuntimeKind::Command => command::program(deployment)?,
    };
    // Node opens the descriptor that these name by itself: metagate's own workers, and the Node programs that functions
    // start, must not have them.
    if matches!(kind, RuntimeKind::Metacall | RuntimeKind::Command) {
        env.push(("NODE_CHANNEL_FD".into(), "3".into()));
        env.push(("NODE_CHANNEL_SERIALIZATION_MODE".into(), "json".into()));
    }
    if kind == RuntimeKind::Wasm {
        // How the worker is told that a descriptor is its own to take.
        env.push(("LISTEN_FDS".into(), "1".into()));
    }
    if kind == RuntimeKind::Metacall {
        env.extend(metacall::packages(deployment));
    }
    let own = jsons.clone();
    let jsons = if kind == RuntimeKind::Metacall { metacall::jsons_to_send(deployment, jsons) } else { jsons };
    Ok(Plan { kind, program, args, env, folder: deployment.path.clone(), jsons, own })
}
