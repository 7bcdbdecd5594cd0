//! The `python` runtime: Python on plain CPython, with metagate's own worker script.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::config::DeploymentConfig;
use crate::deployment::MetaCallJson;
use crate::process::program::{self, ProgramError};
use crate::runtime::detection;
use crate::runtime::scripts::WorkerScripts;

/// MetaCall's names of the language.
pub const LANGUAGES: [&str; 2] = ["py", "python"];
/// What [`detect`] looks for, in words.
pub const EXPECTED: &str = "*.py files";
/// Where a release's own packages lie, as `pip install --target` leaves them.
pub const PACKAGES: &str = ".packages/python";
/// Files that belong to tools, not to the functions.
const TOOL_FILES: [&str; 3] = ["setup.py", "conftest.py", "noxfile.py"];

/// The scripts of a folder without metacall.json: every `*.py` in it, tests and tools' files left out.
#[must_use]
pub fn detect(folder: &Path) -> Option<MetaCallJson> {
    detection::scripts_in(folder, "py", &["py"], is_function_file)
}

fn is_function_file(name: &str) -> bool {
    let hidden = name.starts_with(['.', '_']);
    let test = name.starts_with("test_") || name.ends_with("_test.py");
    !hidden && !test && !TOOL_FILES.contains(&name)
}

/// Python's program and its arguments.
pub fn program(
    deployment: &DeploymentConfig,
    scripts: &WorkerScripts,
) -> Result<(PathBuf, Vec<OsString>), ProgramError> {
    let name = deployment.interpreter.as_deref().unwrap_or(Path::new("python3"));
    let question = ["-c", "import sys; print(sys.executable)"];
    let program = program::behind_script(program::find(name, "interpreter")?, &question);
    let mut cache = OsString::from("pycache_prefix=");
    cache.push(&scripts.python_cache);
    // Without the site module Python starts in half the time; the worker brings it in when an import needs it.
    Ok((program, vec!["-S".into(), "-X".into(), cache, scripts.python.clone().into()]))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_python_file_but_tests_and_tools_is_a_script() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.py", "a.py", "test_a.py", "conftest.py", "__init__.py", "note.txt"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(detect(folder.path()).unwrap().scripts, ["a.py", "b.py"]);
    }
}
