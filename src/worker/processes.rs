//! The processes of a pool's workers, for those who count what they use.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;

/// The ids of the first process of each worker that runs.
#[derive(Debug, Clone, Default)]
pub struct Processes(Arc<Mutex<BTreeSet<i32>>>);

/// Takes a process off the list when it is dropped.
#[derive(Debug)]
pub struct Listed {
    processes: Processes,
    id: i32,
}

impl Processes {
    /// Adds a process until the result is dropped.
    #[must_use]
    pub fn add(&self, id: i32) -> Listed {
        self.0.lock().insert(id);
        Listed { processes: self.clone(), id }
    }

    /// Those that run.
    #[must_use]
    pub fn ids(&self) -> BTreeSet<i32> {
        self.0.lock().clone()
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.processes.0.lock().remove(&self.id);
    }
}
