//! Change locks: one change of a deployment's name at a time, in the order in which the changes came.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

/// Changes of one name that may wait for its lock.
const MAX_WAITING: usize = 8;

/// The change locks of all names. A name has an entry only while a change of it runs or waits.
#[derive(Default)]
pub(super) struct ChangeLocks {
    names: Mutex<HashMap<String, Entry>>,
}

#[derive(Default)]
struct Entry {
    lock: Arc<tokio::sync::Mutex<()>>,
    /// Cancelled when the changes that run or wait now are to be given up.
    give_up: CancellationToken,
    /// Changes that run or wait.
    users: usize,
}

/// The right to change a name. The next change in line gets it when this is dropped.
pub(super) struct ChangeLock {
    /// Cancelled when this change is to be given up.
    pub(super) given_up: CancellationToken,
    // Fields drop in this order: the lock is free before the entry may go. The other way round, a change that comes
    // between the two would make a new entry with another lock, and two changes could run at once.
    _guard: OwnedMutexGuard<()>,
    _user: User,
}

/// One change that is counted in its name's entry until it is dropped.
struct User {
    locks: Arc<ChangeLocks>,
    name: String,
}

impl Drop for User {
    fn drop(&mut self) {
        let mut names = self.locks.names.lock();
        if let Some(entry) = names.get_mut(&self.name) {
            entry.users -= 1;
            if entry.users == 0 {
                names.remove(&self.name);
            }
        }
    }
}

impl ChangeLocks {
    /// Waits for the lock of `name`; none if too many changes wait already.
    pub(super) async fn acquire(self: &Arc<Self>, name: &str) -> Option<ChangeLock> {
        self.wait_in_line(name, MAX_WAITING).await
    }

    /// Waits for the lock of `name`, however many changes wait.
    pub(super) async fn acquire_unbounded(self: &Arc<Self>, name: &str) -> ChangeLock {
        self.wait_in_line(name, usize::MAX - 1).await.expect("a line without a limit is never full")
    }

    /// Whether no change runs or waits.
    pub(super) fn is_idle(&self) -> bool {
        self.names.lock().is_empty()
    }

    /// Whether a change of this name runs.
    pub(super) fn is_locked(&self, name: &str) -> bool {
        self.names.lock().contains_key(name)
    }

    /// Cancels the changes of this name that run or wait now. Later ones are not affected.
    pub(super) fn give_up(&self, name: &str) {
        if let Some(entry) = self.names.lock().get_mut(name) {
            std::mem::take(&mut entry.give_up).cancel();
        }
    }

    async fn wait_in_line(self: &Arc<Self>, name: &str, max_waiting: usize) -> Option<ChangeLock> {
        let (lock, given_up, user) = {
            let mut names = self.names.lock();
            let entry = names.entry(name.to_owned()).or_default();
            // One of the users has the lock; only the others wait.
            if entry.users > max_waiting {
                return None;
            }
            entry.users += 1;
            (Arc::clone(&entry.lock), entry.give_up.clone(), User { locks: Arc::clone(self), name: name.to_owned() })
        };
        Some(ChangeLock { given_up, _guard: lock.lock_owned().await, _user: user })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn one_change_runs_eight_wait_and_the_next_is_refused() {
        let locks = Arc::new(ChangeLocks::default());
        let first = locks.acquire("math").await.unwrap();
        let mut waiting: Vec<_> = (0..MAX_WAITING).map(|_| Box::pin(locks.acquire("math"))).collect();
        for one in &mut waiting {
            assert!(one.now_or_never().is_none());
        }
        assert!(locks.acquire("math").await.is_none());
        assert!(locks.acquire("text").await.is_some());
        drop(first);
        assert!(waiting.remove(0).await.is_some());
    }

    #[tokio::test]
    async fn a_name_without_changes_takes_no_memory() {
        let locks = Arc::new(ChangeLocks::default());
        let lock = locks.acquire("math").await;
        let mut abandoned = Box::pin(locks.acquire("math"));
        assert!((&mut abandoned).now_or_never().is_none());
        drop((abandoned, lock));
        assert!(locks.names.lock().is_empty());
    }
}
