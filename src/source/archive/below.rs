//! Creates files and folders below one folder, through its descriptor: no path leaves it, not even through links that
//! lie in it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

const INSIDE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const NEW_FILE: OFlags =
    OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const PLAIN: Mode = Mode::from_raw_mode(0o644);
const RUNNABLE: Mode = Mode::from_raw_mode(0o755);

/// The folder that files are created below.
#[derive(Debug)]
pub(super) struct Below {
    folder: OwnedFd,
}

impl Below {
    /// Opens the folder.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        Ok(Self { folder: rustix::fs::openat(CWD, folder, FOLDER, Mode::empty())? })
    }

    /// Creates a folder and its parents; they may exist.
    pub(super) fn make_folder(&self, path: &str) -> io::Result<()> {
        let mut made: Option<OwnedFd> = None;
        for part in path.split('/') {
            let parent = made.as_ref().map_or(self.folder.as_fd(), AsFd::as_fd);
            made = Some(enter(parent, part)?);
        }
        Ok(())
    }

    /// Creates a file, which must not exist, and its parent folders.
    pub(super) fn make_file(&self, path: &str, executable: bool) -> io::Result<File> {
        let file = match self.open_new(path) {
            Err(Errno::NOENT) => {
                if let Some((folders, _)) = path.rsplit_once('/') {
                    self.make_folder(folders)?;
                }
                self.open_new(path)?
            }
            opened => opened?,
        };
        // The umask of the gateway must not decide which files a worker may read.
        rustix::fs::fchmod(&file, if executable { RUNNABLE } else { PLAIN })?;
        Ok(file.into())
    }

    fn open_new(&self, path: &str) -> rustix::io::Result<OwnedFd> {
        rustix::fs::openat2(&self.folder, path, NEW_FILE, PLAIN, INSIDE)
    }
}

/// Creates a folder unless it exists, and opens it.
fn enter(parent: BorrowedFd<'_>, part: &str) -> rustix::io::Result<OwnedFd> {
    match rustix::fs::mkdirat(parent, part, RUNNABLE) {
        Ok(()) => rustix::fs::chmodat(parent, part, RUNNABLE, AtFlags::empty())?,
        Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    rustix::fs::openat2(parent, part, FOLDER, Mode::empty(), INSIDE)
}
