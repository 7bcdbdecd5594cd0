//! The two outputs of a process.

use std::time::Duration;

/// How long the pipes of a process that has ended are read on: a grandchild may keep them open for ever.
pub const LAST_OUTPUT: Duration = Duration::from_millis(100);

/// Which output of a process a text came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}
