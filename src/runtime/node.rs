//! The `node` runtime: JavaScript on plain Node, with metagate's own worker script.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::config::DeploymentConfig;
use crate::deployment::MetaCallJson;
use crate::files;
use crate::process::program::{self, ProgramError};
use crate::runtime::scripts::WorkerScripts;

/// MetaCall's names of the language.
pub const LANGUAGES: [&str; 2] = ["node", TYPESCRIPT];
/// MetaCall's name of TypeScript.
const TYPESCRIPT: &str = "ts";
/// The files that [`detect`] looks for, as messages name them.
pub const EXPECTED: &str = "an index.js, a main.js (or .ts, .mjs, .cjs …) or a package.json with \"main\"";
const ENTRIES: [&str; 12] = [
    "index.js",
    "main.js",
    "index.mjs",
    "main.mjs",
    "index.cjs",
    "main.cjs",
    "index.ts",
    "main.ts",
    "index.mts",
    "main.mts",
    "index.cts",
    "main.cts",
];

/// Conditions of `exports` that hold for a script that Node loads.
const CONDITIONS: [&str; 5] = ["node", "import", "module-sync", "require", "default"];

/// Finds the script of a folder without metacall.json: package.json's `main` or `exports`, else an index or main file.
#[must_use]
pub fn detect(folder: &Path) -> Option<MetaCallJson> {
    let entry = package_entry(folder)
        .or_else(|| ENTRIES.iter().find(|entry| folder.join(entry).is_file()).map(|entry| (*entry).to_owned()))?;
    let language = if is_typescript(&entry) { TYPESCRIPT } else { LANGUAGES[0] };
    Some(MetaCallJson { language_id: language.to_owned(), path: ".".to_owned(), scripts: vec![entry], found: true })
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

/// The file that package.json names as the package's own: `main`, else `exports`.
fn package_entry(folder: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Package {
        #[serde(default)]
        main: Value,
        #[serde(default)]
        exports: Value,
    }
    let text = files::read_small(&folder.join("package.json")).ok()?;
    let package: Package = serde_json::from_slice(&text).ok()?;
    let main = package.main.as_str().and_then(|main| file_of(folder, main));
    main.or_else(|| file_of(folder, exported(&package.exports, true)?))
}

/// The file of the package's own entry in `exports`: a path, or a choice by conditions. Format: Node's documentation,
/// "Conditional exports".
fn exported(exports: &Value, is_top: bool) -> Option<&str> {
    match exports {
        Value::String(path) => Some(path),
        Value::Array(choices) => choices.iter().find_map(|choice| exported(choice, false)),
        Value::Object(entries) if is_top && entries.keys().any(|key| key.starts_with('.')) => {
            exported(entries.get(".")?, false)
        }
        Value::Object(conditions) => conditions
            .iter()
            .filter(|(condition, _)| CONDITIONS.contains(&condition.as_str()))
            .find_map(|(_, choice)| exported(choice, false)),
        _ => None,
    }
}

/// The file that a path of package.json means, resolved as Node does: the path itself, the path with `.js`, or the
/// folder's index.js. `None` if it is outside the deployment's folder.
fn file_of(folder: &Path, path: &str) -> Option<String> {
    let main = Path::new(path);
    if !main.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return None;
    }
    let main: PathBuf = main.components().filter(|part| matches!(part, Component::Normal(_))).collect();
    [main.clone(), main.with_added_extension("js"), main.join("index.js")]
        .into_iter()
        .chain([main.with_added_extension("ts"), main.join("index.ts")])
        .find(|candidate| folder.join(candidate).is_file() && !is_declarations(candidate))
        .and_then(|path| path.to_str().map(str::to_owned))
}

fn is_typescript(file: &str) -> bool {
    program::has_extension(Path::new(file), &["ts", "mts", "cts"])
}

/// Whether it only declares types, such as `index.d.ts`.
fn is_declarations(file: &Path) -> bool {
    let stem = file.file_stem().map(Path::new);
    program::has_extension(file, &["ts", "mts", "cts"]) && stem.is_some_and(|stem| program::has_extension(stem, &["d"]))
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        assert_eq!(detected(&[("index.ts", ""), ("other.ts", "")]).as_deref(), Some("index.ts"));
        assert_eq!(detected(&[("index.js", ""), ("index.ts", "")]).as_deref(), Some("index.js"));
        let package = ("package.json", r#"{"main":"src/app","types":"index.d.ts"}"#);
        assert_eq!(detected(&[package, ("src/app.ts", "")]).as_deref(), Some("src/app.ts"));
        let package = ("package.json", r#"{"main":"index.d.ts"}"#);
        assert_eq!(detected(&[package, ("index.d.ts", ""), ("main.mts", "")]).as_deref(), Some("main.mts"));
        for exports in [
            r#""./dist/a.js""#,
            r#"{".":"./dist/a.js"}"#,
            r#"{"types":"./a.d.ts","import":"./dist/a.js"}"#,
            r#"{"./x":"./x.js",".":{"browser":"./b.js","node":{"require":"./dist/a.js"}}}"#,
            r#"[{"import":"./dist/a.js"}]"#,
        ] {
            let package = format!(r#"{{"exports":{exports}}}"#);
            let files = [("package.json", package.as_str()), ("dist/a.js", ""), ("index.js", "")];
            assert_eq!(detected(&files).as_deref(), Some("dist/a.js"), "{exports}");
        }
    }

    #[test]
    fn a_main_outside_the_folder_is_ignored() {
        assert_eq!(detected(&[("package.json", r#"{"main":"../../etc/passwd"}"#)]), None);
        assert_eq!(detected(&[("package.json", r#"{"main":"/etc/passwd"}"#)]), None);
    }
}
