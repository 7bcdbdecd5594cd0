//! How far a gateway has come with the changes of its cluster.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;

/// Deployments whose failures are named, at most.
const NAMED: usize = 32;
/// Longest reason, in bytes.
const REASON: usize = 500;

/// Which changes have been made on this gateway.
#[derive(Default)]
pub(super) struct Progress {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The newest revision that was heard of.
    heard: u64,
    /// Revisions that are being worked on.
    pending: BTreeSet<u64>,
    /// What could not be done, by deployment.
    failures: BTreeMap<String, String>,
}

/// What others are told about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reached {
    /// All changes up to this revision have been made, or have failed.
    pub(super) applied: u64,
    pub(super) failures: BTreeMap<String, String>,
}

impl Progress {
    pub(super) fn hear(&self, revision: u64) {
        let mut state = self.state.lock();
        state.heard = state.heard.max(revision);
        state.pending.insert(revision);
    }

    /// The registry is another one, whose revisions begin anew.
    pub(super) fn start_again(&self) {
        *self.state.lock() = State::default();
    }

    /// A newer revision of the same deployment has come.
    pub(super) fn skip(&self, revision: u64) {
        self.state.lock().pending.remove(&revision);
    }

    /// A change was made, or why it was not. Returns whether that is another outcome than before.
    pub(super) fn end(&self, name: &str, revision: u64, failure: Option<String>) -> bool {
        let mut state = self.state.lock();
        state.pending.remove(&revision);
        let Some(mut reason) = failure else { return state.failures.remove(name).is_some() };
        reason.truncate(reason.floor_char_boundary(REASON));
        let has_room = state.failures.len() < NAMED || state.failures.contains_key(name);
        let before = if has_room { state.failures.insert(name.to_owned(), reason.clone()) } else { None };
        before.as_ref() != Some(&reason)
    }

    pub(super) fn reached(&self) -> Reached {
        let state = self.state.lock();
        let applied = state.pending.first().map_or(state.heard, |first| first - 1);
        Reached { applied, failures: state.failures.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_has_come_as_far_as_its_oldest_change_that_is_not_made() {
        let progress = Progress::default();
        for revision in [3, 4, 7] {
            progress.hear(revision);
        }
        progress.end("b", 4, None);
        assert_eq!(progress.reached().applied, 2);
        let fail = |revision| progress.end("a", revision, Some("it does not load".to_owned()));
        assert!(fail(3) && !fail(3), "the same failure is told once");
        assert_eq!(progress.reached().applied, 6);
        progress.skip(7);
        assert_eq!(progress.reached().applied, 7);
        assert_eq!(progress.reached().failures["a"], "it does not load");
        progress.hear(8);
        progress.end("a", 8, None);
        assert!(progress.reached().failures.is_empty());
    }
}
