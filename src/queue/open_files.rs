//! Whether the files that the queue has open are still those in its folder, and whole: what is written into files that
//! somebody has removed, replaced or cut short would be lost.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::queue::database::LOG_KEPT;
use crate::queue::fault::Fault;

/// The file of the queue and its write-ahead log.
#[derive(Debug)]
pub(super) struct OpenFiles {
    file: Seen,
    log: Seen,
}

/// A file as it was seen last.
#[derive(Debug)]
struct Seen {
    path: PathBuf,
    /// The device, and the number of the file on it; none if there was no file.
    id: Option<(u64, u64)>,
    bytes: u64,
    /// It may become as short as this.
    cut_to: u64,
}

impl OpenFiles {
    /// The files as they are just after they were opened.
    pub(super) fn of(file: &Path) -> Self {
        let mut log = file.as_os_str().to_owned();
        log.push("-wal");
        // Without VACUUM, the file never shrinks.
        Self { file: Seen::new(file.to_owned(), u64::MAX), log: Seen::new(log.into(), LOG_KEPT) }
    }

    /// Checks that nobody has removed, replaced or cut them short.
    pub(super) fn check(&mut self) -> Result<(), Fault> {
        self.file.check()?;
        self.log.check()
    }

    /// Whether the file is whole, and the log is gone as a whole: what is in the log can be moved into the file then.
    pub(super) fn lacks_log_alone(&mut self) -> bool {
        self.file.check().is_ok() && self.log.is_elsewhere()
    }
}

impl Seen {
    fn new(path: PathBuf, cut_to: u64) -> Self {
        let found = std::fs::metadata(&path).ok();
        let id = found.as_ref().map(|found| (found.dev(), found.ino()));
        Self { path, id, bytes: found.map_or(0, |found| found.len()), cut_to }
    }

    fn is_elsewhere(&self) -> bool {
        std::fs::metadata(&self.path).map(|found| (found.dev(), found.ino())).ok() != self.id
    }

    fn check(&mut self) -> Result<(), Fault> {
        let found = std::fs::metadata(&self.path).ok();
        let id = found.as_ref().map(|found| (found.dev(), found.ino()));
        let bytes = found.map_or(0, |found| found.len());
        if id.is_some() && id == self.id && bytes >= self.bytes.min(self.cut_to) {
            self.bytes = bytes;
            return Ok(());
        }
        let what = "was removed, replaced or cut short: the gateway has to start again";
        Err(Fault::Damaged(format!("{} {what}", self.path.display()).into()))
    }
}
