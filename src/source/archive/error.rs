//! Why an archive cannot be unpacked, and how messages name its entries.

use std::io;

/// How many characters of a name a message quotes.
const QUOTED_NAME: usize = 200;

/// Why an archive is not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The archive breaks a rule; the reason names the entry if there is one.
    #[error("{0}")]
    Bad(String),
    /// The archive cannot be read, or a file cannot be written.
    #[error(transparent)]
    Disk(#[from] io::Error),
}

/// An error for an archive that breaks a rule; `reason` is for the person who packed it.
pub(super) fn refused(reason: String) -> ArchiveError {
    ArchiveError::Bad(reason)
}

/// A name as messages have it: in quotes, and cut after 200 characters.
pub(super) fn quote(name: &str) -> String {
    match name.char_indices().nth(QUOTED_NAME) {
        None => format!("{name:?}"),
        Some((end, _)) => format!("{:?}…", &name[..end]),
    }
}
