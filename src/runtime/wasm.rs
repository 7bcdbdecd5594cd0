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
mod requests;
mod settings;
mod shelf;
pub mod value;
pub mod worker;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::config::DeploymentConfig;
use crate::deployment::MetaCallJson;
use crate::runtime::program;
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

/// This program and its arguments.
#[must_use]
pub fn program(deployment: &DeploymentConfig, scripts: &WorkerScripts) -> (PathBuf, Vec<OsString>) {
    let settings = Settings::new(deployment, scripts.compiled.clone());
    let [worker, wasm] = worker::WORDS;
    (OWN_PROGRAM.into(), vec![worker.into(), wasm.into(), settings.to_text().into()])
}
