//! The data folder: taken by one gateway at a time, with what an earlier one left in it. One that cannot be written still
//! serves what is in it.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use anyhow::{Context, bail};
use rustix::fs::FlockOperation;

use crate::logs::files::LogFiles;
use crate::registry::store::Store;
use crate::runtime::scripts::WorkerScripts;
use crate::source::staging::StagingArea;

/// What is in the data folder.
pub(super) struct DataDir {
    /// Held for as long as the gateway runs.
    pub(super) lock: File,
    pub(super) scripts: WorkerScripts,
    pub(super) log_files: LogFiles,
    pub(super) store: Store,
    pub(super) staging: StagingArea,
}

impl DataDir {
    /// Takes the folder; made if it is not there.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let (lock, read_only) = lock(path)?;
        if let Some(why) = &read_only {
            tracing::warn!(reason = why, "the data folder cannot be written: nothing can be deployed");
        }
        let staging = match &read_only {
            Some(_) => StagingArea::read_only(path),
            None => StagingArea::open(path).context("opening the staging folder")?,
        };
        let scripts = WorkerScripts::write(path).context("writing the worker scripts")?;
        Ok(Self {
            lock,
            log_files: LogFiles::start(&path.join("logs")).context("opening the log folder")?,
            store: Store::open(path, scripts.python_cache.clone(), read_only)?,
            staging,
            scripts,
        })
    }
}

/// Takes the folder for this gateway: the lock is held until the file is closed. Also tells why the folder cannot be
/// written, if so.
fn lock(path: &Path) -> anyhow::Result<(File, Option<String>)> {
    // What is below it is nobody else's business.
    match std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Err(error) if is_read_only(&error) && path.is_dir() => {}
        made => made?,
    }
    let file = path.join("lock");
    let opened = File::options().read(true).write(true).create(true).truncate(false).open(&file);
    let (mut file, read_only) = match opened {
        Err(error) if is_read_only(&error) => (File::open(&file)?, Some(error.to_string())),
        opened => (opened?, None),
    };
    if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut owner = String::new();
        file.read_to_string(&mut owner)?;
        bail!("another gateway uses it (process {}); give each a data_dir of its own", owner.trim());
    }
    if read_only.is_none() {
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())?;
    }
    Ok((file, read_only))
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied)
}
