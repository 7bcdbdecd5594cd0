//! What a configuration's paths mean for isolated workers: warnings of `check` and `doctor`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use crate::config::{Config, DeploymentConfig, Isolation, RunAs, RuntimeKind};
use crate::gateway::run_as::user_of_git;
use crate::process::tree::Instance;
use crate::process::walls::machine::{NEEDED_FOR_STRICT, Wall};
use crate::process::walls::user::{User, closed_to};
use crate::runtime::Plan;

/// Consequences of isolation that a user would not expect, for each deployment.
pub(super) fn warnings(config: &Config) -> Vec<String> {
    let hidden = hidden(config);
    let isolated = config.deployments.iter().filter(|deployment| deployment.isolation != Isolation::None);
    isolated.flat_map(|deployment| of_deployment(deployment, &hidden)).collect()
}

/// The files and folders that workers must not read, whatever their deployment.
fn hidden(config: &Config) -> Vec<PathBuf> {
    let all = [&config.file, &config.server.data_dir].into_iter().chain(&config.named_files);
    all.map(|path| absolute(path)).collect()
}

/// The folders in which files that are made after the start of a worker stay closed to it: those on the way to
/// something hidden.
pub(super) fn listed_folders(config: &Config) -> Vec<PathBuf> {
    let deployments = config.deployments.iter().map(|deployment| deployment.path.clone());
    let hidden: Vec<PathBuf> = hidden(config).into_iter().chain(deployments).collect();
    let mut folders: Vec<PathBuf> =
        hidden.iter().flat_map(|path| path.ancestors().skip(1)).map(Path::to_owned).collect();
    folders.sort();
    folders.dedup();
    folders
}

fn of_deployment(deployment: &DeploymentConfig, hidden: &[PathBuf]) -> Vec<String> {
    let name = &deployment.name;
    let folder = absolute(&deployment.path);
    let mut warnings = Vec::new();
    if let Some(inside) = hidden.iter().find(|path| path.starts_with(&folder)) {
        warnings.push(format!(
            "deployment {name:?}: its functions cannot make files directly in {folder:?}, because {inside:?} is hidden \
             from them there: move it to a folder of its own, or set isolation = \"none\""
        ));
    }
    let owner = fs::metadata(&folder).map_or(0, |folder| folder.uid());
    let user = match &deployment.run_as {
        None => Some(User::alone(0)),
        Some(RunAs::Range { .. }) => None,
        Some(run_as) => user_of_git(run_as).ok(),
    };
    let changes_it = deployment.isolation == Isolation::Standard;
    if let Some(user) = user.filter(|user| geteuid().is_root() && changes_it && user.uid != owner) {
        warnings.push(format!(
            "deployment {name:?}: its functions, which run as the user {} without capabilities, cannot change \
             {folder:?}, which belongs to the user {owner}: give them the same user, or set isolation = \"none\"",
            user.uid
        ));
    }
    warnings
}

/// The walls of this list that are missing and without which strict isolation runs nothing.
pub(super) fn missing_for_strict(walls: &[Wall]) -> Vec<&'static str> {
    let missing = walls.iter().filter(|wall| !wall.up).map(|wall| wall.name);
    missing.filter(|name| NEEDED_FOR_STRICT.contains(name)).collect()
}

/// Why a deployment's workers would not start: a wall is missing, or the files that they need are closed to the user
/// that they run as. Each reason with the key that it is about.
pub(super) fn obstacles(deployment: &DeploymentConfig, plan: &Plan, config: &Config) -> Vec<Obstacle> {
    let program = (plan.kind != RuntimeKind::Wasm).then_some(&plan.program);
    let needed: Vec<&PathBuf> = [&deployment.path].into_iter().chain(program).chain(&deployment.read).collect();
    obstacles_of(deployment.isolation, deployment.run_as.as_ref(), &needed, config)
}

/// The same for deployments over HTTP, whatever their programs.
pub(super) fn obstacles_of_deploys(config: &Config) -> Vec<Obstacle> {
    let deploy = &config.deploy;
    obstacles_of(deploy.isolation, deploy.run_as.as_ref(), &deploy.read.iter().collect::<Vec<_>>(), config)
}

/// A key and what is in its way.
type Obstacle = (&'static str, String);

fn obstacles_of(isolation: Isolation, run_as: Option<&RunAs>, needed: &[&PathBuf], config: &Config) -> Vec<Obstacle> {
    let mut obstacles = Vec::new();
    if isolation == Isolation::Strict {
        let missing = missing_for_strict(&Instance::current().walls());
        if !missing.is_empty() {
            let message = format!("isolation = \"strict\" needs walls that this machine lacks: {}", missing.join(", "));
            obstacles.push(("isolation", message));
        }
    }
    let Some(run_as) = run_as else { return obstacles };
    // Users of a range are in no group and own nothing yet: each of them finds the same files closed.
    let user = match user_of_git(run_as) {
        Ok(user) => user,
        Err(error) => return vec![("run_as", error.to_string())],
    };
    // The gateway opens the data folder itself, but not the way to it.
    let data_dir = absolute(&config.server.data_dir).parent().map(Path::to_owned);
    let way = data_dir.into_iter().map(|parent| (parent, true));
    for (path, passage) in needed.iter().map(|path| (absolute(path), false)).chain(way) {
        if let Some(closed) = closed_to(user, &path, passage) {
            let what = if closed == path { String::new() } else { format!(", which {path:?} lies in,") };
            let run_as = run_as.to_string();
            obstacles.push(("run_as", format!("{closed:?}{what} is closed to the user of run_as = {run_as:?}")));
        }
    }
    obstacles
}

fn absolute(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.canonicalize().unwrap_or(absolute)
}
