//! Who may change a deployment: one at a time for each name, in the order in which they came.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

/// Changes of one deployment that may wait.
const WAITING: usize = 8;

/// The turns of all names.
#[derive(Default)]
pub(super) struct ChangeLocks {
    names: Mutex<HashMap<String, Name>>,
}

#[derive(Default)]
struct Name {
    lock: Arc<tokio::sync::Mutex<()>>,
    /// Asks whoever has the turn to give up what it does.
    give_up: CancellationToken,
    /// Those who have the turn or wait for it.
    users: usize,
}

/// The right to change a deployment; the next in line has it once this is dropped.
pub(super) struct ChangeLock {
    /// Whether what is done in it is not wanted any more.
    pub(super) given_up: CancellationToken,
    _guard: OwnedMutexGuard<()>,
    _place: Place,
}

/// A place in a name's line.
struct Place {
    turns: Arc<ChangeLocks>,
    name: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut names = self.turns.names.lock();
        if let Some(name) = names.get_mut(&self.name) {
            name.users -= 1;
            if name.users == 0 {
                names.remove(&self.name);
            }
        }
    }
}

impl ChangeLocks {
    /// Waits for the turn to change `name`; none if too many wait already.
    pub(super) async fn take(self: &Arc<Self>, name: &str) -> Option<ChangeLock> {
        self.line_up(name, WAITING).await
    }

    /// Waits for the turn to change `name`, however many wait.
    pub(super) async fn take_patiently(self: &Arc<Self>, name: &str) -> ChangeLock {
        self.line_up(name, usize::MAX - 1).await.expect("a line without end takes everybody")
    }

    /// Whether somebody has the turn.
    pub(super) fn is_taken(&self, name: &str) -> bool {
        self.names.lock().contains_key(name)
    }

    /// Asks whoever has the turn, and those who wait for it now, to give up.
    pub(super) fn give_up(&self, name: &str) {
        if let Some(name) = self.names.lock().get_mut(name) {
            std::mem::take(&mut name.give_up).cancel();
        }
    }

    async fn line_up(self: &Arc<Self>, name: &str, waiting: usize) -> Option<ChangeLock> {
        let (lock, given_up, place) = {
            let mut names = self.names.lock();
            let entry = names.entry(name.to_owned()).or_default();
            if entry.users > waiting {
                return None;
            }
            entry.users += 1;
            (Arc::clone(&entry.lock), entry.give_up.clone(), Place { turns: Arc::clone(self), name: name.to_owned() })
        };
        Some(ChangeLock { given_up, _guard: lock.lock_owned().await, _place: place })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn one_has_the_turn_eight_wait_and_the_next_is_sent_away() {
        let turns = Arc::new(ChangeLocks::default());
        let first = turns.take("math").await.unwrap();
        let mut waiting: Vec<_> = (0..WAITING).map(|_| Box::pin(turns.take("math"))).collect();
        for one in &mut waiting {
            assert!(one.now_or_never().is_none());
        }
        assert!(turns.take("math").await.is_none());
        assert!(turns.take("text").await.is_some());
        drop(first);
        assert!(waiting.remove(0).await.is_some());
    }

    #[tokio::test]
    async fn nothing_is_remembered_of_names_that_nobody_changes() {
        let turns = Arc::new(ChangeLocks::default());
        let turn = turns.take("math").await;
        let mut gone = Box::pin(turns.take("math"));
        assert!((&mut gone).now_or_never().is_none());
        drop((gone, turn));
        assert!(turns.names.lock().is_empty());
    }
}
