//! npm, for each package.json that lists something to install; pnpm or yarn in folders with their lock files, if they
//! are there.

use std::path::{Path, PathBuf};

use serde_json::Value;
use wildmatch::WildMatch;

use crate::files;
use crate::source::dependencies::runner::Runner;
use crate::source::dependencies::search::Found;
use crate::source::dependencies::step::{Find, Step, place};
use crate::source::dependencies::yarn;

const LOCKS: [&str; 2] = ["package-lock.json", "npm-shrinkwrap.json"];
const DEPENDENCIES: [&str; 5] =
    ["dependencies", "devDependencies", "optionalDependencies", "peerDependencies", "workspaces"];
/// Scripts that `npm install` runs in the package itself.
const SCRIPTS: [&str; 6] = ["preinstall", "install", "postinstall", "prepublish", "preprepare", "prepare"];
/// `npm install` builds a package with this file even without a script.
const BUILD_FILE: &str = "binding.gyp";
const FLAGS: [&str; 4] = ["--no-audit", "--no-fund", "--no-progress", "--no-update-notifier"];

/// An installer that follows a lock file of its own.
struct Follower {
    lock: &'static str,
    program: &'static str,
    command: &'static str,
    args: &'static [&'static str],
    /// A file whose folder has the packages below it as workspaces.
    workspaces: Option<&'static str>,
}

const FOLLOWERS: [Follower; 2] = [
    Follower {
        lock: "pnpm-lock.yaml",
        program: "pnpm",
        command: "pnpm install",
        // A file that shares its place with the store's copy could be changed there by a function.
        args: &["install", "--frozen-lockfile", "--package-import-method=copy", "--reporter=append-only"],
        workspaces: Some("pnpm-workspace.yaml"),
    },
    Follower {
        lock: yarn::LOCK,
        program: "yarn",
        command: "yarn install",
        args: &["install", "--frozen-lockfile", "--non-interactive", "--no-progress"],
        workspaces: None,
    },
];
/// Arguments of yarn 2 and later.
const YARN_2_ARGS: [&str; 2] = ["install", "--immutable"];
/// Installers ask nothing then, and yarn 2 makes folders that Node finds packages in by itself.
const FOLLOWERS_ENV: [(&str, &str); 3] =
    [("CI", "true"), ("YARN_NODE_LINKER", "node-modules"), ("YARN_ENABLE_TELEMETRY", "0")];

/// Whether a lock file that npm does not read is followed, because there is an installer that does.
pub(super) fn is_followed(lock: &Path, find: Find<'_>) -> bool {
    let follows = |program: PathBuf| !lock.ends_with(yarn::LOCK) || yarn::follows(&program, lock);
    FOLLOWERS.iter().any(|one| lock.ends_with(one.lock) && find(one.program).is_some_and(follows))
}

/// One step for each package. A workspace is installed with the package that declares it.
pub(super) fn steps(release: &Path, found: &Found, find: Find<'_>) -> Vec<Step> {
    let followed: Vec<_> = found.locks.iter().filter(|lock| is_followed(lock, find)).collect();
    let mut workspaces: Vec<(&Path, Vec<WildMatch>)> = Vec::new();
    let mut steps = Vec::new();
    for folder in &found.packages {
        let package = read(folder);
        if let Some(package) = &package {
            workspaces.push((folder, workspace_patterns(package)));
        }
        let follower = FOLLOWERS.iter().find(|one| followed.contains(&&folder.join(one.lock)));
        if let Some(follower) = follower.filter(|_| !is_workspace(folder, &workspaces)) {
            if follower.workspaces.is_some_and(|file| folder.join(file).is_file()) {
                workspaces.push((folder, vec![WildMatch::new("*")]));
            }
            steps.push(follow(release, folder.clone(), follower));
            continue;
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

fn follow(release: &Path, folder: PathBuf, follower: &Follower) -> Step {
    let lock = folder.join(follower.lock);
    let is_yarn_2 = lock.ends_with(yarn::LOCK) && yarn::is_modern(&lock);
    let args = if is_yarn_2 { &YARN_2_ARGS } else { follower.args };
    Step {
        command: follower.command,
        program: follower.program,
        args: args.iter().map(Into::into).collect(),
        env: FOLLOWERS_ENV.map(|(name, value)| (name, value.into())).to_vec(),
        ..step(release, folder, true)
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
        commands_with(&[], files)
    }

    /// The commands on a machine with these installers and npm.
    fn commands_with(installers: &[&str], files: &[(&str, &str)]) -> Vec<String> {
        let release = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = release.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let found = Found::look(release.path()).unwrap();
        steps(release.path(), &found, &|name| installers.contains(&name).then(|| name.into()))
            .iter()
            .map(|step| format!("{} {}", step.command, step.place))
            .collect()
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
    fn lock_files_of_pnpm_and_yarn_are_followed_where_these_are() {
        let pnpm = [("package.json", "{}"), ("pnpm-lock.yaml", "")];
        assert_eq!(commands_with(&["pnpm"], &pnpm), ["pnpm install ."]);
        assert_eq!(commands_with(&["yarn"], &pnpm), Vec::<String>::new());
        let modern = [("package.json", "{}"), ("yarn.lock", "# yarn\n\n__metadata:\n  version: 10\n")];
        assert_eq!(commands_with(&["yarn"], &modern), ["yarn install ."]);
        let own = [("package.json", "{}"), ("yarn.lock", ""), ("package-lock.json", "{}")];
        assert_eq!(commands_with(&["yarn"], &own), ["npm ci ."]);
        let below = ("packages/a/package.json", r#"{"dependencies":{"x":"1"}}"#);
        assert_eq!(commands_with(&["pnpm"], &[pnpm[0], pnpm[1], below]), ["pnpm install .", "npm install packages/a"]);
        let workspaces = [pnpm[0], pnpm[1], ("pnpm-workspace.yaml", "packages: [\"packages/*\"]"), below];
        assert_eq!(commands_with(&["pnpm"], &workspaces), ["pnpm install ."]);
    }

    #[test]
    fn workspaces_are_installed_with_the_package_above() {
        let with = r#"{"dependencies":{"x":"1"}}"#;
        let root = ("package.json", r#"{"workspaces":["./packages/*"]}"#);
        let files = [root, ("packages/a/package.json", with), ("other/package.json", with)];
        assert_eq!(commands(&files), ["npm install .", "npm install other"]);
    }
}
