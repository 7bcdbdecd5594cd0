//! The file of an upload: written to disk in batches, on threads other than the one that serves connections.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::http::disk_fault::from_disk;
use crate::http::problem::Problem;

/// Bytes that are kept in memory before they are written.
const BATCH: usize = 256 * 1024;
const ACT: &str = "writing the package";

/// A file that is being written.
#[derive(Debug)]
pub(super) struct Spool {
    file: File,
    path: PathBuf,
    batch: Vec<u8>,
    length: u64,
}

impl Spool {
    /// A new file in a folder; it is removed with the folder.
    pub(super) fn open(folder: &Path) -> Result<Self, Problem> {
        let path = folder.join("package.zip");
        // On this thread: if the upload were dropped meanwhile, another thread could still make the file in a folder
        // that is being removed.
        let file = File::options().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|error| from_disk(&error, ACT))?;
        Ok(Self { file, path, batch: Vec::with_capacity(BATCH), length: 0 })
    }

    /// Bytes that were added so far.
    pub(super) fn len(&self) -> u64 {
        self.length
    }

    /// Adds bytes.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        self.length += bytes.len() as u64;
        self.batch.extend_from_slice(bytes);
        if self.batch.len() >= BATCH { self.flush().await } else { Ok(()) }
    }

    /// Writes the rest and returns the path.
    pub(super) async fn finish(mut self) -> Result<PathBuf, Problem> {
        self.flush().await?;
        Ok(self.path)
    }

    async fn flush(&mut self) -> Result<(), Problem> {
        let batch = std::mem::take(&mut self.batch);
        let mut file = self.file.try_clone().map_err(|error| from_disk(&error, ACT))?;
        self.batch = off_thread(move || {
            file.write_all(&batch)?;
            Ok(batch)
        })
        .await?;
        self.batch.clear();
        Ok(())
    }
}

async fn off_thread<T: Send + 'static>(act: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(act).await.unwrap_or_else(|ended| Err(io::Error::other(ended)));
    done.map_err(|error| from_disk(&error, ACT))
}
