//! The mark in the environment of the processes of a tree. Descendants inherit it, whatever session or parent they
//! have.

use std::fs;
use std::path::Path;

/// The environment variable that marks the processes of a tree: `<gateway instance>/<number>`.
pub const MARK: &str = "METAGATE_WORKER";

/// The mark of the process at `/proc/<pid>`, if its environment is readable. Zombies have none.
pub(super) fn mark_of(process: &Path) -> Option<String> {
    let environment = fs::read(process.join("environ")).ok()?;
    environment.split(|byte| *byte == 0).find_map(|variable| {
        let value = variable.strip_prefix(MARK.as_bytes())?.strip_prefix(b"=")?;
        String::from_utf8(value.to_vec()).ok()
    })
}
