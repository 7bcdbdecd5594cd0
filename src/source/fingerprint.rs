//! Detects changes of a folder's files by names, sizes and times, without reading them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use ignore::{DirEntry, Walk, WalkBuilder};
use parking_lot::Mutex;

use crate::deployment::Fingerprint;
use crate::files;
use crate::process::program;

/// Bits of a file that can be run, whatever its name.
const EXECUTABLE: u32 = 0o111;
/// Files that are compared at most. Changes of further files are not detected.
const FILES: usize = 20_000;
/// Folders of tools, which change although the functions do not.
const TOOL_FOLDERS: [&str; 3] = ["node_modules", "__pycache__", "target"];
/// Endings of files that make up a program. Others may be data that functions write: they do not count.
const PROGRAM: [&str; 28] = [
    "js", "mjs", "cjs", "jsx", "ts", "mts", "cts", "tsx", "node", "py", "pyi", "pyx", "so", "wasm", "wat", "rb", "cs",
    "cob", "cbl", "lua", "pl", "pm", "php", "sh", "jl", "r", "java", "jar",
];
/// Other files that decide what is run.
const PROJECT_FILES: [&str; 8] = [
    "package.json",
    "package-lock.json",
    "tsconfig.json",
    "metacall.json",
    "requirements.txt",
    "pyproject.toml",
    "Gemfile",
    ".gitignore",
];

/// The current state of the files of a folder that make up its program: scripts, executable files, and those that
/// decide what is run. Hidden files, files that a `.gitignore` excludes, installed packages, and data do not count. A
/// missing folder has a state as well. Blocks.
#[must_use]
pub fn of_folder(folder: &Path) -> Fingerprint {
    of_entries(walk(folder).flatten())
}

/// The same; none if a part of the folder could not be read, for want of descriptors say. Blocks.
#[must_use]
pub fn of_readable_folder(folder: &Path) -> Option<Fingerprint> {
    let is_gone = |error: &ignore::Error| error.io_error().is_some_and(|error| error.kind() == ErrorKind::NotFound);
    let mut entries = Vec::new();
    for entry in walk(folder) {
        match entry {
            Ok(entry) => entries.push(entry),
            Err(error) if is_gone(&error) => {}
            Err(_) => return None,
        }
    }
    Some(of_entries(entries.into_iter()))
}

/// Walks the files that no `.gitignore` excludes. These are read here and not by the walker, which waits for the writer
/// of a pipe: functions may have made one.
fn walk(folder: &Path) -> Walk {
    let rules = Mutex::new(Vec::from_iter(rules_of(folder)));
    WalkBuilder::new(folder)
        .git_ignore(false)
        .git_exclude(false)
        .git_global(false)
        .ignore(false)
        .parents(false)
        .filter_entry(move |entry| is_taken(entry, &mut rules.lock()))
        .build()
}

/// Whether the walk takes a file or goes into a folder. `rules` are those of the folders above it; the rules of the
/// folder itself are added.
fn is_taken(entry: &DirEntry, rules: &mut Vec<Gitignore>) -> bool {
    if TOOL_FOLDERS.iter().any(|name| entry.file_name() == *name) {
        return false;
    }
    let path = entry.path();
    let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
    rules.retain(|one| path.starts_with(one.path()));
    let decisions = rules.iter().rev().map(|one| one.matched(path, is_folder));
    if decisions.into_iter().find(|one| !one.is_none()).is_some_and(|one| one.is_ignore()) {
        return false;
    }
    if is_folder {
        rules.extend(rules_of(path));
    }
    true
}

fn rules_of(folder: &Path) -> Option<Gitignore> {
    let text = files::read_small(&folder.join(".gitignore")).ok()?;
    let mut rules = GitignoreBuilder::new(folder);
    for line in String::from_utf8_lossy(&text).lines() {
        // A line that is no pattern excludes nothing.
        let _bad_pattern = rules.add_line(None, line);
    }
    rules.build().ok()
}

fn of_entries(entries: impl Iterator<Item = DirEntry>) -> Fingerprint {
    let files: BTreeMap<PathBuf, (u64, i64, i64, u64)> = entries
        .filter(|entry| entry.file_type().is_some_and(|kind| !kind.is_dir()))
        .filter_map(|entry| {
            // Follows links: a link changes when its target does.
            let found = std::fs::metadata(entry.path()).ok()?;
            if !is_program(entry.path()) && found.mode() & EXECUTABLE == 0 {
                return None;
            }
            Some((entry.path().to_owned(), (found.size(), found.mtime(), found.mtime_nsec(), found.ino())))
        })
        .take(FILES)
        .collect();
    let mut hasher = DefaultHasher::new();
    files.hash(&mut hasher);
    Fingerprint(hasher.finish())
}

fn is_program(file: &Path) -> bool {
    let name = file.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let is_metacall = name.starts_with("metacall-") && name.ends_with(".json");
    is_metacall || PROJECT_FILES.contains(&name) || program::has_extension(file, &PROGRAM)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn it_changes_with_the_files_that_are_loaded_and_with_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::create_dir(path.join("node_modules")).unwrap();
        fs::write(path.join("index.js"), "1").unwrap();
        fs::write(path.join(".gitignore"), "data.json\n").unwrap();
        let before = of_folder(path);
        for other in ["node_modules/x.js", ".hidden", "data.json", "notes.json", "calls.log", "calls.db-wal", "x.html"]
        {
            fs::write(path.join(other), "").unwrap();
            assert_eq!(of_folder(path), before, "{other}");
        }
        fs::write(path.join("index.js"), "12").unwrap();
        let written = of_folder(path);
        fs::write(path.join("new.js"), "").unwrap();
        let added = of_folder(path);
        fs::remove_file(path.join("index.js")).unwrap();
        let removed = of_folder(path);
        assert!(before != written && written != added && added != removed);
    }
}
