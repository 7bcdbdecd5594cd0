//! How long the parts of a call took.

use std::time::Duration;

/// How long the parts of a call took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// In before- and after-hooks; none where no plugin applies.
    pub plugins: Option<Duration>,
    /// In the queue, or waiting for the first load.
    pub queue: Duration,
    /// From there to the worker's answer, or the first message of a stream; none if no worker took the call.
    pub worker: Option<Duration>,
}

impl Times {
    /// From the end of the before-hooks to the worker's answer.
    #[must_use]
    pub fn in_worker(&self) -> Duration {
        self.queue + self.worker.unwrap_or_default()
    }
}
