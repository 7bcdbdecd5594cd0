//! Files that came with a call and that its function reads from the disk. They are removed when nobody holds them any
//! more: neither the call nor the worker that has not answered it yet.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tokio::runtime::Handle;

/// A file of its own, removed when this is dropped.
#[derive(Debug, PartialEq, Eq)]
pub struct Uploaded {
    path: PathBuf,
}

impl Uploaded {
    /// Makes an empty file with a name of its own in `folder`, which nobody but its owner can read. Blocks.
    ///
    /// # Errors
    ///
    /// The disk is full, or the folder cannot be written to.
    pub fn create(folder: &Path) -> io::Result<(Self, File)> {
        let path = folder.join(format!("upload-{}", ulid::Ulid::new()));
        // The folder may belong to a function, so a link of this name must not be followed.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok((Self { path }, file))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Uploaded {
    fn drop(&mut self) {
        let removal = Removal(std::mem::take(&mut self.path));
        // To remove a large file takes time. A runtime that ends drops what waits, which removes the file as well.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn_blocking(move || drop(removal));
        }
    }
}

/// Removes a file when it is dropped.
struct Removal(PathBuf);

impl Drop for Removal {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(file = %self.0.display(), %error, "an uploaded file could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_goes_with_its_last_holder() {
        let folder = tempfile::tempdir().unwrap();
        let count = || fs::read_dir(folder.path()).unwrap().count();
        let (first, _) = Uploaded::create(folder.path()).unwrap();
        let (second, _) = Uploaded::create(folder.path()).unwrap();
        assert_eq!(count(), 2);
        drop(first);
        assert_eq!(count(), 1);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async { drop(second) });
        drop(runtime);
        assert_eq!(count(), 0);
    }
}
