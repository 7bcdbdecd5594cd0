//! Why files of a repository cannot be fetched.

use std::io;
use std::time::Duration;

/// Why a repository cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// Nothing is fetched from such an address.
    #[error("{0}")]
    BadUrl(String),
    /// No branch can have this name.
    #[error("{0}")]
    BadBranch(String),
    /// The repository has no such branch.
    #[error("the repository has no branch {0:?}")]
    NoSuchBranch(String),
    /// The repository has no commit.
    #[error("the repository is empty")]
    Empty,
    /// git could not fetch it.
    #[error("{reason}{}", quoted(.output))]
    Failed {
        /// What is wrong, in words.
        reason: String,
        /// The last 4 KiB of what git said.
        output: String,
    },
    /// It took too long.
    #[error("the repository was not fetched within {limit:?}{}", quoted(.output))]
    TimedOut {
        /// The time that it had.
        limit: Duration,
        /// The last 4 KiB of what git said.
        output: String,
    },
    /// It is too large.
    #[error("the repository has more than {limit} bytes")]
    TooLarge {
        /// Most bytes that it may have.
        limit: u64,
    },
    /// There is no git.
    #[error("repositories need \"git\", which is not on the gateway's PATH: install it")]
    NoGit,
    /// The staging folder cannot be used.
    #[error("fetching a repository: {0}")]
    Disk(#[from] io::Error),
}

/// `; git says: …`, or nothing where it said nothing.
fn quoted(output: &str) -> String {
    if output.is_empty() { String::new() } else { format!("; git says: {output}") }
}
