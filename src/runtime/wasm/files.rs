//! The files of a `wasm` deployment: their paths, and whether a file begins as WebAssembly does. Read by the gateway
//! before it starts a worker, and by the worker when it loads the files.

use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use crate::deployment::MetaCallJson;
use crate::process::program;
use crate::wasm::componentize::Beginning;

/// The first bytes of binary WebAssembly.
const WEBASSEMBLY: &[u8] = b"\0asm";
/// The first bytes of compiled code. The worker refuses it with an explanation of its own.
const COMPILED: &[u8] = b"\x7fELF";
/// Bytes that [`check`] reads: text may begin with blank lines.
const CHECKED_BYTES: u64 = 64;

/// The path of a script of `json`, relative to the deployment's folder.
#[must_use]
pub fn path_of(json: &MetaCallJson, script: &str) -> PathBuf {
    Path::new(&json.path).join(script).components().filter(|part| *part != Component::CurDir).collect()
}

/// Whether a file whose first bytes are `start` is WebAssembly's text format.
#[must_use]
pub fn is_text(path: &Path, start: &[u8]) -> bool {
    program::has_extension(path, &["wat"]) || start.trim_ascii_start().starts_with(b"(")
}

/// Checks the first bytes of a file. Only the worker, which compiles the file, can say whether all of it loads.
///
/// # Errors
///
/// The reason, in words, if the file cannot be read or is not WebAssembly.
pub fn check(path: &Path) -> Result<(), String> {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(CHECKED_BYTES).read_to_end(&mut start));
    read.map_err(|error| error.to_string())?;
    if is_text(path, &start) || start.starts_with(WEBASSEMBLY) || start.starts_with(COMPILED) {
        return Ok(());
    }
    Err(format!("this is not WebAssembly: {}", Beginning::of(&start)))
}
