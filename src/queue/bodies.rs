//! Bodies that are too large for the database: files beside it, named by the call.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;

use crate::queue::call_id::CallId;

/// Which body of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// What the call is made of.
    Request,
    /// What it came to.
    Answer,
}

impl Part {
    fn suffix(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Answer => "answer",
        }
    }
}

/// The file of a body.
pub(super) fn path(folder: &Path, id: CallId, part: Part) -> PathBuf {
    folder.join(format!("{id}.{}", part.suffix()))
}

/// Writes a body; it is on the disk when this returns.
///
/// # Errors
///
/// The disk is full or fails; then there is no file.
pub(super) fn write(folder: &Path, id: CallId, part: Part, body: &[u8]) -> io::Result<()> {
    let path = path(folder, id, part);
    let written = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.write_all(body)?;
        file.sync_data()?;
        // The name, too.
        File::open(folder)?.sync_all()
    };
    written().inspect_err(|_| remove(folder, id, part))
}

/// Reads a body; none if its file is gone.
pub(super) fn read(folder: &Path, id: CallId, part: Part) -> Option<Bytes> {
    fs::read(path(folder, id, part)).map(Bytes::from).ok()
}

/// The bytes of a body; none if its file is gone.
pub(super) fn size(folder: &Path, id: CallId, part: Part) -> Option<u64> {
    fs::metadata(path(folder, id, part)).map(|metadata| metadata.len()).ok()
}

/// Removes a body, if it is there.
pub(super) fn remove(folder: &Path, id: CallId, part: Part) {
    match fs::remove_file(path(folder, id, part)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%id, %error, "the body of an asynchronous call was not removed");
        }
        _ => {}
    }
}

/// Removes the files of calls that are not kept, which a power loss may have left, if they are older than `age`: the
/// file of a call is there before the call.
pub(super) fn sweep(folder: &Path, age: Duration, kept: impl Fn(CallId) -> bool) -> io::Result<()> {
    let mut known = HashSet::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|name| name.split_once('.')).and_then(|(id, _)| id.parse().ok()) else {
            continue;
        };
        if !known.contains(&id) {
            let is_new = || -> io::Result<bool> {
                Ok(entry.metadata()?.modified()?.elapsed().map_or(true, |passed| passed < age))
            };
            if kept(id) {
                known.insert(id);
            } else if age.is_zero() || !is_new().unwrap_or(true) {
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}
