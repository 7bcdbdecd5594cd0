//! Why files of a repository cannot be fetched.

use std::io;
use std::time::Duration;

/// Why a repository cannot be fetched.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// The address is not allowed.
    #[error("{0}")]
    BadUrl(String),
    /// The name is not valid for a branch.
    #[error("{0}")]
    BadBranch(String),
    /// The repository does not have this branch.
    #[error("the repository has no branch {0:?}")]
    NoSuchBranch(String),
    /// The repository has no commit.
    #[error("the repository is empty")]
    Empty,
    /// git failed.
    #[error("{reason}{}", quoted(.output))]
    Failed {
        /// The reason.
        reason: String,
        /// The last 4 KiB of git's output.
        output: String,
    },
    /// The timeout has passed.
    #[error("the repository was not fetched within {limit:?}{}", quoted(.output))]
    TimedOut {
        /// The timeout.
        limit: Duration,
        /// The last 4 KiB of git's output.
        output: String,
    },
    /// The repository is too large.
    #[error("the repository has more than {limit} bytes")]
    TooLarge {
        /// Most bytes that it may have.
        limit: u64,
    },
    /// git is not installed.
    #[error("repositories need \"git\", which is not on the gateway's PATH: install it")]
    NoGit,
    /// The staging folder cannot be used.
    #[error("fetching a repository: {0}")]
    Disk(#[from] io::Error),
}

/// `; git says: …`, or nothing if git printed nothing.
fn quoted(output: &str) -> String {
    if output.is_empty() { String::new() } else { format!("; git says: {output}") }
}
