//! How much an archive may hold and cost, and what happens to its links.

use std::time::Duration;

/// What becomes of the symbolic links in an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// An archive with one is refused.
    Refuse,
    /// Each becomes a small file that holds its target, as git does without `core.symlinks`.
    AsText,
}

/// How much an archive may hold and cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Files and folders, those counted too that only paths name.
    pub entries: u64,
    /// Bytes of all files, unpacked.
    pub total: u64,
    /// Bytes of a file, unpacked.
    pub file: u64,
    /// Unpacked bytes for each packed one, of a file and of all, from 1 MiB on.
    pub ratio: u64,
    /// Parts of a path.
    pub depth: usize,
    /// Bytes of a part of a path.
    pub name: usize,
    /// Bytes of a path.
    pub path: usize,
    /// Time on a processor.
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
