//! Why the queue did not do what it was asked for.

use std::io;
use std::sync::Arc;

use rusqlite::ErrorCode;

/// A fault of the queue. What was asked for has not happened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Fault {
    /// The disk, or the room for asynchronous calls on it, is full.
    #[error("{0}")]
    Full(Arc<str>),
    /// More calls wait than may wait.
    #[error("{0} calls wait, as many as may ([async] max_waiting)")]
    TooMany(u64),
    /// The file is not usable now.
    #[error("{0}")]
    Broken(Arc<str>),
    /// The file is not whole any more: what is written into it may be lost.
    #[error("{0}")]
    Damaged(Arc<str>),
    /// The queue has stopped, or was interrupted.
    #[error("the queue of asynchronous calls has stopped")]
    Stopped,
}

impl Fault {
    /// The fault of a file beside the queue.
    #[must_use]
    pub fn of_io(what: &str, error: &io::Error) -> Self {
        let text: Arc<str> = format!("{what}: {error}").into();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(text),
            _ => Self::Broken(text),
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        let code = error.sqlite_error_code();
        let text: Arc<str> = error.to_string().into();
        match code {
            Some(ErrorCode::DiskFull) => Self::Full("the disk is full".into()),
            // A file system that is full fails in these ways, too, while SQLite extends its shared memory or its log.
            Some(ErrorCode::SystemIoFailure) if is_full(&error) => Self::Full("the disk is full".into()),
            Some(ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Damaged(text)
            }
            _ => Self::Broken(text),
        }
    }
}

fn is_full(error: &rusqlite::Error) -> bool {
    const IOERR_SHMSIZE: i32 = 4874;
    const IOERR_WRITE: i32 = 778;
    matches!(error, rusqlite::Error::SqliteFailure(failure, _)
        if matches!(failure.extended_code, IOERR_SHMSIZE | IOERR_WRITE))
}
