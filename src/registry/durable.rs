//! Files that survive a kill or a power cut, whole or not at all: a new file is written and synced, renamed over the
//! old one, and the folder is synced.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Trees of more files are synced with their whole file system. One `syncfs` is then cheaper than a journal commit per
/// file.
const SYNC_EACH: usize = 256;

/// Replaces the file at `path` by one with this content, and keeps the old one as `previous`. Until the folder is
/// synced, a power cut may leave either of them at `path`.
pub(super) fn replace(path: &Path, previous: &Path, content: &[u8]) -> io::Result<()> {
    let (new, old) = (write_beside(path, content)?, path.with_extension("old"));
    // A link, not a rename: `path` exists at every moment.
    match remove_if_exists(&old).and_then(|()| fs::hard_link(path, &old)) {
        Ok(()) => fs::rename(&old, previous)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    fs::rename(&new, path)
}

/// Replaces the file at `path` by one with this content, which only its owner may read.
///
/// # Errors
///
/// The disk failed.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    move_to(&write_beside(path, content)?, path)
}

/// Writes and syncs the file that is to take the place of the one at `path`.
fn write_beside(path: &Path, content: &[u8]) -> io::Result<PathBuf> {
    let new = path.with_extension("new");
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all_at(content, 0)?;
    file.sync_all()?;
    Ok(new)
}

/// Makes a folder that only its owner may read, unless it exists.
///
/// # Errors
///
/// The disk failed.
pub fn make_folder(path: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_folder(path.parent().unwrap_or(Path::new("/"))),
    }
}

/// Moves a file or folder, and syncs the folder it moves to.
pub(super) fn move_to(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_folder(to.parent().unwrap_or(Path::new("/")))
}

/// Syncs the names in a folder.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Syncs a folder with everything below it.
pub(super) fn sync_tree(root: &Path) -> io::Result<()> {
    let mut folders = vec![root.to_owned()];
    let mut files = Vec::new();
    let mut at = 0;
    while let Some(folder) = folders.get(at).cloned() {
        at += 1;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
        if files.len() + folders.len() > SYNC_EACH {
            return rustix::fs::syncfs(File::open(root)?).map_err(io::Error::from);
        }
    }
    for file in files {
        File::open(&file)?.sync_all()?;
    }
    // The innermost first: a folder's name is synced after its content.
    folders.iter().rev().try_for_each(|folder| sync_folder(folder))
}

/// Removes a file, if it exists.
///
/// # Errors
///
/// The disk failed.
pub fn remove_if_exists(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generation_before_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (path, previous) = (folder.path().join("record"), folder.path().join("record.previous"));
        for content in ["one", "two", "three"] {
            replace(&path, &previous, content.as_bytes()).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "three");
        assert_eq!(fs::read_to_string(&previous).unwrap(), "two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn trees_of_any_size_are_synced() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..=SYNC_EACH {
            fs::write(folder.path().join(number.to_string()), "").unwrap();
        }
        sync_tree(folder.path()).unwrap();
    }
}
