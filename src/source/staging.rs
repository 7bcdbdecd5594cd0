//! Temporary folders in which a release is built: created for one upload or deploy and removed with it. Leftovers are
//! removed when the gateway starts.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use ulid::Ulid;

/// The parent of staging folders: `<data_dir>/staging`.
#[derive(Debug, Clone)]
pub struct StagingArea {
    folder: PathBuf,
}

/// A staging folder. Dropping it removes the folder with its contents.
#[derive(Debug)]
pub struct Staging {
    folder: PathBuf,
}

impl StagingArea {
    /// Opens the area below a data folder, and removes leftovers of an earlier gateway.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let area = Self { folder: data_dir.join("staging") };
        make(&area.folder)?;
        for entry in fs::read_dir(&area.folder)? {
            remove(&entry?.path());
        }
        Ok(area)
    }

    /// An area in a data folder that cannot be written to: creating a staging folder fails.
    #[must_use]
    pub fn read_only(data_dir: &Path) -> Self {
        Self { folder: data_dir.join("staging") }
    }

    /// Creates an empty staging folder.
    pub fn make(&self) -> io::Result<Staging> {
        let folder = self.folder.join(Ulid::new().to_string());
        make(&folder)?;
        Ok(Staging { folder })
    }

    /// An unused path in the area. What is moved there is removed when the next gateway starts at the latest.
    #[must_use]
    pub fn place_for_waste(&self) -> PathBuf {
        self.folder.join(Ulid::new().to_string())
    }
}

impl Staging {
    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let folder = std::mem::take(&mut self.folder);
        // It may hold thousands of files, and removing them would block the thread that serves calls.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || remove(&folder))),
            Err(_) => remove(&folder),
        }
    }
}

/// Removes a file or a folder with its contents. A failure is logged.
pub fn remove(path: &Path) {
    let is_folder = fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
    let removed = if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    if let Err(error) = removed
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "could not remove a staging folder; the next start tries again");
    }
}

fn make(folder: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_of_a_staging_folder() {
        let data = tempfile::tempdir().unwrap();
        let area = StagingArea::open(data.path()).unwrap();
        let staging = area.make().unwrap();
        fs::write(staging.path().join("file"), "").unwrap();
        let path = staging.path().to_owned();
        drop(staging);
        assert!(!path.exists());
    }

    #[test]
    fn leftovers_of_a_killed_gateway_are_removed() {
        let data = tempfile::tempdir().unwrap();
        let left = StagingArea::open(data.path()).unwrap().make().unwrap();
        let path = left.path().to_owned();
        std::mem::forget(left);
        StagingArea::open(data.path()).unwrap();
        assert!(!path.exists());
    }
}
