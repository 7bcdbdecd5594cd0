//! How often what is deployed, and the configuration, was changed.

use std::sync::atomic::{AtomicU64, Ordering};

/// A kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// A deploy over HTTP.
    Deploy,
    /// A rollback to an earlier release.
    Rollback,
    /// A deployment was deleted.
    Delete,
    /// The configuration was read again.
    Reload,
}

impl ChangeKind {
    const ALL: [Self; 4] = [Self::Deploy, Self::Rollback, Self::Delete, Self::Reload];

    fn as_str(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Rollback => "rollback",
            Self::Delete => "delete",
            Self::Reload => "reload",
        }
    }
}

/// The changes since the start: those of each kind that were made, and those that failed.
#[derive(Debug, Default)]
pub struct Changes([[AtomicU64; 2]; ChangeKind::ALL.len()]);

impl Changes {
    /// Counts a change.
    pub fn add(&self, kind: ChangeKind, is_made: bool) {
        self.0[kind as usize][usize::from(!is_made)].fetch_add(1, Ordering::Relaxed);
    }

    /// Each kind and outcome, `ok` or `failed`, with the changes.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        ChangeKind::ALL.into_iter().flat_map(|kind| {
            let counts = self.0[kind as usize].iter().map(|count| count.load(Ordering::Relaxed));
            ["ok", "failed"].into_iter().zip(counts).map(move |(outcome, count)| (kind.as_str(), outcome, count))
        })
    }
}
