//! What a configuration's paths mean for isolated workers: warnings of `check` and `doctor`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use crate::config::{Config, DeploymentConfig, Isolation};

/// Consequences of isolation that a user would not expect, for each deployment.
pub(super) fn warnings(config: &Config) -> Vec<String> {
    let hidden = hidden(config);
    let isolated = config.deployments.iter().filter(|deployment| deployment.isolation != Isolation::None);
    isolated.flat_map(|deployment| of_deployment(deployment, config, &hidden)).collect()
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

fn of_deployment(deployment: &DeploymentConfig, config: &Config, hidden: &[PathBuf]) -> Vec<String> {
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
    if geteuid().is_root() && owner != 0 {
        warnings.push(format!(
            "deployment {name:?}: its functions cannot change {folder:?}, which belongs to the user {owner}, because \
             workers of root have no capabilities: run the gateway as that user, or set isolation = \"none\""
        ));
    }
    let others = config.deployments.iter().map(|other| absolute(&other.path));
    let closed: Vec<PathBuf> =
        others.filter(|other| !other.starts_with(&folder) && !folder.starts_with(other)).collect();
    let is_closed = |path: &PathBuf| {
        closed.iter().any(|other| path.starts_with(other)) && !deployment.read.iter().any(|read| path.starts_with(read))
    };
    if let Some(interpreter) = deployment.interpreter.as_ref().filter(|path| is_closed(path)) {
        warnings.push(format!(
            "deployment {name:?}: its interpreter {interpreter:?} lies in the folder of another deployment, which is \
             hidden from it: add the interpreter's folder to \"read\""
        ));
    }
    warnings
}

fn absolute(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.canonicalize().unwrap_or(absolute)
}
