//! The `wasm` runtime: functions that are exports of WebAssembly components and modules, in a worker that is this program
//! itself.

pub mod files;
pub mod settings;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::config::DeploymentConfig;
use crate::deployment::MetaCallJson;
use crate::runtime::detection;
use crate::runtime::error::RuntimeError;
use crate::runtime::scripts::WorkerScripts;
use crate::runtime::wasm::settings::Settings;

/// MetaCall's name of the language.
pub const LANGUAGES: [&str; 1] = ["wasm"];
/// The file that this process was started from, even if another has taken its place.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// What [`detect`] looks for, in words.
pub const EXPECTED: &str = "*.wasm or *.wat files";

/// The components and modules of a folder without metacall.json: every `*.wasm` and `*.wat` in it.
#[must_use]
pub fn detect(folder: &Path) -> Option<MetaCallJson> {
    detection::scripts_in(folder, "wasm", &["wasm", "wat"], |name| !name.starts_with('.'))
}

/// This program and its arguments, once the files and the granted folders are there.
pub fn program(
    deployment: &DeploymentConfig,
    jsons: &[MetaCallJson],
    scripts: &WorkerScripts,
) -> Result<(PathBuf, Vec<OsString>), RuntimeError> {
    for json in jsons {
        for script in &json.scripts {
            let file = files::path_of(json, script);
            files::check(&deployment.path.join(&file)).map_err(|why| RuntimeError::NotWebAssembly { file, why })?;
        }
    }
    for (seen, folder) in &deployment.wasm.grants.folders {
        let refused = |cause| RuntimeError::GrantedFolder { seen: seen.clone(), folder: folder.clone(), cause };
        fs::read_dir(folder).map_err(refused)?;
    }
    let settings = Settings::new(deployment, scripts.compiled.clone());
    let [worker, wasm] = settings::WORDS;
    Ok((OWN_PROGRAM.into(), vec![worker.into(), wasm.into(), settings.to_text().into()]))
}
