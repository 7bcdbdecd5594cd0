//! The share of the gateway's one thread that a connection takes at once. A client that sends requests or bytes without
//! pause would keep its connection busy for as long as it likes: after a budget the connection lets the thread look at
//! every other one, whose requests have arrived meanwhile.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

/// Requests in one turn. Clients that wait for each answer make one.
const REQUESTS: usize = 8;
/// Bytes that are read in one turn.
const BYTES: usize = 256 * 1024;

/// What a connection has done since it last waited. Only the connection's task uses it; it is shared within the task.
#[derive(Debug, Default)]
pub(super) struct Turn {
    requests: AtomicUsize,
    bytes: AtomicUsize,
}

impl Turn {
    /// The connection waits for the client: its next turn begins when bytes arrive.
    pub(super) fn end(&self) {
        self.requests.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
    }

    /// Counts a request, and waits for the next turn if this one has had enough.
    pub(super) async fn begin_request(&self) {
        if !add(&self.requests, 1, REQUESTS) {
            self.end();
            // It goes on only after the thread has looked for what has arrived on other connections.
            tokio::task::yield_now().await;
        }
    }

    /// Counts bytes that were read.
    pub(super) fn note_read(&self, bytes: usize) {
        add(&self.bytes, bytes, BYTES);
    }

    /// Whether more bytes may be read; if not, wakes the task for its next turn.
    pub(super) fn poll_read(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.bytes.load(Ordering::Relaxed) > BYTES {
            self.end();
            ready!(pin!(tokio::task::yield_now()).poll(context));
        }
        Poll::Ready(())
    }
}

/// Adds to a count. Returns whether it is still within the budget. One task counts, so this need not be one step.
fn add(count: &AtomicUsize, more: usize, budget: usize) -> bool {
    let sum = count.load(Ordering::Relaxed) + more;
    count.store(sum, Ordering::Relaxed);
    sum <= budget
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_turn_has_a_budget_of_requests_until_the_connection_waits() {
        let turn = Turn::default();
        for _ in 0..3 {
            for _ in 0..REQUESTS {
                assert!(turn.begin_request().now_or_never().is_some());
            }
            turn.end();
        }
        for _ in 0..REQUESTS {
            turn.begin_request().await;
        }
        assert!(turn.begin_request().now_or_never().is_none());
        assert!(turn.begin_request().now_or_never().is_some(), "the next turn");
    }

    #[tokio::test]
    async fn a_turn_has_a_budget_of_bytes() {
        let turn = Turn::default();
        turn.note_read(BYTES);
        std::future::poll_fn(|context| {
            assert!(turn.poll_read(context).is_ready());
            turn.note_read(1);
            assert!(turn.poll_read(context).is_pending());
            turn.poll_read(context)
        })
        .await;
    }
}
