//! The worker scripts. They are part of the binary and are written to the data folder, because interpreters need files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const NODE: &str = include_str!("node.js");
const PYTHON: &str = include_str!("python.py");
const METACALL: &str = include_str!("metacall.js");
/// Modules of the worker scripts, which not every deployment needs: name and text.
const MODULES: [(&str, &str); 29] = [
    ("node_binding.js", include_str!("node_binding.js")),
    ("node_types.js", include_str!("node_types.js")),
    ("node_jsdoc.js", include_str!("node_jsdoc.js")),
    ("node_typescript.js", include_str!("node_typescript.js")),
    ("metagate.d.ts", include_str!("../../types/metagate.d.ts")),
    ("node_metagate.js", include_str!("node_metagate.js")),
    ("node_resolve.js", include_str!("node_resolve.js")),
    ("node_requests.js", include_str!("node_requests.js")),
    ("node_answers.js", include_str!("node_answers.js")),
    ("node_streams.js", include_str!("node_streams.js")),
    ("node_bodies.js", include_str!("node_bodies.js")),
    ("node_inlets.js", include_str!("node_inlets.js")),
    ("node_header_text.js", include_str!("node_header_text.js")),
    ("node_apps.js", include_str!("node_apps.js")),
    ("node_app_server.js", include_str!("node_app_server.js")),
    ("node_app_response.js", include_str!("node_app_response.js")),
    ("node_listening.js", include_str!("node_listening.js")),
    ("node_lambda.js", include_str!("node_lambda.js")),
    ("python_apps.py", include_str!("python_apps.py")),
    ("python_asgi.py", include_str!("python_asgi.py")),
    ("python_binding.py", include_str!("python_binding.py")),
    ("python_bodies.py", include_str!("python_bodies.py")),
    ("python_http.py", include_str!("python_http.py")),
    ("python_lambda.py", include_str!("python_lambda.py")),
    ("python_main_thread.py", include_str!("python_main_thread.py")),
    ("python_metagate.py", include_str!("python_metagate.py")),
    ("python_models.py", include_str!("python_models.py")),
    ("python_streams.py", include_str!("python_streams.py")),
    ("python_wsgi.py", include_str!("python_wsgi.py")),
];

/// The paths of the worker scripts and of caches that workers keep.
#[derive(Debug, Clone)]
pub struct WorkerScripts {
    /// The script of the `node` runtime.
    pub node: PathBuf,
    /// The script of the `python` runtime.
    pub python: PathBuf,
    /// The script of the `metacall` runtime.
    pub metacall: PathBuf,
    /// The modules that these load when they need them, in the same folder.
    pub modules: Vec<PathBuf>,
    /// Python's caches of compiled files, one folder a deployment: what a worker leaves in its own, another must not
    /// run. They are here because a deployment's folder must not change.
    pub python_caches: PathBuf,
    /// The `wasm` runtime's caches of compiled code, likewise.
    pub wasm_caches: PathBuf,
    /// Folders of temporary files, likewise.
    pub temp: PathBuf,
    /// Folders of temporary files and caches of installers, likewise. They are not those of the workers, which could
    /// change what is installed next.
    pub install_caches: PathBuf,
}

impl WorkerScripts {
    /// Writes the scripts of this version below `data_dir`. A script appears whole or not at all.
    pub fn write(data_dir: &Path) -> io::Result<Self> {
        let folder = data_dir.join("workers").join(env!("CARGO_PKG_VERSION"));
        fs::create_dir_all(&folder)?;
        Ok(Self {
            node: write(&folder, "node.js", NODE)?,
            python: write(&folder, "python.py", PYTHON)?,
            metacall: write(&folder, "metacall.js", METACALL)?,
            modules: MODULES.iter().map(|(name, text)| write(&folder, name, text)).collect::<io::Result<_>>()?,
            ..Self::in_place(data_dir)
        })
    }

    /// The paths of the scripts without writing them, for commands that only look at a configuration.
    #[must_use]
    pub fn in_place(data_dir: &Path) -> Self {
        let folder = data_dir.join("workers").join(env!("CARGO_PKG_VERSION"));
        Self {
            node: folder.join("node.js"),
            python: folder.join("python.py"),
            metacall: folder.join("metacall.js"),
            modules: MODULES.iter().map(|(name, _)| folder.join(name)).collect(),
            python_caches: folder.join("pycache"),
            wasm_caches: data_dir.join("compiled-functions"),
            temp: data_dir.join("temp"),
            install_caches: data_dir.join("install-caches"),
        }
    }

    /// The folders that have a folder of each deployment's own: caches and temporary files.
    #[must_use]
    pub fn folders_of_deployments(&self) -> [&Path; 4] {
        [&self.python_caches, &self.wasm_caches, &self.temp, &self.install_caches]
    }
}

fn write(folder: &Path, name: &str, text: &str) -> io::Result<PathBuf> {
    let path = folder.join(name);
    if fs::read(&path).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(path);
    }
    // Renamed into place: workers of a gateway that still runs may be reading the file.
    let new = folder.join(format!(".{name}.{}", std::process::id()));
    fs::write(&new, text)?;
    fs::rename(&new, &path)?;
    Ok(path)
}
