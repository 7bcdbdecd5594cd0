//! The `node` runtime: JavaScript on plain Node, with metagate's own worker script.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::config::{DeploymentConfig, RuntimeKind};
use crate::deployment::MetaCallJson;
use crate::process::program::{self, ProgramError};
use crate::runtime::package::{self, NoEntry};
use crate::runtime::scripts::WorkerScripts;

/// MetaCall's names of the language.
pub const LANGUAGES: [&str; 2] = ["node", TYPESCRIPT];
/// MetaCall's name of TypeScript.
const TYPESCRIPT: &str = "ts";
/// The files that [`detect`] looks for, as messages name them.
pub const EXPECTED: &str = "an index.js, a main.js (or .ts, .mjs, .cjs …) or a package.json with \"main\"";
/// The names of scripts that a project starts with.
const STEMS: [&str; 2] = ["index", "main"];

/// Finds the script of a folder without metacall.json: package.json's `main` or `exports`, else an index or main file.
///
/// # Errors
///
/// There is none, although package.json says where it should be, or is that of a workspace.
pub fn detect(folder: &Path) -> Result<Option<MetaCallJson>, NoEntry> {
    let named = package::entry(folder);
    if let Some(Ok(entry)) = named {
        return Ok(Some(script(entry)));
    }
    let endings = package::ENDINGS.iter().chain(&package::TYPESCRIPT);
    let names = endings.flat_map(|ending| STEMS.map(|stem| format!("{stem}.{ending}")));
    if let Some(entry) = names.into_iter().find(|name| folder.join(name).is_file()) {
        return Ok(Some(script(entry)));
    }
    match (named, package::workspace(folder)) {
        (Some(Err(error)), _) => Err(error),
        (_, Some(packages)) => Err(NoEntry::Workspace { packages }),
        (_, None) => Ok(None),
    }
}

fn script(entry: String) -> MetaCallJson {
    let is_typescript = program::has_extension(Path::new(&entry), &package::TYPESCRIPT);
    let language = if is_typescript { TYPESCRIPT } else { LANGUAGES[0] };
    MetaCallJson { language_id: language.to_owned(), path: ".".to_owned(), scripts: vec![entry], found: true }
}

/// The script that `app` names, if it is one of Node and its deployment may run on Node.
#[must_use]
pub fn named_app(deployment: &DeploymentConfig) -> Option<MetaCallJson> {
    if !matches!(deployment.runtime, None | Some(RuntimeKind::Node)) {
        return None;
    }
    let app = deployment.app.as_deref()?;
    let module = app.rsplit_once(':').map_or(app, |(module, _)| module);
    let endings = package::ENDINGS.iter().chain(&package::TYPESCRIPT);
    let names = endings.clone().map(|ending| format!("{module}.{ending}"));
    let whole = endings.clone().any(|ending| program::has_extension(Path::new(module), &[ending]));
    let named = whole.then(|| module.to_owned()).into_iter().chain(names);
    let found = named.into_iter().find(|name| !module.is_empty() && deployment.path.join(name).is_file())?;
    Some(MetaCallJson { found: false, ..script(found) })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::folder_with;

    fn detected(files: &[(&str, &str)]) -> Option<String> {
        detect(folder_with(files).path()).ok().flatten().map(|json| json.scripts.concat())
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
