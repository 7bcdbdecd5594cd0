//! Bodies that are too large for the database: files beside it, named by the call.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;

use crate::queue::call_id::CallId;

/// Which body of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// What the call is made of.
    Request,
    /// What its try with this serial came to. An earlier try that ends late does not overwrite it.
    Answer(u32),
}

impl Part {
    fn suffix(self) -> String {
        match self {
            Self::Request => "request".to_owned(),
            Self::Answer(serial) => format!("{serial}.answer"),
        }
    }
}

/// Makes a folder of the queue, for this user only.
///
/// # Errors
///
/// It cannot be made.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
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
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = match options.open(&path) {
            // Somebody has removed the folder.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_folder(folder)?;
                options.open(&path)?
            }
            opened => opened?,
        };
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

#[cfg(test)]
mod tests {
    use crate::queue::accepting::{Bounds, ROW_BYTES};
    use crate::queue::call::{Answer, INLINE, NewCall};
    use crate::queue::progress::{State, TryEnd};
    use crate::queue::trying::Room;
    use crate::queue::{Queue, now};

    #[tokio::test]
    async fn answers_that_can_be_read_are_kept_and_count_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let queue = Queue::new(folder.path(), Bounds { waiting: 10, bytes: 64 << 20 });
        queue.accept(NewCall { expires: now() + 600_000, ..NewCall::sample(1) }).await.unwrap();
        assert_eq!(queue.run(|database| database.room()).await.unwrap(), (1, ROW_BYTES + 2));
        let head = "h".repeat(1000).into();
        let answer = Answer { status: 500, head, body: vec![7; INLINE + 1].into(), ..Answer::default() };
        let room = Room { tries: 1, callbacks: 0, bytes: 1 };
        let bodies = queue.bodies();
        let files = || std::fs::read_dir(&bodies).map_or(0, Iterator::count);
        for (how, state) in [(TryEnd::Failed, State::Queued), (TryEnd::Done, State::Done)] {
            // Somebody has removed the folder.
            let _removed = std::fs::remove_dir_all(&bodies);
            queue
                .run(|database| Ok(database.connection.execute("UPDATE calls SET due = 0", []).unwrap()))
                .await
                .unwrap();
            let begun = queue.begin_tries("".into(), room, |_| 1).await.unwrap();
            assert_eq!(queue.end(&begun.tries[0], how, Some(answer.clone())).await.unwrap(), Some(state));
            assert_eq!(files(), usize::from(state == State::Done), "nobody reads what a try failed with");
        }
        let held = ROW_BYTES + 1000 + answer.body.len() as u64;
        assert_eq!(queue.run(|database| database.room()).await.unwrap(), (0, held));
        let (kept, head) = queue.look(NewCall::sample(1).id).await.unwrap().unwrap();
        assert_eq!(queue.answer(kept, head.unwrap()).await.unwrap().unwrap().body, answer.body);
    }
}
