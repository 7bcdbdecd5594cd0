//! The `metacall` runtime: the MetaCall core, which mixes languages in one process, with metagate's own worker script
//! or another that speaks the same protocol, such as the one MetaCall FaaS ships.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::config::DeploymentConfig;
use crate::deployment::MetaCallJson;
use crate::process::program::{self, ProgramError};
use crate::runtime::python;
use crate::runtime::scripts::WorkerScripts;

/// The name of MetaCall's program.
pub const PROGRAM: &str = "metacall";
/// The folder of a release's own gems, as Bundler installs them.
pub const GEMS: &str = ".packages/ruby";

/// Whether the deployment's MetaCall is installed.
#[must_use]
pub fn is_installed(deployment: &DeploymentConfig) -> bool {
    find(deployment).is_ok()
}

/// The program that runs MetaCall, and its arguments.
pub fn program(
    deployment: &DeploymentConfig,
    scripts: &WorkerScripts,
) -> Result<(PathBuf, Vec<OsString>), ProgramError> {
    let program = find(deployment)?;
    let script = match &deployment.worker_script {
        Some(script) if !script.is_file() => {
            return Err(ProgramError::NotThere { path: script.clone(), key: "worker_script" });
        }
        Some(script) => script.clone(),
        None => scripts.metacall.clone(),
    };
    Ok((program, vec![script.into()]))
}

/// The scripts that Load names. MetaCall FaaS's own worker reads the metacall files of the folder itself and would load
/// them twice.
#[must_use]
pub fn jsons_to_send(deployment: &DeploymentConfig, jsons: Vec<MetaCallJson>) -> Vec<MetaCallJson> {
    let finds_its_own = deployment.worker_script.is_some();
    let in_folder = |json: &MetaCallJson| {
        ["metacall.json".to_owned(), format!("metacall-{}.json", json.language_id)]
            .iter()
            .any(|name| deployment.path.join(name).is_file())
    };
    jsons.into_iter().filter(|json| !(finds_its_own && in_folder(json))).collect()
}

/// The variables by which languages find a release's own packages, for those package folders that exist.
pub fn packages(deployment: &DeploymentConfig) -> impl Iterator<Item = (OsString, OsString)> {
    let folders = [("PYTHONPATH", python::PACKAGES), ("BUNDLE_PATH", GEMS)];
    folders
        .into_iter()
        .map(|(name, packages)| (name, deployment.path.join(packages)))
        .filter(|(name, folder)| folder.is_dir() && !deployment.env.contains_key(*name))
        .map(|(name, folder)| (name.into(), folder.into()))
}

fn find(deployment: &DeploymentConfig) -> Result<PathBuf, ProgramError> {
    program::find(deployment.interpreter.as_deref().unwrap_or(Path::new(PROGRAM)), "interpreter")
}
