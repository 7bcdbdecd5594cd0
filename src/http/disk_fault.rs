//! The answer when the disk of the gateway fails.

use std::io;
use std::time::Duration;

use rustix::io::Errno;

use crate::http::problem::{Code, Problem};

/// `Retry-After` when the disk is read-only: an operator has to act.
const READ_ONLY_RETRY: Duration = Duration::from_secs(30);
/// `Retry-After` of shortages that pass by themselves.
const SOON: Duration = Duration::from_secs(1);

/// The answer to a change that cannot be stored for now.
#[must_use]
pub fn read_only(message: impl Into<String>) -> Problem {
    Problem::new(Code::ReadOnly, message).retry_after(READ_ONLY_RETRY)
}

/// The answer when the disk failed during `act`, such as "unpacking the package". The cause goes to the log.
#[must_use]
pub fn from_disk(error: &io::Error, act: &str) -> Problem {
    tracing::error!(%error, act, "storage failed");
    match Errno::from_io_error(error) {
        Some(Errno::NOSPC | Errno::DQUOT) => {
            Problem::new(Code::InsufficientStorage, format!("no space is left on the disk: {act} failed"))
        }
        Some(Errno::FBIG) => {
            Problem::new(Code::InsufficientStorage, format!("a file of the gateway may not be so large: {act} failed"))
        }
        Some(Errno::MFILE | Errno::NFILE) => {
            let message = format!("too many files are open: {act} failed");
            Problem::new(Code::Overloaded, message).retry_after(SOON)
        }
        Some(Errno::ROFS) => read_only(format!("the disk cannot be written to: {act} failed")),
        _ => Problem::new(Code::StorageError, format!("the disk failed: {act} failed")),
    }
}
