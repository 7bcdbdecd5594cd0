//! The data folder: locked by one gateway at a time, opened with everything an earlier gateway left in it. A gateway
//! with a folder that it cannot write to serves the releases in it and accepts no changes.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::fs::FlockOperation;

use crate::logs::files::LogFiles;
use crate::registry::format;
use crate::registry::store::Store;
use crate::runtime::scripts::WorkerScripts;
use crate::source::staging::{self, StagingArea};

/// Longest wait for the lock of a gateway that has ended, and the pause between attempts to take it.
const HANDOVER: Duration = Duration::from_secs(5);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// The file that is locked.
const LOCK: &str = "lock";

/// The opened data folder.
pub(super) struct DataDir {
    /// Holds the folder's lock until it is closed.
    pub(super) lock: Lock,
    pub(super) scripts: WorkerScripts,
    pub(super) log_files: LogFiles,
    pub(super) store: Store,
    pub(super) staging: StagingArea,
}

/// The lock of the folder, held until it and all copies of it are closed.
pub(super) struct Lock(File);

impl Lock {
    /// Writes the id of this process into the file, for those who find it locked.
    pub(super) fn name_owner(&self) -> io::Result<()> {
        let mut file = &self.0;
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        writeln!(file, "{}", std::process::id())
    }

    /// Whether this is the lock of the folder at `path`.
    fn is_of(&self, path: &Path) -> bool {
        let identity = |found: fs::Metadata| (found.dev(), found.ino());
        let own = self.0.metadata().map(identity);
        fs::metadata(path.join(LOCK)).map(identity).is_ok_and(|other| own.is_ok_and(|own| own == other))
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl DataDir {
    /// Opens the folder of a gateway that still runs, with its lock. Nothing in it is changed: that gateway needs it
    /// until it ends. A folder other than its own is opened like any other.
    pub(super) fn take_over(path: &Path, lock: File) -> anyhow::Result<Self> {
        let lock = Lock(lock);
        if !lock.is_of(path) {
            return Self::open(path);
        }
        let scripts = WorkerScripts::write(path).context("writing the worker scripts")?;
        Ok(Self {
            lock,
            log_files: LogFiles::start(&path.join("logs")).context("opening the log folder")?,
            store: Store::take_over(path, scripts.folders_of_deployments().map(Path::to_owned).to_vec())?,
            staging: StagingArea::read_only(path),
            scripts,
        })
    }

    /// Locks and opens the folder; creates it if it does not exist.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let (lock, read_only) = lock(path)?;
        format::check(path)?;
        if let Some(reason) = &read_only {
            tracing::warn!(reason, "data folder is read-only: deploys are refused");
        }
        let staging = match &read_only {
            Some(_) => StagingArea::read_only(path),
            None => StagingArea::open(path).context("opening the staging folder")?,
        };
        let scripts = WorkerScripts::write(path).context("writing the worker scripts")?;
        // Of an earlier gateway: its workers have ended.
        staging::remove(&scripts.temp);
        let is_writable = read_only.is_none();
        let opened = Self {
            lock,
            log_files: LogFiles::start(&path.join("logs")).context("opening the log folder")?,
            store: Store::open(path, scripts.folders_of_deployments().map(Path::to_owned).to_vec(), read_only)?,
            staging,
            scripts,
        };
        if is_writable {
            format::mark(path)?;
        }
        Ok(opened)
    }
}

/// Locks the folder. Returns the file that holds the lock and, if the folder is read-only, why.
fn lock(path: &Path) -> anyhow::Result<(Lock, Option<String>)> {
    // 0700: the folder holds the variables of deployments, which may be secrets.
    match fs::DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Err(error) if is_read_only(&error) && path.is_dir() => {}
        made => made?,
    }
    let file = path.join(LOCK);
    let opened = File::options().read(true).write(true).create(true).truncate(false).open(&file);
    let (mut file, read_only) = match opened {
        Err(error) if is_read_only(&error) => (File::open(&file)?, Some(error.to_string())),
        opened => (opened?, None),
    };
    take_lock(&mut file)?;
    let lock = Lock(file);
    if read_only.is_none() {
        lock.name_owner()?;
    }
    Ok((lock, read_only))
}

/// flock rather than the existence of a file: the kernel releases the lock however the process ends. A gateway that was
/// killed while it started a worker holds it until that worker runs its program, and is waited for.
fn take_lock(file: &mut File) -> anyhow::Result<()> {
    let deadline = Instant::now() + HANDOVER;
    let mut waits = false;
    while rustix::fs::flock(&*file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut owner = String::new();
        file.seek(SeekFrom::Start(0))?;
        file.read_to_string(&mut owner)?;
        let owner = owner.trim();
        if has_ended(owner) && Instant::now() < deadline {
            if !std::mem::replace(&mut waits, true) {
                tracing::info!(process = owner, "waiting for the lock of a gateway that has ended");
            }
            std::thread::sleep(LOCK_PAUSE);
            continue;
        }
        bail!("another gateway (process {owner}) uses it: stop that gateway, or set another data_dir in [server]");
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(())
}

/// Whether the process that the lock names runs no more: then it has no program, also if nobody has reaped it yet.
fn has_ended(pid: &str) -> bool {
    let is_number = pid.parse::<u32>().is_ok();
    is_number && fs::read_link(format!("/proc/{pid}/exe")).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied)
}
