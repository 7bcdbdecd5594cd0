//! One command of an installation.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::source::dependencies::runner::Runner;

/// One command to run.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) runner: Runner,
    /// The command in words, such as `npm install`.
    pub(super) command: &'static str,
    /// The program, looked for on PATH.
    pub(super) program: &'static str,
    pub(super) args: Vec<OsString>,
    /// Variables beside those that every step gets.
    pub(super) env: Vec<(&'static str, OsString)>,
    /// The folder that it runs in, and that folder in words.
    pub(super) folder: PathBuf,
    pub(super) place: String,
    /// The file with the dependencies, in words.
    pub(super) needed_for: String,
    /// Words by which the program says that it is not there after all.
    pub(super) missing_words: Option<&'static str>,
}

impl Step {
    /// Whether what the program printed last means that it is not there after all.
    pub(super) fn is_missing(&self, last_words: &str) -> bool {
        self.missing_words.is_some_and(|words| last_words.contains(words))
    }
}

/// A path of a release in words: `.`, `lib/a`, `lib/a/package.json`.
pub(super) fn place(release: &Path, path: &Path) -> String {
    match path.strip_prefix(release) {
        Ok(inside) if !inside.as_os_str().is_empty() => inside.display().to_string(),
        _ => ".".to_owned(),
    }
}
