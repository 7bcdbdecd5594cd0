//! The `node` runtime: JavaScript on plain Node, with metagate's own worker script.

use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::config::DeploymentConfig;
use crate::deployment::MetaCallJson;
use crate::process::program::{self, ProgramError};
use crate::runtime::scripts::WorkerScripts;

/// MetaCall's names of the language.
pub const LANGUAGES: [&str; 1] = ["node"];
/// The files that [`detect`] looks for, as messages name them.
pub const EXPECTED: &str = "an index.js, a main.js or a package.json with \"main\"";
const ENTRIES: [&str; 6] = ["index.js", "main.js", "index.mjs", "main.mjs", "index.cjs", "main.cjs"];

/// Finds the script of a folder without metacall.json: package.json's `main`, else an index or main file.
#[must_use]
pub fn detect(folder: &Path) -> Option<MetaCallJson> {
    let entry = package_main(folder)
        .or_else(|| ENTRIES.iter().find(|entry| folder.join(entry).is_file()).map(|entry| (*entry).to_owned()))?;
    Some(MetaCallJson { language_id: "node".to_owned(), path: ".".to_owned(), scripts: vec![entry] })
}

/// The program that runs Node, and its arguments.
pub fn program(
    deployment: &DeploymentConfig,
    scripts: &WorkerScripts,
) -> Result<(PathBuf, Vec<OsString>), ProgramError> {
    let name = deployment.interpreter.as_deref().unwrap_or(Path::new("node"));
    let program = program::behind_script(program::find(name, "interpreter")?, &["-p", "process.execPath"]);
    Ok((program, vec![scripts.node.clone().into()]))
}

/// The file that `main` of package.json means, resolved as Node does: the path itself, the path with `.js`, or the
/// folder's index.js. `None` if it is outside the deployment's folder.
fn package_main(folder: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Package {
        main: String,
    }
    let text = fs::read(folder.join("package.json")).ok()?;
    let package: Package = serde_json::from_slice(&text).ok()?;
    let main = Path::new(&package.main);
    if !main.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return None;
    }
    let main: PathBuf = main.components().filter(|part| matches!(part, Component::Normal(_))).collect();
    [main.clone(), main.with_added_extension("js"), main.join("index.js")]
        .into_iter()
        .find(|candidate| folder.join(candidate).is_file())
        .and_then(|path| path.to_str().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detected(files: &[(&str, &str)]) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        detect(folder.path()).map(|json| json.scripts.concat())
    }

    #[test]
    fn the_entry_is_the_packages_main_else_an_index_or_main_file() {
        assert_eq!(detected(&[("index.js", "")]).as_deref(), Some("index.js"));
        assert_eq!(detected(&[("main.js", ""), ("other.js", "")]).as_deref(), Some("main.js"));
        let package = ("package.json", r#"{"main":"./lib/app"}"#);
        assert_eq!(detected(&[package, ("lib/app.js", ""), ("index.js", "")]).as_deref(), Some("lib/app.js"));
        assert_eq!(detected(&[("package.json", r#"{"name":"x"}"#), ("index.js", "")]).as_deref(), Some("index.js"));
        assert_eq!(detected(&[("other.js", "")]), None);
    }

    #[test]
    fn a_main_outside_the_folder_is_ignored() {
        assert_eq!(detected(&[("package.json", r#"{"main":"../../etc/passwd"}"#)]), None);
        assert_eq!(detected(&[("package.json", r#"{"main":"/etc/passwd"}"#)]), None);
    }
}
