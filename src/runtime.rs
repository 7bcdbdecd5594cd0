//! Runtimes: decides which program runs a deployment's scripts, by their language, and how the program is started.
//! `worker` starts it.

pub mod command;
pub mod detection;
mod error;
pub mod metacall;
pub mod node;
pub mod package;
pub mod python;
pub mod scripts;
mod walls;
pub mod wasm;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::config::{DeploymentConfig, RuntimeKind};
use crate::deployment::MetaCallJson;
use crate::process::walls::Walls;
use crate::runtime::scripts::WorkerScripts;

pub use crate::runtime::error::RuntimeError;

/// Variables that a worker inherits from the gateway. All others come from its deployment, so that the gateway's
/// secrets stay out of workers.
const INHERITED: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];

/// Names of files that a message lists.
const SHOWN: usize = 6;

/// How a worker of one deployment is started.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The runtime.
    pub kind: RuntimeKind,
    /// The absolute path of the program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// The whole environment of the process.
    pub env: Vec<(OsString, OsString)>,
    /// The working folder.
    pub folder: PathBuf,
    /// The scripts that Load names.
    pub jsons: Vec<MetaCallJson>,
    /// The scripts whose functions the deployment offers: those of Load, and those that the worker finds by itself.
    pub own: Vec<MetaCallJson>,
    /// What the process may reach; everything that the gateway's user may if there are no walls.
    pub walls: Option<Walls>,
    /// The folder of the deployment's temporary files. The launcher makes it where there are walls.
    pub temp: PathBuf,
}

/// Chooses the runtime of a deployment: the configured one, else by the languages in metacall.json, else by the files.
/// `jsons` are the folder's metacall files. Also returns the scripts to load.
///
/// # Errors
///
/// Fails if no runtime fits, or if several languages need MetaCall and it is not installed.
pub fn choose(
    deployment: &DeploymentConfig,
    jsons: Vec<MetaCallJson>,
) -> Result<(RuntimeKind, Vec<MetaCallJson>), RuntimeError> {
    let folder = &deployment.path;
    let jsons = if jsons.is_empty() { named_app(deployment).into_iter().collect() } else { jsons };
    if let Some(kind) = deployment.runtime {
        return with_runtime(kind, folder, jsons);
    }
    let jsons = if jsons.is_empty() { detect(folder)? } else { jsons };
    let languages: BTreeSet<&str> = jsons.iter().map(|json| json.language_id.as_str()).collect();
    let kind = match languages.iter().copied().collect::<Vec<_>>().as_slice() {
        [] => return nothing_found(deployment),
        languages if languages.iter().all(|language| node::LANGUAGES.contains(language)) => RuntimeKind::Node,
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

/// The script that `app` names. One of Python may be found without it, next to others, which are loaded as well.
fn named_app(deployment: &DeploymentConfig) -> Option<MetaCallJson> {
    let of_python = || python::named_app(deployment).filter(|_| python::detect(&deployment.path).is_none());
    node::named_app(deployment).or_else(of_python)
}

/// The language of the functions in a folder, for people; none if there are none that could be deployed.
#[must_use]
pub fn language_of(folder: &Path) -> Option<&'static str> {
    let names = std::fs::read_dir(folder).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    if names.into_iter().any(|name| name == "metacall.json" || name.starts_with("metacall-") && name.ends_with(".json"))
    {
        return Some("metacall.json");
    }
    let found = detect(folder).ok()?;
    let language = found.first()?.language_id.as_str();
    let languages =
        [("Node", &node::LANGUAGES[..]), ("Python", &python::LANGUAGES[..]), ("WebAssembly", &wasm::LANGUAGES[..])];
    languages.into_iter().find(|(_, ids)| ids.contains(&language)).map(|(name, _)| name)
}

fn with_runtime(
    kind: RuntimeKind,
    folder: &Path,
    jsons: Vec<MetaCallJson>,
) -> Result<(RuntimeKind, Vec<MetaCallJson>), RuntimeError> {
    let (runtime, languages, found, expected) = match kind {
        RuntimeKind::Node if jsons.is_empty() => ("node", &node::LANGUAGES[..], node::detect(folder)?, node::EXPECTED),
        RuntimeKind::Node => ("node", &node::LANGUAGES[..], None, node::EXPECTED),
        RuntimeKind::Python => ("python", &python::LANGUAGES[..], python::detect(folder), python::EXPECTED),
        RuntimeKind::Wasm => ("wasm", &wasm::LANGUAGES[..], wasm::detect(folder), wasm::EXPECTED),
        RuntimeKind::Metacall if jsons.is_empty() => {
            let mut found = detect(folder)?;
            found.extend(metacall::detect(folder));
            if found.is_empty() {
                return Err(RuntimeError::NoScripts { folder: folder.to_owned(), there: there(folder) });
            }
            return Ok((kind, found));
        }
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
        None => Err(RuntimeError::NothingFor { runtime, folder: folder.to_owned(), expected, there: there(folder) }),
    }
}

fn detect(folder: &Path) -> Result<Vec<MetaCallJson>, RuntimeError> {
    let (node, python) = (node::detect(folder), python::detect(folder));
    let found: Vec<MetaCallJson> = match (node, python) {
        (Err(error), None) if wasm::detect(folder).is_none() => return Err(error.into()),
        (node, python) => [node.ok().flatten(), python].into_iter().flatten().collect(),
    };
    // Next to scripts, a module is part of a script's program, not a script itself.
    Ok(if found.is_empty() { wasm::detect(folder).into_iter().collect() } else { found })
}

/// Scripts of other languages, which the MetaCall runtime runs where it is installed.
fn nothing_found(deployment: &DeploymentConfig) -> Result<(RuntimeKind, Vec<MetaCallJson>), RuntimeError> {
    let folder = &deployment.path;
    let others = metacall::detect(folder);
    let Some(first) = others.first() else {
        return Err(RuntimeError::NoScripts { folder: folder.clone(), there: there(folder) });
    };
    if metacall::is_installed(deployment) {
        return Ok((RuntimeKind::Metacall, others));
    }
    let reason = format!("{:?} has no runtime of metagate's own", first.language_id);
    Err(RuntimeError::NeedsMetaCall { reason })
}

/// The names in a folder, for messages: `README.md, src/`.
fn there(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let slash = |entry: &std::fs::DirEntry| if entry.path().is_dir() { "/" } else { "" };
    let mut names: Vec<String> =
        entries.map(|entry| format!("{}{}", entry.file_name().to_string_lossy(), slash(&entry))).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    match names.len() {
        0 => "nothing".to_owned(),
        count if count > SHOWN => format!("{} and {} more", names[..SHOWN].join(", "), count - SHOWN),
        _ => names.join(", "),
    }
}

/// Plans how to start a worker that loads `jsons` with the runtime `kind`. Blocks: it searches PATH, and may run a
/// version manager to find the program behind its script.
pub fn plan(
    deployment: &DeploymentConfig,
    kind: RuntimeKind,
    jsons: Vec<MetaCallJson>,
    scripts: &WorkerScripts,
) -> Result<Plan, RuntimeError> {
    let mut env: Vec<(OsString, OsString)> = INHERITED
        .iter()
        .filter_map(|name| std::env::var_os(name).map(|value| (OsString::from(*name), value)))
        .collect();
    let mut walls = walls::of(deployment, kind, scripts);
    if let Some(temp) = walls.as_ref().and_then(|walls| walls.temp.as_deref()) {
        walls::point_to(temp, &mut env, deployment);
    }
    env.retain(|(name, _)| name.to_str().is_none_or(|name| !deployment.env.contains_key(name)));
    env.extend(deployment.env.iter().map(|(name, value)| (name.into(), value.expose().into())));
    env.push(("METAGATE_CHANNEL_FD".into(), "3".into()));
    env.push(("METAGATE_CONCURRENCY".into(), deployment.concurrency.to_string().into()));
    env.push(("METAGATE_MAX_MESSAGE".into(), deployment.max_message.bytes().to_string().into()));
    let (program, args) = match kind {
        RuntimeKind::Node => node::program(deployment, scripts)?,
        RuntimeKind::Python => python::program(deployment, scripts)?,
        RuntimeKind::Wasm => wasm::program(deployment, &jsons, scripts)?,
        RuntimeKind::Metacall => metacall::program(deployment, scripts)?,
        RuntimeKind::Command => command::program(deployment)?,
    };
    if let Some(walls) = &mut walls {
        walls.allow_program(&program);
    }
    // Any Node program opens the descriptor that these variables name. metagate's own workers use their own variable,
    // so that Node programs which functions start do not take the channel.
    if matches!(kind, RuntimeKind::Metacall | RuntimeKind::Command) {
        env.push(("NODE_CHANNEL_FD".into(), "3".into()));
        env.push(("NODE_CHANNEL_SERIALIZATION_MODE".into(), "json".into()));
    }
    if kind == RuntimeKind::Wasm {
        // The socket activation protocol: descriptor 3 belongs to the process.
        env.push(("LISTEN_FDS".into(), "1".into()));
    }
    if kind == RuntimeKind::Metacall {
        env.extend(metacall::packages(deployment));
    }
    let temp = scripts.temp.join(deployment.name.as_str());
    let own = jsons.clone();
    let jsons = if kind == RuntimeKind::Metacall { metacall::jsons_to_send(deployment, jsons) } else { jsons };
    Ok(Plan { kind, program, args, env, folder: deployment.path.clone(), jsons, own, walls, temp })
}
