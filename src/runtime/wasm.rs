//! The `wasm` runtime: finds the components and modules of a deployment and plans how to start their worker, which is
//! this program itself. The worker's own program is in `wasm_worker`.

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
/// This program's own file. The link stays valid when an upgrade replaces the file under the same path.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// The files that [`detect`] looks for, as messages name them.
pub const EXPECTED: &str = "*.wasm or *.wat files";

/// Finds the components and modules of a folder without metacall.json: every `*.wasm` and `*.wat` in it.
#[must_use]
pub fn detect(folder: &Path) -> Option<MetaCallJson> {
    detection::scripts_in(folder, "wasm", &["wasm", "wat"], |name| !name.starts_with('.'))
}

/// The program of a wasm worker, which is this one, and its arguments. Checks that the files and the granted folders
/// can be read, so that a mistake is reported without starting a worker.
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
    let settings = Settings::new(deployment, scripts.wasm_caches.join(deployment.name.as_str()));
    let [worker, wasm] = settings::WORDS;
    Ok((OWN_PROGRAM.into(), vec![worker.into(), wasm.into(), settings.to_text().into()]))
}
