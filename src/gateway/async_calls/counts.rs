//! How many calls of each deployment wait, are tried and are dead, for those who look: counted once for all of them,
//! and the more seldom the longer it takes.

use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::gateway::async_calls::{AsyncCalls, CallCounts};

/// Counts are shown again for so long.
const FRESH: Duration = Duration::from_secs(1);
/// Counting takes one part in so many of the queue's time.
const SHARE: u32 = 50;

impl AsyncCalls {
    /// The calls of each deployment, as they were a moment ago. Without a file that can be used there are none.
    pub async fn counts(&self) -> CallCounts {
        let begun = clock::now();
        if let Some((until, counts)) = &*self.counted.lock()
            && begun < *until
        {
            return Arc::clone(counts);
        }
        if !self.queue.has_file() {
            return CallCounts::default();
        }
        let counts = CallCounts::from(self.queue.read(|database| database.count()).await.unwrap_or_default());
        let now = clock::now();
        let until = now + FRESH.max(now.saturating_duration_since(begun) * SHARE);
        *self.counted.lock() = Some((until, Arc::clone(&counts)));
        counts
    }
}
