//! A folder as a release: its `metacall.json` and `metacall-*.json` files, read and checked.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::deployment::MetaCallJson;
use crate::files;
use crate::json;

/// Levels of folders in which metacall files are looked for, and files and folders that are looked at.
const DEPTH: usize = 8;
const ENTRIES: usize = 20_000;
const SKIPPED: [&str; 3] = ["node_modules", "__pycache__", "__MACOSX"];
/// What Macs put into archives.
const MAC_FILES: [&str; 2] = ["__MACOSX", ".DS_Store"];

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

/// Moves the files of a folder up if all it has is one folder, as in a zip of a folder instead of its files. What Macs
/// add does not count.
///
/// # Errors
/// A file cannot be read or moved.
pub fn unwrap(folder: &Path) -> io::Result<()> {
    let entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    let (extra, own): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|entry| MAC_FILES.iter().any(|name| entry.file_name() == *name));
    let [only] = own.as_slice() else { return Ok(()) };
    // The files of a package with this name are imported through it.
    if !only.file_type()?.is_dir() || only.path().join("__init__.py").exists() {
        return Ok(());
    }
    for entry in extra {
        if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path())? } else { fs::remove_file(entry.path())? }
    }
    let aside = folder.with_extension("wrapped");
    fs::rename(folder, &aside)?;
    fs::rename(aside.join(only.file_name()), folder)?;
    fs::remove_dir(aside)
}

/// The metacall files of a folder and of the folders in it, sorted by path. There may be none. The paths in them are
/// relative to their own folders; those of the result to `folder`. Hidden folders, `node_modules` and virtual
/// environments are not looked into.
///
/// # Errors
/// The folder or a file cannot be read, a file is malformed, or a script is missing or outside of the folder.
pub fn metacall_jsons(folder: &Path) -> Result<Vec<MetaCallJson>, SourceError> {
    let mut files = Vec::new();
    let mut left = ENTRIES;
    find_files(folder, 0, &mut left, &mut files)
        .map_err(|cause| SourceError::Folder { path: folder.to_owned(), cause })?;
    files.sort();
    files.iter().map(|file| read(folder, file)).collect()
}

/// Adds the metacall files of a folder and of those in it. Folders below the first one that cannot be read are skipped.
fn find_files(folder: &Path, depth: usize, left: &mut usize, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(folder)?.flatten() {
        let name = entry.file_name();
        *left = left.saturating_sub(1);
        if *left == 0 {
            break;
        }
        if name.to_str().is_some_and(is_metacall_file) {
            files.push(entry.path());
        } else if depth < DEPTH && entry.file_type().is_ok_and(|kind| kind.is_dir()) && !is_skipped(&name) {
            folders.push(entry.path());
        }
    }
    for folder in folders {
        if !folder.join("pyvenv.cfg").exists() {
            let _unreadable = find_files(&folder, depth + 1, left, files);
        }
    }
    Ok(())
}

fn is_skipped(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".") || SKIPPED.iter().any(|skipped| name == *skipped)
}

fn is_metacall_file(name: &str) -> bool {
    name == "metacall.json" || name.starts_with("metacall-") && name.ends_with(".json")
}

fn read(folder: &Path, path: &Path) -> Result<MetaCallJson, SourceError> {
    let file = path.display().to_string();
    let text = files::read_small(path).map_err(|cause| SourceError::Folder { path: path.to_owned(), cause })?;
    let mut json: MetaCallJson = serde_json::from_slice(&text).map_err(|error| {
        let (line, column) = match error.line() {
            0 => json::line_and_column(&text, 0),
            line => (line, error.column().max(1)),
        };
        let words = error.to_string();
        let message = words.rsplit_once(" at line ").map_or(words.as_str(), |(message, _)| message).to_owned();
        SourceError::MetaCallJson { file: file.clone(), line, column, message }
    })?;
    let at = path.parent().and_then(|at| at.strip_prefix(folder).ok()).unwrap_or(Path::new(""));
    if !at.as_os_str().is_empty() {
        json.path = inside(&at.join(&json.path)).unwrap_or(json.path);
    }
    check_scripts(folder, &file, &json)?;
    Ok(json)
}

/// The path without its `..`, if it stays inside the folder that it is relative to.
fn inside(path: &Path) -> Option<String> {
    let mut parts: Vec<&OsStr> = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => parts.push(part),
            Component::CurDir => {}
            Component::ParentDir => {
                parts.pop()?;
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    let path: PathBuf = parts.into_iter().collect();
    Some(if path.as_os_str().is_empty() { ".".to_owned() } else { path.to_str()?.to_owned() })
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
    fn a_metacall_json_below_the_folder_counts_with_paths_relative_to_it() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("a/metacall.json", r#"{"language_id":"py","path":".","scripts":["one.py"]}"#),
            ("a/one.py", ""),
            ("b/c/metacall-x.json", r#"{"language_id":"node","path":"../lib","scripts":["two.js"]}"#),
            ("b/lib/two.js", ""),
            ("node_modules/x/metacall.json", "broken"),
            (".hidden/metacall.json", "broken"),
        ] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let jsons = metacall_jsons(folder.path()).unwrap();
        let paths: Vec<_> = jsons.iter().map(|json| (json.path.as_str(), json.scripts[0].as_str())).collect();
        assert_eq!(paths, [("a", "one.py"), ("b/lib", "two.js")]);
        let out = r#"{"language_id":"node","path":"../../..","scripts":["x.js"]}"#;
        fs::write(folder.path().join("a/metacall.json"), out).unwrap();
        assert!(metacall_jsons(folder.path()).unwrap_err().to_string().contains("leads out"));
    }

    #[test]
    fn a_folder_of_one_folder_is_unwrapped() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("files");
        for name in ["app-main/index.js", "app-main/app-main/deep.js", "__MACOSX/app-main/._index.js", ".DS_Store"] {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        unwrap(&folder).unwrap();
        assert!(folder.join("index.js").is_file() && folder.join("app-main/deep.js").is_file());
        assert!(!folder.join("__MACOSX").exists());
        unwrap(&folder).unwrap();
        assert!(folder.join("index.js").is_file(), "it has more than one entry");
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
