//! How often what is deployed, and the configuration, was changed, and the last of these changes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// Changes that are kept.
const LAST: usize = 64;

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

    /// Its name in metrics and events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
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
pub struct Changes {
    counts: [[AtomicU64; 2]; ChangeKind::ALL.len()],
    last: Mutex<LastChanges>,
}

#[derive(Debug, Default)]
struct LastChanges {
    changes: VecDeque<MadeChange>,
    /// The number of the next one.
    next: u64,
}

/// A change that was made or has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeChange {
    /// Its kind.
    pub kind: ChangeKind,
    /// The deployment; none for a reload.
    pub deployment: Option<Box<str>>,
    /// Whether it was made.
    pub is_made: bool,
}

impl Changes {
    /// Counts a change, of this deployment if it is of one.
    pub fn add(&self, kind: ChangeKind, deployment: Option<&str>, is_made: bool) {
        self.counts[kind as usize][usize::from(!is_made)].fetch_add(1, Ordering::Relaxed);
        let mut last = self.last.lock();
        if last.changes.len() == LAST {
            last.changes.pop_front();
        }
        last.changes.push_back(MadeChange { kind, deployment: deployment.map(Into::into), is_made });
        last.next += 1;
    }

    /// The number that the next change will have.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.last.lock().next
    }

    /// The changes from this number on that are kept, and the number of the next one.
    #[must_use]
    pub fn since(&self, from: u64) -> (Vec<MadeChange>, u64) {
        let last = self.last.lock();
        let new = usize::try_from(last.next.saturating_sub(from)).unwrap_or(usize::MAX);
        let skip = last.changes.len().saturating_sub(new);
        (last.changes.iter().skip(skip).cloned().collect(), last.next)
    }

    /// Each kind and outcome, `ok` or `failed`, with the changes.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        ChangeKind::ALL.into_iter().flat_map(|kind| {
            let counts = self.counts[kind as usize].iter().map(|count| count.load(Ordering::Relaxed));
            ["ok", "failed"].into_iter().zip(counts).map(move |(outcome, count)| (kind.as_str(), outcome, count))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_changes_are_kept_and_all_are_counted() {
        let changes = Changes::default();
        for number in 0..100 {
            changes.add(ChangeKind::Deploy, Some(&format!("d{number}")), number % 2 == 0);
        }
        let from = changes.end();
        changes.add(ChangeKind::Reload, None, true);
        assert_eq!(changes.since(0).0.len(), LAST);
        let reload = MadeChange { kind: ChangeKind::Reload, deployment: None, is_made: true };
        assert_eq!((changes.since(from), changes.since(from + 1)), ((vec![reload], 101), (Vec::new(), 101)));
        let counts: Vec<_> = changes.counts().filter(|(_, _, count)| *count > 0).collect();
        assert_eq!(counts, [("deploy", "ok", 50), ("deploy", "failed", 50), ("reload", "ok", 1)]);
    }
}
