//! The slots that bound the concurrent hook calls of one plugin, and the queue for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::plugin::fault::Fault;

/// Largest number of hook calls that wait for a slot of one plugin.
const WAITING: usize = 64;

/// The slots of one plugin.
pub(super) struct Slots {
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// A position in the queue for a slot. It is freed on drop, so also when the caller goes away.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Slots {
    pub(super) fn new(count: u32) -> Self {
        Self { free: Arc::new(Semaphore::new(count as usize)), waiting: 0.into() }
    }

    /// Waits for a slot, until the deadline.
    pub(super) async fn acquire(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, Fault> {
        if let Ok(slot) = Arc::clone(&self.free).try_acquire_owned() {
            return Ok(slot);
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Fault::Overloaded);
        }
        let _waiting = Waiting(&self.waiting);
        let acquired = tokio::time::timeout_at(deadline.into(), Arc::clone(&self.free).acquire_owned()).await;
        match acquired {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(_)) | Err(_) => Err(Fault::Overloaded),
        }
    }
}
