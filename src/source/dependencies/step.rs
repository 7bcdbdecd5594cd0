//! One command of an installation.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::source::dependencies::runner::Runner;

/// Finds a program on the gateway's PATH.
pub(super) type Find<'a> = &'a dyn Fn(&str) -> Option<PathBuf>;

/// One command to run.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) runner: Runner,
    /// The command for messages, such as `npm install`.
    pub(super) command: &'static str,
    /// The program, searched on PATH.
    pub(super) program: &'static str,
    pub(super) args: Vec<OsString>,
    /// Variables in addition to those that every step gets.
    pub(super) env: Vec<(&'static str, OsString)>,
    /// The folder in which it runs, and the same for messages.
    pub(super) folder: PathBuf,
    pub(super) place: String,
    /// The file with the dependencies, for messages.
    pub(super) needed_for: String,
    /// Text that the program prints if it is not installed after all, as `python3 -m pip` does without pip.
    pub(super) missing_words: Option<&'static str>,
}

impl Step {
    /// Whether the program's last output means that it is not installed after all.
    pub(super) fn is_missing(&self, last_output: &str) -> bool {
        self.missing_words.is_some_and(|words| last_output.contains(words))
    }
}

/// A path relative to the release, for messages: `.`, `lib/a`, `lib/a/package.json`.
pub(super) fn place(release: &Path, path: &Path) -> String {
    match path.strip_prefix(release) {
        Ok(inside) if !inside.as_os_str().is_empty() => inside.display().to_string(),
        _ => ".".to_owned(),
    }
}
