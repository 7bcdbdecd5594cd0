//! Which yarn follows which lock file: yarn 1 takes one of yarn 2 for an empty one, and yarn 2 and later would write
//! one of yarn 1 anew.

use std::path::Path;

use serde_json::Value;

use crate::files;

/// The lock file of every yarn.
pub(super) const LOCK: &str = "yarn.lock";
/// What only lock files of yarn 2 and later have.
const MODERN_WORDS: &str = "\n__metadata:\n";
/// Settings of yarn 2 and later, of which yarn 1 reads one: the program of the project's own yarn, which it then runs.
const SETTINGS: &str = ".yarnrc.yml";
const OWN_PROGRAM: &str = "yarnPath:";
/// Packages of yarn itself.
const CLASSIC: &str = "yarn";
const MODERN: &str = "@yarnpkg/cli-dist";

/// Whether a lock file is one of yarn 2 or later.
pub(super) fn is_modern(lock: &Path) -> bool {
    text_of(lock).contains(MODERN_WORDS)
}

/// Whether the yarn that `program` is follows a lock file. One that cannot be told, such as that of Corepack, does.
pub(super) fn follows(program: &Path, lock: &Path) -> bool {
    let has_own = text_of(&lock.with_file_name(SETTINGS)).lines().any(|line| line.starts_with(OWN_PROGRAM));
    match package_of(program) {
        Some((name, version)) if name == CLASSIC => has_own || version.starts_with("1.") != is_modern(lock),
        Some((name, _)) if name == MODERN => has_own || is_modern(lock),
        _ => true,
    }
}

/// The name and the version of the package that a program is part of.
fn package_of(program: &Path) -> Option<(String, String)> {
    let program = program.canonicalize().ok()?;
    let read =
        |folder: &Path| serde_json::from_slice::<Value>(&files::read_small(&folder.join("package.json")).ok()?).ok();
    let package = program.ancestors().skip(1).take(2).find_map(read)?;
    Some((package["name"].as_str()?.to_owned(), package["version"].as_str()?.to_owned()))
}

fn text_of(file: &Path) -> String {
    files::read_small(file).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crate::files::folder_with;

    use super::*;

    #[test]
    fn each_yarn_follows_its_own_lock_files() {
        let folder = folder_with(&[
            ("classic/package.json", r#"{"name":"yarn","version":"1.22.22"}"#),
            ("classic/bin/yarn.js", ""),
            ("modern/package.json", r#"{"name":"@yarnpkg/cli-dist","version":"4.18.1"}"#),
            ("modern/bin/yarn.js", ""),
            ("corepack/package.json", r#"{"name":"corepack","version":"0.34.0"}"#),
            ("corepack/dist/yarn.js", ""),
            ("old/yarn.lock", "# yarn lockfile v1\n"),
            ("new/yarn.lock", "# yarn\n\n__metadata:\n  version: 10\n"),
            ("own/yarn.lock", "# yarn\n\n__metadata:\n  version: 10\n"),
            ("own/.yarnrc.yml", "yarnPath: .yarn/releases/yarn-4.18.1.cjs\n"),
        ]);
        let path = |path: &str| folder.path().join(path);
        let followed = |program: &str| ["old", "new", "own"].map(|one| follows(&path(program), &path(one).join(LOCK)));
        assert_eq!(followed("classic/bin/yarn.js"), [true, false, true]);
        assert_eq!(followed("modern/bin/yarn.js"), [false, true, true]);
        assert_eq!(followed("corepack/dist/yarn.js"), [true; 3]);
        assert_eq!(followed("no/yarn"), [true; 3]);
    }
}
