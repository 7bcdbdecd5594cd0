//! The worker scripts that are part of the binary, written to the data folder so that nothing need be installed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const NODE: &str = include_str!("node.js");
const PYTHON: &str = include_str!("python.py");
const METACALL: &str = include_str!("metacall.js");

/// Where the worker scripts lie.
#[derive(Debug, Clone)]
pub struct WorkerScripts {
    /// For the `node` runtime.
    pub node: PathBuf,
    /// For the `python` runtime.
    pub python: PathBuf,
    /// Where Python keeps what it has compiled, so that a deployment's folder stays as it is.
    pub python_cache: PathBuf,
    /// For the `metacall` runtime.
    pub metacall: PathBuf,
    /// Where the `wasm` runtime keeps what it has compiled.
    pub compiled: PathBuf,
}

impl WorkerScripts {
    /// Writes the scripts of this version below `data_dir`, each whole or not at all.
    pub fn write(data_dir: &Path) -> io::Result<Self> {
        let folder = data_dir.join("workers").join(env!("CARGO_PKG_VERSION"));
        fs::create_dir_all(&folder)?;
        Ok(Self {
            node: write(&folder, "node.js", NODE)?,
            python: write(&folder, "python.py", PYTHON)?,
            python_cache: folder.join("pycache"),
            metacall: write(&folder, "metacall.js", METACALL)?,
            compiled: data_dir.join("compiled"),
        })
    }

    /// Where the scripts would lie, without writing them: for looking at a configuration only.
    #[must_use]
    pub fn in_place(data_dir: &Path) -> Self {
        let folder = data_dir.join("workers").join(env!("CARGO_PKG_VERSION"));
        Self {
            node: folder.join("node.js"),
            python: folder.join("python.py"),
            python_cache: folder.join("pycache"),
            metacall: folder.join("metacall.js"),
            compiled: data_dir.join("compiled"),
        }
    }
}

fn write(folder: &Path, name: &str, text: &str) -> io::Result<PathBuf> {
    let path = folder.join(name);
    if fs::read(&path).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(path);
    }
    let new = folder.join(format!(".{name}.{}", std::process::id()));
    fs::write(&new, text)?;
    fs::rename(&new, &path)?;
    Ok(path)
}
