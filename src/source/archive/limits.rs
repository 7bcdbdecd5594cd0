//! How much an archive may hold and cost, and what happens to its links.

use std::time::Duration;

/// How symbolic links in an archive are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// An archive with a link is refused.
    Refuse,
    /// A link that stays inside the archive becomes a copy of what it points to; any other is refused.
    Follow,
    /// A link becomes a small file that holds its target, as git writes it without `core.symlinks`.
    AsText,
}

/// Limits of the contents of an archive and of the cost of unpacking it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Files and folders, including folders that appear only in paths.
    pub entries: u64,
    /// Bytes of all files, unpacked.
    pub total: u64,
    /// Bytes of a file, unpacked.
    pub file: u64,
    /// Unpacked bytes for each packed byte, of each file and of the archive. Less than 1 MiB is exempt.
    pub ratio: u64,
    /// Parts of a path.
    pub depth: usize,
    /// Bytes of a part of a path.
    pub name: usize,
    /// Bytes of a path.
    pub path: usize,
    /// CPU time.
    pub cpu: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 10_000,
            total: 256 << 20,
            file: 64 << 20,
            ratio: 200,
            depth: 32,
            name: 255,
            path: 1024,
            cpu: Duration::from_secs(5),
        }
    }
}
