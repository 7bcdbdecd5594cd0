//! The `metacall` runtime: the MetaCall core, which mixes languages in one process, with metagate's own worker script
//! or another that speaks the same protocol, such as the one MetaCall FaaS ships.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::config::DeploymentConfig;
use crate::deployment::MetaCallJson;
use crate::process::program::{self, ProgramError};
use crate::runtime::detection;
use crate::runtime::python;
use crate::runtime::scripts::WorkerScripts;

/// The name of MetaCall's program.
pub const PROGRAM: &str = "metacall";
/// The folder of a release's own gems, as Bundler installs them.
pub const GEMS: &str = ".packages/ruby";

/// Languages by the endings of their scripts, other than those that metagate runs itself.
const OTHERS: [(&str, &[&str]); 3] = [("rb", &["rb"]), ("cs", &["cs"]), ("cob", &["cob", "cbl"])];

/// Finds scripts of languages that only the MetaCall runtime runs, in a folder without metacall.json.
#[must_use]
pub fn detect(folder: &Path) -> Vec<MetaCallJson> {
    let is_script = |name: &str| !name.starts_with(['.', '_']);
    let found = |(language, endings): &(&str, &[&str])| detection::scripts_in(folder, language, endings, is_script);
    OTHERS.iter().filter_map(found).collect()
}

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
    Ok((program, vec![without_blanks(script, &deployment.path).into()]))
}

/// A path that MetaCall's start script passes on whole: it splits its arguments at blanks. A path with a blank becomes
/// one relative to the worker's folder, which has none if both are in the same data folder or project.
fn without_blanks(script: PathBuf, folder: &Path) -> PathBuf {
    let has_blank = |path: &Path| path.to_string_lossy().contains(char::is_whitespace);
    if !has_blank(&script) {
        return script;
    }
    let shared = script.components().zip(folder.components()).take_while(|(one, other)| one == other).count();
    let up = folder.components().skip(shared).map(|_| Path::new(".."));
    let relative: PathBuf = up.chain(script.iter().skip(shared).map(Path::new)).collect();
    if has_blank(&relative) { script } else { relative }
}

/// The scripts that Load names. MetaCall FaaS's own worker reads the metacall files of the folder itself, those of
/// folders below it too, and would load them twice.
#[must_use]
pub fn jsons_to_send(deployment: &DeploymentConfig, jsons: Vec<MetaCallJson>) -> Vec<MetaCallJson> {
    let finds_its_own = deployment.worker_script.is_some();
    jsons.into_iter().filter(|json| json.found || !finds_its_own).collect()
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
