//! How long a call waits for a worker.

use std::time::Instant;

use tokio_util::sync::CancellationToken;

/// How long a call waits: until its deadline, and in the queue no longer than its caller.
#[derive(Debug, Clone, Copy)]
pub struct Patience<'a> {
    /// When the call times out, in the queue or on a worker.
    pub deadline: Instant,
    /// Cancelled when the caller has left; none if the call is dropped then.
    pub caller_left: Option<&'a CancellationToken>,
}

impl Patience<'_> {
    /// Waits until the caller has left.
    pub(super) async fn caller_leaves(self) {
        match self.caller_left {
            Some(left) => left.cancelled().await,
            None => std::future::pending().await,
        }
    }
}
