//! Why an archive cannot be unpacked, and how messages name its entries.

use std::io;

/// How many characters of a name a message quotes.
const QUOTED_NAME: usize = 200;

/// Why an archive gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is refused; the words name the entry where there is one.
    #[error("{0}")]
    Bad(String),
    /// It cannot be read, or its files cannot be written.
    #[error(transparent)]
    Disk(#[from] io::Error),
}

/// The archive breaks a rule; `reason` is for whoever packed it.
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
