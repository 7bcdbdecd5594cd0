//! Folders for what is not a release yet: made for one upload or one deploy, gone with it, swept when the gateway starts.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use ulid::Ulid;

/// Where staging folders are made: `<data_dir>/staging`.
#[derive(Debug, Clone)]
pub struct StagingArea {
    folder: PathBuf,
}

/// A folder of one's own; removed with all that is in it when it is dropped.
#[derive(Debug)]
pub struct Staging {
    folder: PathBuf,
}

impl StagingArea {
    /// The area below a data folder. Removes what an earlier gateway has left there.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let area = Self { folder: data_dir.join("staging") };
        make(&area.folder)?;
        for entry in fs::read_dir(&area.folder)? {
            remove(&entry?.path());
        }
        Ok(area)
    }

    /// An area in a data folder that cannot be written: making a folder in it fails.
    #[must_use]
    pub fn read_only(data_dir: &Path) -> Self {
        Self { folder: data_dir.join("staging") }
    }

    /// A new folder, empty.
    pub fn make(&self) -> io::Result<Staging> {
        let folder = self.folder.join(Ulid::new().to_string());
        make(&folder)?;
        Ok(Staging { folder })
    }

    /// A path for something that is to be removed: moved here, it is gone at the latest when the next gateway starts.
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
        // There may be thousands of files in it: not on the thread that serves calls.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || remove(&folder))),
            Err(_) => remove(&folder),
        }
    }
}

/// Removes a file or a folder with all that is in it, as far as that can be done.
pub fn remove(path: &Path) {
    let is_folder = fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
    let removed = if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    if let Err(error) = removed
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "cannot be removed: the next start tries again");
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
    fn what_a_killed_gateway_left_is_swept() {
        let data = tempfile::tempdir().unwrap();
        let left = StagingArea::open(data.path()).unwrap().make().unwrap();
        let path = left.path().to_owned();
        std::mem::forget(left);
        StagingArea::open(data.path()).unwrap();
        assert!(!path.exists());
    }
}
