//! Takes the paths of the gateway's machine out of texts for clients of a deploy: the files of a release are named
//! relative to the release, other files of the data folder relative to that folder.

use std::path::Path;

/// The paths to take out.
#[derive(Debug)]
pub struct ServerPaths {
    /// The data folder as configured and with its links resolved, which is how runtimes print it; each ends in `/`.
    data_dirs: Vec<String>,
}

impl ServerPaths {
    /// The paths below a data folder.
    #[must_use]
    pub fn below(data_dir: &Path) -> Self {
        let mut data_dirs = vec![format!("{}/", data_dir.display())];
        if let Ok(resolved) = data_dir.canonicalize() {
            data_dirs.push(format!("{}/", resolved.display()));
        }
        // The longer one first: a resolved path may end with the configured one.
        data_dirs.sort_by_key(|dir| std::cmp::Reverse(dir.len()));
        data_dirs.dedup();
        Self { data_dirs }
    }

    /// The text without the paths.
    #[must_use]
    pub fn strip(&self, text: &str) -> String {
        self.data_dirs.iter().fold(text.to_owned(), |text, dir| strip_one(&text, dir))
    }
}

fn strip_one(text: &str, dir: &str) -> String {
    let mut stripped = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(dir) {
        stripped.push_str(&rest[..at]);
        rest = &rest[at + dir.len()..];
        if let Some(path) = in_release(rest) {
            rest = path;
            if rest.starts_with(['"', '\'']) {
                stripped.push('.');
            }
        }
    }
    stripped.push_str(rest);
    stripped
}

/// The part of `deployments/<name>/files/<release>/<path>` that is the path.
fn in_release(path: &str) -> Option<&str> {
    let (_name, rest) = path.strip_prefix("deployments/")?.split_once("/files/")?;
    let path = rest.trim_start_matches(|character: char| character.is_ascii_digit());
    let is_number = path.len() < rest.len();
    // Before the end of the path: the folder of the release itself.
    path.strip_prefix('/').or_else(|| path.starts_with(['"', '\'']).then_some(path)).filter(|_| is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_release_are_named_relative_to_it() {
        let paths = ServerPaths::below(Path::new("/srv/gate/.metagate"));
        for (text, stripped) in [
            ("at f (/srv/gate/.metagate/deployments/app/files/12/lib/a.js:1:7)", "at f (lib/a.js:1:7)"),
            ("/srv/gate/.metagate/workers/0.1.0/node.js:2 and /etc/hosts", "workers/0.1.0/node.js:2 and /etc/hosts"),
            ("/srv/gate/.metagate/deployments/app/files/x/a.js", "deployments/app/files/x/a.js"),
            ("/srv/gate/.metagate/deployments/app/files/12x/a.js", "deployments/app/files/12x/a.js"),
            ("in \"/srv/gate/.metagate/deployments/app/files/12\":", "in \".\":"),
            ("no path", "no path"),
        ] {
            assert_eq!(paths.strip(text), stripped);
        }
    }
}
