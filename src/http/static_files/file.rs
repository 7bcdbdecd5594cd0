//! Opens a file below a folder: only a plain file, and without following a link in any part of its path.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Attempts to open a file. While folders are renamed the kernel cannot decide whether the file is below the folder,
/// and answers EAGAIN: see `openat2(2)`, RESOLVE_BENEATH.
const TRIES: usize = 16;

/// A plain file, open.
#[derive(Debug)]
pub(super) struct StaticFile {
    /// The open file.
    pub(super) file: Arc<File>,
    /// Its length in bytes.
    pub(super) size: u64,
    /// When its content last changed, in whole seconds as in HTTP, never in the future.
    pub(super) modified: SystemTime,
    /// The entity tag of file and content, in quotes.
    pub(super) etag: String,
}

/// Why a file cannot be read.
#[derive(Debug)]
pub(super) enum OpenError {
    /// There is no plain file at this path, or the path leads out of the folder.
    None,
    /// The operating system failed.
    Fault(io::Error),
}

impl From<Errno> for OpenError {
    fn from(errno: Errno) -> Self {
        match errno {
            // A link, a path out of the folder, a name that is not valid, a socket.
            Errno::NOENT
            | Errno::NOTDIR
            | Errno::LOOP
            | Errno::XDEV
            | Errno::ACCESS
            | Errno::NAMETOOLONG
            | Errno::NXIO
            | Errno::ISDIR => Self::None,
            _ => Self::Fault(errno.into()),
        }
    }
}

/// Opens the plain file `path` of a folder. Files at or below a `private` path are refused, unless the folder itself
/// is below that path. Blocks.
pub(super) fn open(folder: &Path, path: &Path, private: &[PathBuf]) -> Result<StaticFile, OpenError> {
    let folder = rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    // Opening a device can have effects, so the type is checked first, on a descriptor that cannot read.
    let found = open_below(&folder, path, OFlags::PATH)?;
    if !is_plain(&rustix::fs::fstat(&found)?) {
        return Err(OpenError::None);
    }
    let (root, real) = (real_path(&folder)?, real_path(&found)?);
    if private.iter().any(|private| real.starts_with(private) && !root.starts_with(private)) {
        return Err(OpenError::None);
    }
    // A pipe may have replaced the file since: without NONBLOCK, opening it would block until another process writes.
    let file = open_below(&folder, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
    let stat = rustix::fs::fstat(&file)?;
    if !is_plain(&stat) {
        return Err(OpenError::None);
    }
    let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
    Ok(StaticFile {
        file: Arc::new(File::from(file)),
        size: u64::try_from(stat.st_size).unwrap_or(0),
        modified: (UNIX_EPOCH + Duration::from_secs(seconds)).min(this_second()),
        etag: format!("\"{:x}-{seconds:x}.{:x}-{:x}\"", stat.st_size, stat.st_mtime_nsec, stat.st_ino),
    })
}

/// The real path of an open file or folder.
fn real_path(open: impl AsFd) -> Result<PathBuf, OpenError> {
    let link = format!("/proc/self/fd/{}", open.as_fd().as_raw_fd());
    std::fs::read_link(link).map_err(OpenError::Fault)
}

fn open_below(folder: impl AsFd, path: &Path, flags: OFlags) -> Result<rustix::fd::OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mut opened = Err(Errno::AGAIN);
    for _ in 0..TRIES {
        opened = rustix::fs::openat2(&folder, path, flags, Mode::empty(), resolve);
        if !matches!(opened, Err(Errno::AGAIN)) {
            break;
        }
    }
    opened
}

fn is_plain(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

fn this_second() -> SystemTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn opens(folder: &Path, path: &str) -> bool {
        open(folder, Path::new(path), &[]).is_ok()
    }

    #[test]
    fn nothing_but_plain_files_below_the_folder_opens() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("folder");
        fs::create_dir_all(folder.join("sub")).unwrap();
        fs::write(outer.path().join("secret"), "s").unwrap();
        fs::write(folder.join("sub/a.txt"), "abc").unwrap();
        symlink("sub/a.txt", folder.join("link")).unwrap();
        symlink("sub", folder.join("linked")).unwrap();
        symlink("/etc/passwd", folder.join("passwd")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, folder.join("pipe"), Mode::RUSR | Mode::WUSR).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(folder.join("socket")).unwrap();
        assert!(opens(&folder, "sub/a.txt"));
        for path in [
            "link",
            "linked/a.txt",
            "passwd",
            "pipe",
            "socket",
            "sub",
            "../secret",
            "/etc/passwd",
            "none",
            "sub/a.txt/b",
        ] {
            assert!(!opens(&folder, path), "{path}");
        }
    }

    #[test]
    fn the_folder_itself_may_be_reached_through_a_link() {
        let outer = tempfile::tempdir().unwrap();
        fs::create_dir(outer.path().join("folder")).unwrap();
        fs::write(outer.path().join("folder/a.txt"), "abc").unwrap();
        symlink("folder", outer.path().join("current")).unwrap();
        let file = open(&outer.path().join("current"), Path::new("a.txt"), &[]).unwrap();
        assert_eq!(file.size, 3);
    }
}
