//! npm, for each package.json that lists something to install.

use std::path::{Path, PathBuf};

use serde_json::Value;
use wildmatch::WildMatch;

use crate::files;
use crate::source::dependencies::runner::Runner;
use crate::source::dependencies::search::Found;
use crate::source::dependencies::step::{Step, place};

const LOCKS: [&str; 2] = ["package-lock.json", "npm-shrinkwrap.json"];
const DEPENDENCIES: [&str; 5] =
    ["dependencies", "devDependencies", "optionalDependencies", "peerDependencies", "workspaces"];
/// Scripts that `npm install` runs in the package itself.
const SCRIPTS: [&str; 6] = ["preinstall", "install", "postinstall", "prepublish", "preprepare", "prepare"];
/// `npm install` builds a package with this file even without a script.
const BUILD_FILE: &str = "binding.gyp";
const FLAGS: [&str; 4] = ["--no-audit", "--no-fund", "--no-progress", "--no-update-notifier"];

/// One step for each package. A workspace is installed with the package that declares it.
pub(super) fn steps(release: &Path, found: &Found) -> Vec<Step> {
    let mut workspaces: Vec<(&Path, Vec<WildMatch>)> = Vec::new();
    let mut steps = Vec::new();
    for folder in &found.packages {
        let package = read(folder);
        if let Some(package) = &package {
            workspaces.push((folder, workspace_patterns(package)));
        }
        let lock = LOCKS.iter().any(|lock| folder.join(lock).is_file());
        // npm reports a file that is not JSON better than the gateway could.
        let needed = package.is_none_or(|package| names_something(folder, &package));
        if (lock || needed) && !is_workspace(folder, &workspaces) {
            steps.push(step(release, folder.clone(), lock));
        }
    }
    steps
}

fn step(release: &Path, folder: PathBuf, lock: bool) -> Step {
    let (command, word) = if lock { ("npm ci", "ci") } else { ("npm install", "install") };
    Step {
        runner: Runner::Nodejs,
        command,
        program: "npm",
        args: [word].iter().chain(&FLAGS).map(Into::into).collect(),
        env: Vec::new(),
        place: place(release, &folder),
        needed_for: place(release, &folder.join("package.json")),
        folder,
        missing_words: None,
    }
}

fn read(folder: &Path) -> Option<Value> {
    serde_json::from_slice(&files::read_small(&folder.join("package.json")).ok()?).ok()
}

fn names_something(folder: &Path, package: &Value) -> bool {
    let names = |key: &str| match &package[key] {
        Value::Object(entries) => !entries.is_empty(),
        Value::Array(entries) => !entries.is_empty(),
        _ => false,
    };
    DEPENDENCIES.iter().any(|key| names(key))
        || SCRIPTS.iter().any(|script| package["scripts"][script].is_string())
        || folder.join(BUILD_FILE).is_file()
}

/// `workspaces` of a package.json: an array of patterns, or an object with one under `packages`.
fn workspace_patterns(package: &Value) -> Vec<WildMatch> {
    let workspaces = &package["workspaces"];
    let patterns = workspaces.as_array().or_else(|| workspaces["packages"].as_array());
    let trimmed = |pattern: &str| WildMatch::new(pattern.trim_start_matches("./").trim_end_matches('/'));
    patterns.into_iter().flatten().filter_map(Value::as_str).map(trimmed).collect()
}

fn is_workspace(folder: &Path, workspaces: &[(&Path, Vec<WildMatch>)]) -> bool {
    workspaces.iter().any(|(root, patterns)| {
        let inside = folder.strip_prefix(root).ok().and_then(Path::to_str).filter(|inside| !inside.is_empty());
        inside.is_some_and(|inside| patterns.iter().any(|pattern| pattern.matches(inside)))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn commands(files: &[(&str, &str)]) -> Vec<String> {
        let release = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = release.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let found = Found::look(release.path()).unwrap();
        steps(release.path(), &found).iter().map(|step| format!("{} {}", step.command, step.place)).collect()
    }

    #[test]
    fn a_package_that_names_something_is_installed() {
        for text in [
            r#"{"dependencies":{"x":"1"}}"#,
            r#"{"devDependencies":{"x":"1"}}"#,
            r#"{"peerDependencies":{"x":"1"}}"#,
            r#"{"scripts":{"postinstall":"x"}}"#,
            r#"{"workspaces":["a"]}"#,
            r#"{"workspaces":{"packages":["a"]}}"#,
            "no JSON",
        ] {
            assert_eq!(commands(&[("package.json", text)]), ["npm install ."], "{text}");
        }
        for text in [r#"{"name":"x","main":"x.js"}"#, r#"{"dependencies":{}}"#, r#"{"scripts":{"test":"x"}}"#, "[]"] {
            assert_eq!(commands(&[("package.json", text)]), Vec::<String>::new(), "{text}");
        }
        assert_eq!(commands(&[("package.json", "{}"), ("binding.gyp", "")]), ["npm install ."]);
    }

    #[test]
    fn a_lock_file_is_kept_to() {
        assert_eq!(commands(&[("package.json", "{}"), ("package-lock.json", "{}")]), ["npm ci ."]);
        assert_eq!(commands(&[("a/package.json", "{}"), ("a/npm-shrinkwrap.json", "{}")]), ["npm ci a"]);
    }

    #[test]
    fn workspaces_are_installed_with_the_package_above() {
        let with = r#"{"dependencies":{"x":"1"}}"#;
        let root = ("package.json", r#"{"workspaces":["./packages/*"]}"#);
        let files = [root, ("packages/a/package.json", with), ("other/package.json", with)];
        assert_eq!(commands(&files), ["npm install .", "npm install other"]);
    }
}
