//! The user that a process tree runs as, where that is not the gateway's: only a gateway that runs as root can do this.
//! The files of the data folder that a worker needs become this user's, and the way to them is opened.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Uid, chownat, fchown, fstat, openat, statat};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// Folders in folders at most while the owner of files changes.
const MOST_DEPTH: usize = 128;
/// Lets others pass through a folder without listing it.
const PASS: u32 = 0o001;

/// A user and its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// Its id.
    pub uid: u32,
    /// The id of its group.
    pub gid: u32,
}

impl User {
    /// The user that is also the owner of this group alone: ids without an entry in `/etc/passwd`.
    #[must_use]
    pub fn alone(uid: u32) -> Self {
        Self { uid, gid: uid }
    }

    /// The form that [`fmt::Display`] writes.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (uid, gid) = text.split_once(':')?;
        Some(Self { uid: uid.parse().ok()?, gid: gid.parse().ok()? })
    }

    fn ids(self) -> (Uid, Gid) {
        (Uid::from_raw(self.uid), Gid::from_raw(self.gid))
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

/// Gives an open file to a user.
///
/// # Errors
///
/// The gateway does not run as root.
pub fn give_file(file: impl AsFd, user: User) -> io::Result<()> {
    let (uid, gid) = user.ids();
    Ok(fchown(file, Some(uid), Some(gid))?)
}

/// Makes this process, which has one thread, the user's, without further groups. Its output stays its own to open.
pub(super) fn become_user(user: User) -> rustix::io::Result<()> {
    let (uid, gid) = user.ids();
    for output in [io::stdout().as_fd(), io::stderr().as_fd()] {
        if fstat(output).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo) {
            fchown(output, Some(uid), Some(gid))?;
        }
    }
    set_thread_groups(&[])?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)
}

/// Lets every user pass through the folders from `folder` down to the one that holds `path`.
pub(super) fn open_way(folder: &Path, path: &Path) -> io::Result<()> {
    let on_the_way = path.ancestors().skip(1).take_while(|ancestor| ancestor.starts_with(folder));
    for ancestor in on_the_way {
        let mode = fs::metadata(ancestor)?.mode() & 0o7777;
        if mode & PASS == 0 {
            fs::set_permissions(ancestor, fs::Permissions::from_mode(mode | PASS))?;
        }
    }
    Ok(())
}

/// Gives a folder with all that is in it to a user, unless it is the user's. Links are not followed. A file with
/// several names is left as it is unless it belongs to the folder's owner: it may be another one's.
pub(super) fn give(folder: &Path, user: User) -> io::Result<()> {
    let opened = open_folder(CWD, folder)?;
    let owner = fstat(&opened)?.st_uid;
    if owner == user.uid {
        return Ok(());
    }
    give_entries(&opened, owner, user, MOST_DEPTH)?;
    // Last: a change that was interrupted is repeated.
    let (uid, gid) = user.ids();
    fchown(&opened, Some(uid), Some(gid))?;
    Ok(())
}

fn give_entries(folder: &OwnedFd, owner: u32, user: User, depth: usize) -> io::Result<()> {
    if depth == 0 {
        return Err(io::Error::other(format!("folders are nested more than {MOST_DEPTH} deep")));
    }
    let (uid, gid) = user.ids();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if is_folder {
            give_entries(&open_folder(folder, name)?, owner, user, depth - 1)?;
        }
        if is_folder || stat.st_nlink == 1 || stat.st_uid == owner {
            chownat(folder, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
    }
    Ok(())
}

fn open_folder<P: rustix::path::Arg>(at: impl AsFd, name: P) -> rustix::io::Result<OwnedFd> {
    openat(at, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// The first folder on the way to `path` that a user cannot pass through, or `path` itself if the user cannot read it,
/// or cannot pass through it where `passage` is enough. Access lists are not looked at.
#[must_use]
pub fn closed_to(user: User, path: &Path, passage: bool) -> Option<PathBuf> {
    let mut way: Vec<&Path> = path.ancestors().collect();
    way.reverse();
    let is_closed = |path: &Path, wanted: u32| {
        let Ok(meta) = fs::metadata(path) else { return false };
        let shift = match (meta.uid() == user.uid, meta.gid() == user.gid) {
            (true, _) => 6,
            (false, true) => 3,
            (false, false) => 0,
        };
        (meta.mode() >> shift) & wanted != wanted
    };
    let folder = way.iter().take(way.len() - 1).find(|folder| is_closed(folder, 1));
    let read = if passage {
        1
    } else if path.is_dir() {
        5
    } else {
        4
    };
    folder.copied().or_else(|| is_closed(path, read).then_some(path)).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_closed_to_a_user_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("inner/file");
        fs::create_dir(folder.path().join("inner")).unwrap();
        fs::write(&path, "").unwrap();
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        set(folder.path(), 0o711);
        set(&path, 0o640);
        let (owner, stranger) = (fs::metadata(&path).unwrap(), User::alone(4_000_000_000));
        let group = User { uid: 4_000_000_000, gid: owner.gid() };
        set(&folder.path().join("inner"), 0o755);
        assert_eq!(closed_to(User { uid: owner.uid(), gid: owner.gid() }, &path, false), None);
        assert_eq!(closed_to(group, &path, false), None);
        assert_eq!(closed_to(stranger, &path, false), Some(path.clone()));
        set(&folder.path().join("inner"), 0o750);
        assert_eq!(closed_to(stranger, &path, false), Some(folder.path().join("inner")));
        open_way(folder.path(), &path).unwrap();
        set(&path, 0o644);
        assert_eq!(closed_to(stranger, &path, false), None);
    }

    #[test]
    fn a_user_is_written_and_read_back() {
        let user = User { uid: 5, gid: 7 };
        assert_eq!(User::parse(&user.to_string()), Some(user));
        assert_eq!(User::parse("5"), None);
    }
}
