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
/// The files that [`detect`] looks for, as messages name them.
pub const EXPECTED: &str = "*.py files";
/// The folder of a release's own packages, as `pip install --target` fills it.
pub const PACKAGES: &str = ".packages/python";
/// Files of tools, which have no functions.
const TOOL_FILES: [&str; 3] = ["setup.py", "conftest.py", "noxfile.py"];

/// Finds the scripts of a folder without metacall.json: every `*.py` in it except tests and files of tools.
#[must_use]
pub fn detect(folder: &Path) -> Option<MetaCallJson> {
    detection::scripts_in(folder, "py", &["py"], is_function_file)
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
    let name = deployment.interpreter.as_deref().unwrap_or(Path::new("python3"));
    let question = ["-c", "import sys; print(sys.executable)"];
    let program = program::behind_script(program::find(name, "interpreter")?, &question);
    let mut cache = OsString::from("pycache_prefix=");
    cache.push(&scripts.python_cache);
    // Without the site module Python starts in half the time. The worker loads it when an import needs it.
    Ok((program, vec!["-S".into(), "-X".into(), cache, scripts.python.clone().into()]))
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
