//! A folder as a release: its `metacall.json` and `metacall-*.json` files, read and checked.

use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::deployment::MetaCallJson;
use crate::files;
use crate::json;

/// Why a folder is not a release.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The folder cannot be read.
    #[error("the folder {path:?} cannot be read: {cause}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The cause.
        cause: io::Error,
    },
    /// A metacall file is malformed.
    #[error("{file}:{line}:{column}: {message}")]
    MetaCallJson {
        /// The file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// The fault.
        message: String,
    },
    /// A script is missing or outside of the folder.
    #[error("{file}: script {script:?} {fault}")]
    Script {
        /// The metacall file.
        file: String,
        /// The script as written in the file.
        script: String,
        /// The fault.
        fault: &'static str,
    },
}

impl SourceError {
    /// The same error with paths relative to `folder`: clients must not learn where the gateway keeps releases.
    #[must_use]
    pub fn below(self, folder: &Path) -> Self {
        let relative = |file: &str| {
            let inner = Path::new(file).strip_prefix(folder).unwrap_or(Path::new(file));
            inner.display().to_string()
        };
        match self {
            Self::MetaCallJson { file, line, column, message } => {
                Self::MetaCallJson { file: relative(&file), line, column, message }
            }
            Self::Script { file, script, fault } => Self::Script { file: relative(&file), script, fault },
            Self::Folder { path, cause } => {
                Self::Folder { path: path.strip_prefix(folder).unwrap_or(&path).to_owned(), cause }
            }
        }
    }
}

/// Writes metacall files that were uploaded with a release into its folder, under unused names. The names are
/// MetaCall's: `metacall-<language>.json`.
pub fn add_jsons(folder: &Path, jsons: &[MetaCallJson]) -> io::Result<()> {
    for json in jsons {
        let is_word = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
        let language: String = json.language_id.chars().filter(is_word).take(32).collect();
        let mut number = 1;
        loop {
            let name = match number {
                1 => format!("metacall-{language}.json"),
                number => format!("metacall-{language}-{number}.json"),
            };
            let file = File::options().write(true).create_new(true).open(folder.join(name));
            match file {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                file => {
                    serde_json::to_writer(file?, json)?;
                    break;
                }
            }
        }
    }
    Ok(())
}

/// The folder's metacall files, sorted by name. There may be none.
///
/// # Errors
/// The folder or a file cannot be read, a file is malformed, or a script is missing or outside of the folder.
pub fn metacall_jsons(folder: &Path) -> Result<Vec<MetaCallJson>, SourceError> {
    let at_folder = |cause| SourceError::Folder { path: folder.to_owned(), cause };
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .map_err(at_folder)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_metacall_file))
        .collect();
    files.sort();
    files.iter().map(|file| read(folder, file)).collect()
}

fn is_metacall_file(name: &str) -> bool {
    name == "metacall.json" || name.starts_with("metacall-") && name.ends_with(".json")
}

fn read(folder: &Path, path: &Path) -> Result<MetaCallJson, SourceError> {
    let file = path.display().to_string();
    let text = files::read_small(path).map_err(|cause| SourceError::Folder { path: path.to_owned(), cause })?;
    let json: MetaCallJson = serde_json::from_slice(&text).map_err(|error| {
        let (line, column) = match error.line() {
            0 => json::line_and_column(&text, 0),
            line => (line, error.column().max(1)),
        };
        let words = error.to_string();
        let message = words.rsplit_once(" at line ").map_or(words.as_str(), |(message, _)| message).to_owned();
        SourceError::MetaCallJson { file: file.clone(), line, column, message }
    })?;
    check_scripts(folder, &file, &json)?;
    Ok(json)
}

fn check_scripts(folder: &Path, file: &str, json: &MetaCallJson) -> Result<(), SourceError> {
    let fault = |script: &str, fault| SourceError::Script { file: file.to_owned(), script: script.to_owned(), fault };
    if !stays_inside(Path::new(&json.path)) {
        return Err(fault(&json.path, "is a path that leads out of the folder"));
    }
    for script in &json.scripts {
        if !stays_inside(Path::new(script)) {
            return Err(fault(script, "leads out of the folder"));
        }
        if !folder.join(&json.path).join(script).is_file() {
            return Err(fault(script, "does not exist"));
        }
    }
    Ok(())
}

fn stays_inside(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_with(json: &str) -> Result<Vec<MetaCallJson>, SourceError> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("metacall.json"), json).unwrap();
        fs::write(folder.path().join("index.js"), "").unwrap();
        metacall_jsons(folder.path())
    }

    #[test]
    fn a_metacall_json_names_scripts_of_its_folder() {
        let jsons = read_with(r#"{"language_id":"node","path":".","scripts":["index.js"]}"#).unwrap();
        assert_eq!(jsons[0].scripts, ["index.js"]);
    }

    #[test]
    fn scripts_outside_or_missing_are_refused() {
        for (json, words) in [
            (r#"{"language_id":"node","path":"../..","scripts":["index.js"]}"#, "leads out"),
            (r#"{"language_id":"node","path":".","scripts":["/etc/passwd"]}"#, "leads out"),
            (r#"{"language_id":"node","path":".","scripts":["../index.js"]}"#, "leads out"),
            (r#"{"language_id":"node","path":".","scripts":["other.js"]}"#, "does not exist"),
        ] {
            let error = read_with(json).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_broken_metacall_json_is_named_with_line_and_column() {
        let error = read_with("{\n  \"language_id\": node}").unwrap_err().to_string();
        assert!(error.contains("metacall.json:2:"), "{error}");
    }
}
