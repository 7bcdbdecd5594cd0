//! The `wasm` runtime: functions that are exports of WebAssembly components and modules, in a worker that is this program
//! itself.

mod channel;
mod component;
mod crew;
mod failure;
mod functions;
mod host;
mod message;
mod module;
mod names;
mod priority;
mod requests;
mod settings;
mod shelf;
pub mod value;
mod waiting;
pub mod worker;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use crate::config::DeploymentConfig;
use crate::deployment::MetaCallJson;
use crate::process::program;
use crate::runtime::RuntimeError;
use crate::runtime::scripts::WorkerScripts;
use crate::runtime::wasm::settings::Settings;

/// MetaCall's name of the language.
pub const LANGUAGES: [&str; 1] = ["wasm"];
/// The file that this process was started from, even if another has taken its place.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// How WebAssembly begins, and how compiled code does, which the worker refuses in its own words.
const MAGIC: &[u8] = b"\0asm";
const COMPILED: &[u8] = b"\x7fELF";
const START: u64 = 64;
/// What [`detect`] looks for, in words.
pub const EXPECTED: &str = "*.wasm or *.wat files";

/// The components and modules of a folder without metacall.json: every `*.wasm` and `*.wat` in it.
#[must_use]
pub fn detect(folder: &Path) -> Option<MetaCallJson> {
    let mut scripts: Vec<String> = fs::read_dir(folder)
        .ok()?
        .flatten()
        .filter(|entry| entry.path().is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| program::has_extension(Path::new(name), &["wasm", "wat"]) && !name.starts_with('.'))
        .collect();
    scripts.sort();
    if scripts.is_empty() {
        return None;
    }
    Some(MetaCallJson { language_id: "wasm".to_owned(), path: ".".to_owned(), scripts })
}

/// This program and its arguments, once the files and the granted folders are there.
pub fn program(
    deployment: &DeploymentConfig,
    jsons: &[MetaCallJson],
    scripts: &WorkerScripts,
) -> Result<(PathBuf, Vec<OsString>), RuntimeError> {
    for json in jsons {
        for script in &json.scripts {
            let file = file_of(json, script);
            check(&deployment.path.join(&file)).map_err(|why| RuntimeError::NotWebAssembly { file, why })?;
        }
    }
    for (seen, folder) in &deployment.wasm.grants.folders {
        let refused = |cause| RuntimeError::GrantedFolder { seen: seen.clone(), folder: folder.clone(), cause };
        fs::read_dir(folder).map_err(refused)?;
    }
    let settings = Settings::new(deployment, scripts.compiled.clone());
    let [worker, wasm] = worker::WORDS;
    Ok((OWN_PROGRAM.into(), vec![worker.into(), wasm.into(), settings.to_text().into()]))
}

/// A file of a deployment, from its folder.
fn file_of(json: &MetaCallJson, script: &str) -> PathBuf {
    Path::new(&json.path).join(script).components().filter(|part| *part != Component::CurDir).collect()
}

/// Whether a file that begins so is WebAssembly's text form.
fn is_text(path: &Path, start: &[u8]) -> bool {
    program::has_extension(path, &["wat"]) || start.trim_ascii_start().starts_with(b"(")
}

/// A look at how a file begins; whether all of it can be loaded is for the worker to say.
fn check(path: &Path) -> Result<(), String> {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(START).read_to_end(&mut start));
    read.map_err(|error| error.to_string())?;
    if is_text(path, &start) || start.starts_with(MAGIC) || start.starts_with(COMPILED) {
        return Ok(());
    }
    Err(format!("this is no WebAssembly: it begins with {:02x?}", &start[..start.len().min(8)]))
}
