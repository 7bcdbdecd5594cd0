//! The files of a release, as hooks list and read them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

/// Largest number of files that a hook can list, and largest file in bytes that it can read.
const FILES_LIMIT: usize = 10_000;
const READ_LIMIT: u64 = 1 << 20;

/// The files of a release.
#[derive(Debug)]
pub enum Files {
    /// In a folder, listed on first use.
    Folder(PathBuf, OnceLock<Vec<String>>),
    /// In memory, by path.
    Given(BTreeMap<String, Vec<u8>>),
    /// In the gateway, seen from the process of a plugin.
    InGateway(Box<dyn DistantFiles>),
}

/// Files that another process reads for this one.
pub trait DistantFiles: Send + Sync + std::fmt::Debug {
    /// As [`Files::list`].
    fn list(&self) -> Vec<String>;
    /// As [`Files::read`].
    fn read(&self, path: &str) -> Result<Vec<u8>, String>;
}

impl Files {
    /// The files of a folder.
    #[must_use]
    pub fn of_folder(folder: &Path) -> Self {
        Self::Folder(folder.to_owned(), OnceLock::new())
    }

    /// The relative paths, sorted, at most as many as the limit.
    #[must_use]
    pub fn list(&self) -> Vec<String> {
        match self {
            Self::Folder(folder, listed) => listed.get_or_init(|| list(folder)).clone(),
            Self::Given(files) => files.keys().take(FILES_LIMIT).cloned().collect(),
            Self::InGateway(files) => files.list(),
        }
    }

    /// The bytes of one file.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        match self {
            Self::Given(files) => files.get(path).cloned().ok_or_else(|| format!("no file {path:?}")),
            Self::Folder(folder, _) => read_below(folder, path),
            Self::InGateway(files) => files.read(path),
        }
    }
}

fn list(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    let mut seen = 0;
    while let Some(next) = folders.pop() {
        seen += 1;
        if seen > FILES_LIMIT {
            break;
        }
        let Ok(entries) = fs::read_dir(&next) else { continue };
        for entry in entries.flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            // Links are not followed: they may lead out of the folder, or form a loop.
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file()
                && let Some(path) = entry.path().strip_prefix(folder).ok().and_then(Path::to_str)
            {
                files.push(path.to_owned());
            }
        }
        if files.len() > 4 * FILES_LIMIT {
            break;
        }
    }
    files.sort_unstable();
    files.truncate(FILES_LIMIT);
    files
}

fn read_below(folder: &Path, path: &str) -> Result<Vec<u8>, String> {
    let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    let leads_out = || format!("{path:?} leads out of the release");
    if !inside {
        return Err(leads_out());
    }
    let failed = |error: std::io::Error| format!("reading {path:?}: {}", error.kind());
    let whole = folder.canonicalize().map_err(failed)?;
    let found = folder.join(path).canonicalize().map_err(failed)?;
    if !found.starts_with(&whole) {
        return Err(leads_out());
    }
    if !found.is_file() {
        return Err(format!("{path:?} is not a file"));
    }
    let mut bytes = Vec::new();
    fs::File::open(&found).and_then(|file| file.take(READ_LIMIT + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > READ_LIMIT {
        return Err(format!("{path:?} has more than {READ_LIMIT} bytes"));
    }
    Ok(bytes)
}
