//! The `python` runtime: Python on plain CPython, with metagate's own worker script.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use tracing::{info, warn};

use crate::config::{DeploymentConfig, RuntimeKind};
use crate::deployment::MetaCallJson;
use crate::process::program::{self, ProgramError};
use crate::runtime::detection;
use crate::runtime::scripts::WorkerScripts;

/// MetaCall's names of the language.
pub const LANGUAGES: [&str; 2] = ["py", "python"];
/// The files that [`detect`] looks for, as messages name them.
pub const EXPECTED: &str = "*.py files";
/// The folder of a release's own packages, as `pip install --target` fills it.
pub const PACKAGES: &str = ".packages/python";
/// The interpreter of a virtual environment, where tools make it by default.
const ENVIRONMENT: &str = ".venv/bin/python";
/// Files of tools, which have no functions.
const TOOL_FILES: [&str; 3] = ["setup.py", "conftest.py", "noxfile.py"];

/// Runs the worker script, which is the first argument, from its compiled form. Python compiles a script that it is
/// given as its program at each start, a third of the processor time of a worker's start; the loader keeps the
/// compiled form in `pycache_prefix`. All else is as for a program: the module is `__main__`, `argv` has its path, and
/// its folder comes first on the module path. The loader comes from a frozen module, because importing `importlib`
/// takes milliseconds itself.
const START: &str = "import sys; from _frozen_importlib_external import SourceFileLoader as Loader; \
    del sys.argv[0]; __file__ = sys.argv[0]; sys.path[0] = __file__.rpartition('/')[0]; \
    exec(Loader('__main__', __file__).get_code('__main__'))";

/// Finds the scripts of a folder without metacall.json: every `*.py` in it except tests and files of tools.
#[must_use]
pub fn detect(folder: &Path) -> Option<MetaCallJson> {
    detection::scripts_in(folder, "py", &["py"], is_function_file)
}

/// The script that `app` names, such as shop/wsgi.py of `shop.wsgi:application`, if its deployment may run on Python.
#[must_use]
pub fn named_app(deployment: &DeploymentConfig) -> Option<MetaCallJson> {
    if !matches!(deployment.runtime, None | Some(RuntimeKind::Python)) {
        return None;
    }
    let app = deployment.app.as_deref()?;
    let module = app.split_once(':').map_or(app, |(module, _)| module);
    let module = module.strip_suffix(".py").unwrap_or(module).replace('.', "/");
    let stays_inside = !module.is_empty() && module.split('/').all(|part| !part.is_empty());
    let files = [format!("{module}.py"), format!("{module}/__init__.py")];
    let found = files.into_iter().find(|file| stays_inside && deployment.path.join(file).is_file())?;
    Some(MetaCallJson {
        language_id: LANGUAGES[0].to_owned(),
        path: ".".to_owned(),
        scripts: vec![found],
        found: false,
    })
}

fn is_function_file(name: &str) -> bool {
    let hidden = name.starts_with(['.', '_']);
    let test = name.starts_with("test_") || name.ends_with("_test.py");
    !hidden && !test && !TOOL_FILES.contains(&name)
}

/// The program that runs Python, and its arguments.
pub fn program(
    deployment: &DeploymentConfig,
    scripts: &WorkerScripts,
) -> Result<(PathBuf, Vec<OsString>), ProgramError> {
    let program = match (&deployment.interpreter, own_interpreter(deployment)) {
        (None, Some(own)) => own,
        (name, _) => {
            let name = name.as_deref().unwrap_or(Path::new("python3"));
            behind_script(program::find(name, "interpreter")?)
        }
    };
    let mut cache = OsString::from("pycache_prefix=");
    cache.push(scripts.python_caches.join(deployment.name.as_str()));
    // Without the site module Python starts in half the time; the worker loads it when an import needs it.
    Ok((program, vec!["-S".into(), "-X".into(), cache, "-c".into(), START.into(), scripts.python.clone().into()]))
}

/// The interpreter of the virtual environment in a deployment's folder, if it has one and names no other.
fn own_interpreter(deployment: &DeploymentConfig) -> Option<PathBuf> {
    let path = deployment.path.join(ENVIRONMENT);
    if deployment.interpreter.is_some() || path.symlink_metadata().is_err() {
        return None;
    }
    let (name, interpreter) = (&deployment.name, path.display());
    // A script would run outside of the walls, to ask it for the program behind it.
    if program::is_binary(&path) {
        info!(deployment = %name, %interpreter, "using the virtual environment in the folder");
        return Some(path);
    }
    warn!(deployment = %name, %interpreter, "ignored the virtual environment in the folder: its Python cannot run");
    None
}

/// The Python behind a version manager's script; blocks.
#[must_use]
pub fn behind_script(program: PathBuf) -> PathBuf {
    program::behind_script(program, &["-c", "import sys; print(sys.executable)"])
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_python_file_except_tests_and_tools_is_a_script() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.py", "a.py", "test_a.py", "conftest.py", "__init__.py", "note.txt"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(detect(folder.path()).unwrap().scripts, ["a.py", "b.py"]);
    }
}
