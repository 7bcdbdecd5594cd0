//! package.json as it says where a Node project begins: its entry, and why there is none.

use std::fs;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;
use wildmatch::WildMatch;

use crate::files;
use crate::process::program;

/// The endings of JavaScript.
pub const ENDINGS: [&str; 3] = ["js", "mjs", "cjs"];
/// The endings of TypeScript.
pub const TYPESCRIPT: [&str; 3] = ["ts", "mts", "cts"];
/// Conditions of `exports` that hold for a script that Node loads.
const CONDITIONS: [&str; 5] = ["node", "import", "module-sync", "require", "default"];
/// Levels of folders below a workspace's root in which its packages are looked for, and packages that are listed.
const DEPTH: usize = 4;
const PACKAGES: usize = 50;
/// Packages that a message names.
const NAMED: usize = 5;

/// Why a folder with a package.json has no script to start with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoEntry {
    /// The file that package.json names does not exist.
    #[error(
        "package.json names {path:?} as {key:?}, and there is no such file: {build}; a deploy leaves out what \
         .gitignore lists, unless .metagateignore has the line \"!{top}\""
    )]
    Absent {
        /// `main` or `exports`.
        key: &'static str,
        /// The path as written.
        path: String,
        /// How it may be made.
        build: &'static str,
        /// The first part of the path.
        top: String,
    },
    /// The file is not in the folder of the project.
    #[error("package.json names {path:?} as {key:?}, which is outside of the folder")]
    Outside {
        /// `main` or `exports`.
        key: &'static str,
        /// The path as written.
        path: String,
    },
    /// The folder is the root of a workspace.
    #[error(
        "package.json is that of a workspace and names no script: deploy one of its packages ({}), or name a script of \
         one of them as \"main\", such as \"packages/api/index.js\"",
        listed(packages)
    )]
    Workspace {
        /// The folders of its packages, relative to the root.
        packages: Vec<String>,
    },
}

/// The file that package.json names as the project's entry (`main`, else `exports`), relative to the folder; `None` if
/// it names none or cannot be read.
///
/// # Errors
///
/// It names a file that does not exist or is outside of the folder.
pub fn entry(folder: &Path) -> Option<Result<String, NoEntry>> {
    let package = read(folder)?;
    let main = package["main"].as_str().map(|path| ("main", path));
    let exports = exported(&package["exports"], true).map(|path| ("exports", path));
    let named = [main, exports].into_iter().flatten();
    let mut failed = None;
    for (key, path) in named {
        match file_of(folder, key, path, &package) {
            Ok(file) => return Some(Ok(file)),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map(Err)
}

/// The packages of the workspace whose root the folder is; `None` if it is not one.
#[must_use]
pub fn workspace(folder: &Path) -> Option<Vec<String>> {
    let patterns = workspace_patterns(folder)?;
    let mut packages = Vec::new();
    look_for_packages(folder, folder, &patterns, 0, &mut packages);
    packages.sort();
    Some(packages)
}

/// The package.json of a folder; `None` if it cannot be read.
#[must_use]
pub fn read(folder: &Path) -> Option<Value> {
    serde_json::from_slice(&files::read_small(&folder.join("package.json")).ok()?).ok()
}

/// The patterns of the folders of a workspace's packages: `workspaces` of package.json, which is an array or an object
/// with one under `packages`, or `packages` of pnpm-workspace.yaml.
fn workspace_patterns(folder: &Path) -> Option<Vec<WildMatch>> {
    let package = read(folder)?;
    let workspaces = &package["workspaces"];
    let npm = workspaces.as_array().or_else(|| workspaces["packages"].as_array());
    let patterns: Vec<String> = match npm {
        Some(patterns) => patterns.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        None => pnpm_patterns(&files::read_small(&folder.join("pnpm-workspace.yaml")).ok()?),
    };
    let trimmed = |pattern: &String| WildMatch::new(pattern.trim_start_matches("./").trim_end_matches('/'));
    (!patterns.is_empty()).then(|| patterns.iter().filter(|pattern| !pattern.starts_with('!')).map(trimmed).collect())
}

/// The items of the list `packages:`, which pnpm writes one on a line.
fn pnpm_patterns(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let items = text.lines().skip_while(|line| line.trim_end() != "packages:").skip(1).map(str::trim);
    let listed = items.take_while(|line| line.starts_with('-') || line.is_empty() || line.starts_with('#'));
    listed
        .filter_map(|line| line.strip_prefix('-'))
        .map(|item| item.trim().trim_matches(['"', '\'']).to_owned())
        .collect()
}

fn look_for_packages(root: &Path, folder: &Path, patterns: &[WildMatch], depth: usize, found: &mut Vec<String>) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        let (path, name) = (entry.path(), entry.file_name());
        if name == "node_modules" || name.as_encoded_bytes().starts_with(b".") || found.len() >= PACKAGES {
            continue;
        }
        let inside = path.strip_prefix(root).ok().and_then(Path::to_str).unwrap_or_default();
        if path.join("package.json").is_file() && patterns.iter().any(|pattern| pattern.matches(inside)) {
            found.push(inside.to_owned());
        }
        if depth < DEPTH {
            look_for_packages(root, &path, patterns, depth + 1, found);
        }
    }
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
/// folder's index.js; the same with `.ts`.
fn file_of(folder: &Path, key: &'static str, path: &str, package: &Value) -> Result<String, NoEntry> {
    let written = Path::new(path);
    if !written.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(NoEntry::Outside { key, path: path.to_owned() });
    }
    let main: PathBuf = written.components().filter(|part| matches!(part, Component::Normal(_))).collect();
    let candidates = [
        main.clone(),
        main.with_added_extension("js"),
        main.join("index.js"),
        main.with_added_extension("ts"),
        main.join("index.ts"),
    ];
    let is_script = |file: &&PathBuf| folder.join(file).is_file() && !is_declarations(file);
    let file = candidates.iter().find(is_script).and_then(|file| file.to_str());
    file.map(str::to_owned).ok_or_else(|| NoEntry::Absent {
        key,
        path: path.to_owned(),
        build: if package["scripts"]["build"].is_string() {
            "build the project first (npm run build), or let its script \"prepare\" build it"
        } else {
            "build the project first, or correct package.json"
        },
        top: main.iter().next().map(|top| top.to_string_lossy().into_owned()).unwrap_or_default(),
    })
}

/// Whether it only declares types, such as `index.d.ts`.
fn is_declarations(file: &Path) -> bool {
    let stem = file.file_stem().map(Path::new);
    program::has_extension(file, &TYPESCRIPT) && stem.is_some_and(|stem| program::has_extension(stem, &["d"]))
}

fn listed(packages: &[String]) -> String {
    let more = if packages.len() > NAMED { ", …" } else { "" };
    format!("{}{more}", packages.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::folder_with as folder;

    fn entry_with(package: &str, files: &[&str]) -> Option<Result<String, String>> {
        let mut all = vec![("package.json", package)];
        all.extend(files.iter().map(|file| (*file, "")));
        entry(folder(&all).path()).map(|found| found.map_err(|error| error.to_string()))
    }

    #[test]
    fn the_entry_is_main_else_exports() {
        let good = |file: &str| Some(Ok(file.to_owned()));
        assert_eq!(entry_with(r#"{"main":"./lib/app"}"#, &["lib/app.js"]), good("lib/app.js"));
        assert_eq!(entry_with(r#"{"main":"lib"}"#, &["lib/index.js"]), good("lib/index.js"));
        assert_eq!(entry_with(r#"{"main":"gone.js","exports":"./a.js"}"#, &["a.js"]), good("a.js"));
        assert_eq!(entry_with(r#"{"name":"x"}"#, &["index.js"]), None);
        for exports in [
            r#""./dist/a.js""#,
            r#"{".":"./dist/a.js"}"#,
            r#"{"types":"./a.d.ts","import":"./dist/a.js"}"#,
            r#"{"./x":"./x.js",".":{"browser":"./b.js","node":{"require":"./dist/a.js"}}}"#,
            r#"[{"import":"./dist/a.js"}]"#,
        ] {
            assert_eq!(
                entry_with(&format!(r#"{{"exports":{exports}}}"#), &["dist/a.js"]),
                good("dist/a.js"),
                "{exports}"
            );
        }
    }

    #[test]
    fn why_there_is_no_entry_is_said() {
        let fault = |package: &str| entry_with(package, &[]).unwrap().unwrap_err();
        let absent = fault(r#"{"main":"dist/index.js","scripts":{"build":"tsc"}}"#);
        for words in ["\"dist/index.js\" as \"main\"", "npm run build", ".gitignore", "\"!dist\""] {
            assert!(absent.contains(words), "{words}: {absent}");
        }
        assert!(fault(r#"{"exports":{".":{"require":"./out/a.cjs"}}}"#).contains("\"./out/a.cjs\" as \"exports\""));
        assert!(fault(r#"{"main":"../../etc/passwd"}"#).contains("outside"));
        assert!(fault(r#"{"main":"/etc/passwd"}"#).contains("outside"));
    }

    #[test]
    fn the_packages_of_a_workspace_are_found() {
        let packages =
            [("packages/b/package.json", "{}"), ("packages/a/package.json", "{}"), ("other/package.json", "{}")];
        let npm = [("package.json", r#"{"workspaces":["./packages/*"]}"#)];
        let pnpm =
            [("package.json", "{}"), ("pnpm-workspace.yaml", "packages:\n  - 'packages/*'\n  - \"!x\"\nonly: 1\n")];
        for root in [&npm[..], &pnpm[..]] {
            let folder = folder(&[root, &packages[..]].concat());
            assert_eq!(workspace(folder.path()).unwrap(), ["packages/a", "packages/b"]);
        }
        assert_eq!(workspace(folder(&[("package.json", "{}")]).path()), None);
        let message = NoEntry::Workspace { packages: vec!["packages/a".into(), "packages/b".into()] }.to_string();
        assert!(message.contains("packages/a, packages/b"), "{message}");
    }
}
