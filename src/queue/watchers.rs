//! Who waits for changes of calls.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::queue::call_id::CallId;

/// Those who wait, at most.
const MOST: usize = 10_000;

/// All who wait for changes of calls.
#[derive(Debug, Default)]
pub struct Watchers {
    watched: Arc<Mutex<Watched>>,
}

#[derive(Debug, Default)]
struct Watched {
    calls: HashMap<CallId, (usize, Arc<Notify>)>,
    watchers: usize,
}

impl Watchers {
    /// Watches a call. None if too many watch calls already.
    #[must_use]
    pub fn watch(&self, id: CallId) -> Option<Watch> {
        let mut watched = self.watched.lock();
        if watched.watchers >= MOST {
            return None;
        }
        watched.watchers += 1;
        let (count, changes) = watched.calls.entry(id).or_default();
        *count += 1;
        Some(Watch { id, changes: Arc::clone(changes), all: Arc::clone(&self.watched) })
    }

    /// Tells those who watch a call that it has changed.
    pub fn changed(&self, id: CallId) {
        if let Some((_, changes)) = self.watched.lock().calls.get(&id) {
            changes.notify_waiters();
        }
    }
}

/// Watches a call until it is dropped.
#[derive(Debug)]
pub struct Watch {
    id: CallId,
    changes: Arc<Notify>,
    all: Arc<Mutex<Watched>>,
}

impl Watch {
    /// Completes at the next change after this was called and polled or enabled.
    pub fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changes.notified()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watched = self.all.lock();
        watched.watchers = watched.watchers.saturating_sub(1);
        if let Some((count, _)) = watched.calls.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                watched.calls.remove(&self.id);
            }
        }
    }
}
