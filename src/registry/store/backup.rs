//! A copy of a data folder while a gateway uses it. The files of a release never change, and are removed after no
//! record names them any more. So a deployment's copy is consistent if its record is the same before and after its
//! files were copied; if not, they are copied again. The copy is a data folder itself.

use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, Metadata};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;

use crate::deployment::DeploymentName;
use crate::registry::durable;
use crate::registry::format::{self, BadFormat};
use crate::registry::record::{BadRecord, Record};

/// How often the files of a deployment are copied while it is deployed again and again.
const TRIES: u32 = 20;
/// How files are opened: without waiting for the other end of a pipe.
const OPENED: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);
/// Files of a data folder that are copied as they are: they are replaced as a whole.
const WHOLE: [&str; 2] = ["format", "users"];

/// What was copied.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// The number of deployments.
    pub deployments: usize,
    /// The number of their releases.
    pub releases: usize,
    /// Deployments whose record cannot be read, and which were left out.
    pub damaged: Vec<String>,
}

/// Why a copy was not made.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The data folder is one of a later gateway.
    #[error(transparent)]
    Format(#[from] BadFormat),
    /// There is no data folder.
    #[error("there is no data folder {0}: check \"data_dir\"")]
    Missing(String),
    /// A record is.
    #[error("{0}: {1}")]
    Record(String, BadRecord),
    /// There is something where the copy should be.
    #[error("{0} exists and is not empty: name another folder")]
    Exists(String),
    /// The copy would be in what is copied.
    #[error("{0} is inside the data folder: name another folder")]
    Inside(String),
    /// A deployment changes faster than it can be copied.
    #[error("{0:?} was deployed again each of {TRIES} times that it was copied")]
    Busy(DeploymentName),
    /// Reading or writing failed.
    #[error("{0}: {1}")]
    Disk(String, io::Error),
}

/// Copies what a data folder holds for good into the folder `to`, which must not exist or be empty: deployments with
/// their releases and uploads, and the users they run as. Logs and caches are left out. Blocks.
///
/// # Errors
///
/// The data folder cannot be read, or `to` not written. `to` then has a part of the copy.
pub fn copy(data_dir: &Path, to: &Path) -> Result<Copied, BackupError> {
    format::check(data_dir)?;
    // Its parent is synced by its path.
    let to = &std::path::absolute(to).map_err(|error| BackupError::Disk(to.display().to_string(), error))?;
    let disk = |path: &Path| {
        let path = path.display().to_string();
        move |error| BackupError::Disk(path, error)
    };
    let root = data_dir.join("deployments");
    let names: Vec<_> = match fs::read_dir(&root) {
        Ok(entries) => entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect(),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(disk(&root)(error)),
        // Nothing has been deployed; but a folder that is not there is a slip.
        Err(_) if data_dir.is_dir() => Vec::new(),
        Err(_) => return Err(BackupError::Missing(data_dir.display().to_string())),
    };
    make_target(to).map_err(disk(to))?;
    if fs::read_dir(to).map_err(disk(to))?.next().is_some() {
        return Err(BackupError::Exists(to.display().to_string()));
    }
    if is_inside(to, data_dir).map_err(disk(to))? {
        fs::remove_dir(to).map_err(disk(to))?;
        return Err(BackupError::Inside(to.display().to_string()));
    }
    let target = to.join("deployments");
    durable::make_folder(&target).map_err(disk(&target))?;
    for file in WHOLE.map(|file| data_dir.join(file)) {
        if file.is_file() {
            copy_tree(&file, &to.join(file.file_name().unwrap_or_default())).map_err(disk(&file))?;
        }
    }
    let mut copied = Copied::default();
    for name in names.iter().filter_map(|name| DeploymentName::new(name).ok()) {
        match copy_deployment(&name, &root.join(name.as_str()), &target.join(name.as_str()))? {
            Found::Record(record) => {
                copied.deployments += 1;
                copied.releases += record.releases.len();
            }
            Found::Nothing => {}
            Found::Damaged => copied.damaged.push(name.to_string()),
        }
    }
    durable::sync_tree(to).map_err(disk(to))?;
    Ok(copied)
}

enum Found {
    Record(Box<Record>),
    Nothing,
    Damaged,
}

fn copy_deployment(name: &DeploymentName, from: &Path, to: &Path) -> Result<Found, BackupError> {
    let disk = |error| BackupError::Disk(from.display().to_string(), error);
    for _ in 0..TRIES {
        let Some((text, found)) = read_record(from)? else { return Ok(Found::Nothing) };
        let Found::Record(record) = &found else { return Ok(found) };
        if record.deleted {
            return Ok(Found::Nothing);
        }
        let copied = copy_files(record, from, to);
        if read_record(from)?.is_some_and(|(now, _)| now == text) {
            copied.and_then(|()| write_record(to, &text)).map_err(disk)?;
            return Ok(found);
        }
        // What was copied may lack files that a deploy or a delete has removed.
        if to.exists() {
            fs::remove_dir_all(to).map_err(disk)?;
        }
    }
    Err(BackupError::Busy(name.clone()))
}

/// The record that counts, and its text: as at a start, that of the generation before if the newest one is damaged.
fn read_record(folder: &Path) -> Result<Option<(Vec<u8>, Found)>, BackupError> {
    let mut damaged = None;
    for path in [folder.join("record"), folder.join("record.previous")] {
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(BackupError::Disk(path.display().to_string(), error)),
        };
        match Record::decode(&text) {
            Ok(record) => return Ok(Some((text, Found::Record(Box::new(record))))),
            Err(BadRecord::Corrupt(_)) => damaged = Some((text, Found::Damaged)),
            Err(newer @ BadRecord::Newer(_)) => return Err(BackupError::Record(path.display().to_string(), newer)),
        }
    }
    Ok(damaged)
}

fn copy_files(record: &Record, from: &Path, to: &Path) -> io::Result<()> {
    let releases = record.folders().into_iter().map(|number| PathBuf::from("files").join(number.to_string()));
    let upload = record.upload.iter().map(|upload| PathBuf::from("uploads").join(&upload.archive));
    durable::make_folder(to)?;
    for path in releases.chain(upload) {
        let target = to.join(&path);
        target.parent().map_or(Ok(()), durable::make_folder)?;
        copy_tree(&from.join(&path), &target)?;
    }
    keep_metadata(to, &fs::symlink_metadata(from)?)
}

fn write_record(folder: &Path, text: &[u8]) -> io::Result<()> {
    durable::write(&folder.join("record"), text)
}

/// Makes the target's folder private: it holds the variables of deployments.
fn make_target(to: &Path) -> io::Result<()> {
    to.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), fs::create_dir_all)?;
    durable::make_folder(to)
}

fn is_inside(path: &Path, folder: &Path) -> io::Result<bool> {
    Ok(path.canonicalize()?.starts_with(folder.canonicalize()?))
}

/// Copies a file, a link, or a folder with everything in it, with owners, modes and times. Functions may change their
/// files meanwhile: links are copied, never followed, and what is opened is what is looked at.
fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (from.parent(), from.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let parent = Arc::new(rustix::fs::open(parent, OPENED | OFlags::DIRECTORY, Mode::empty())?);
    // Innermost folders are finished first: a file that is added changes a folder's time.
    let mut waiting = vec![(parent, name.to_owned(), to.to_owned())];
    let mut folders = Vec::new();
    while let Some((parent, name, to)) = waiting.pop() {
        let mut file = match rustix::fs::openat(&parent, &name, OPENED | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(opened) => File::from(opened),
            Err(Errno::LOOP) => {
                copy_link(&parent, &name, &to)?;
                continue;
            }
            // A socket; or a function has removed a file of its own meanwhile.
            Err(Errno::NXIO) => continue,
            Err(Errno::NOENT) if !folders.is_empty() => continue,
            Err(error) => return Err(error.into()),
        };
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            durable::make_folder(&to)?;
            let folder = Arc::new(OwnedFd::from(file));
            for entry in Dir::read_from(&folder)? {
                let name = OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned();
                if name != "." && name != ".." {
                    waiting.push((Arc::clone(&folder), name.clone(), to.join(name)));
                }
            }
            folders.push((to, metadata));
        } else if metadata.is_file() {
            // No more than it had: a function may go on writing.
            io::copy(&mut file.by_ref().take(metadata.len()), &mut File::create_new(&to)?)?;
            keep_metadata(&to, &metadata)?;
        }
    }
    folders.iter().rev().try_for_each(|(path, metadata)| keep_metadata(path, metadata))
}

fn copy_link(parent: &OwnedFd, name: &OsStr, to: &Path) -> io::Result<()> {
    let target = rustix::fs::readlinkat(parent, name, Vec::new())?;
    let owner = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    symlink(OsStr::from_bytes(target.as_bytes()), to)?;
    keep_owner(to, owner.st_uid, owner.st_gid)
}

fn keep_metadata(path: &Path, of: &Metadata) -> io::Result<()> {
    keep_owner(path, of.uid(), of.gid())?;
    let times = FileTimes::new().set_modified(of.modified()?).set_accessed(of.accessed()?);
    File::open(path)?.set_times(times)?;
    fs::set_permissions(path, of.permissions())
}

/// Only root can give files away; others own what they copy.
fn keep_owner(path: &Path, user: u32, group: u32) -> io::Result<()> {
    if rustix::process::geteuid().is_root() { lchown(path, Some(user), Some(group)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use rustix::fs::{CWD, FileType, RenameFlags, mknodat, renameat_with};

    use super::*;

    #[test]
    fn links_are_copied_as_links_and_pipes_and_sockets_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir_all(at("from/inner")).unwrap();
        fs::create_dir(at("outside")).unwrap();
        fs::write(at("outside/secret"), "secret").unwrap();
        fs::write(at("from/inner/own"), "own").unwrap();
        symlink(at("outside/secret"), at("from/file")).unwrap();
        symlink(at("outside"), at("from/folder")).unwrap();
        mknodat(CWD, at("from/pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        let _socket = UnixListener::bind(at("from/socket")).unwrap();
        copy_tree(&at("from"), &at("to")).unwrap();
        let mut names: Vec<_> = fs::read_dir(at("to")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["file", "folder", "inner"]);
        assert_eq!(fs::read_link(at("to/file")).unwrap(), at("outside/secret"));
        assert_eq!(fs::read_link(at("to/folder")).unwrap(), at("outside"));
        assert_eq!(fs::read(at("to/inner/own")).unwrap(), b"own");
    }

    #[test]
    fn files_and_folders_that_are_swapped_for_links_meanwhile_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir_all(at("from/folder")).unwrap();
        fs::create_dir(at("outside")).unwrap();
        fs::write(at("outside/name"), "secret").unwrap();
        fs::write(at("from/folder/name"), "own").unwrap();
        fs::write(at("from/file"), "own").unwrap();
        symlink(at("outside"), at("folder-link")).unwrap();
        symlink(at("outside/name"), at("file-link")).unwrap();
        let done = AtomicBool::new(false);
        let mut copied = Vec::new();
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    for name in ["file", "folder"] {
                        let (one, other) = (at("from").join(name), at(&format!("{name}-link")));
                        renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
                    }
                }
            });
            for round in 0..500 {
                let to = folder.path().join(format!("copy-{round}"));
                // A copy may fail, as one of a folder that changes.
                let _copied = copy_tree(&at("from"), &to);
                for name in ["file", "folder/name"].map(|name| to.join(name)) {
                    let is_link = |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
                    if !is_link(&name) && !is_link(name.parent().unwrap()) {
                        copied.extend(fs::read_to_string(&name));
                    }
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        assert!(!copied.is_empty() && copied.iter().all(|text| text == "own"), "{copied:?}");
    }
}
