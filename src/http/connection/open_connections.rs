//! The open connections of all listeners, and how they end when the gateway stops: those with a request in progress
//! after its answer, idle ones after a grace, and the listeners last. A client may have sent a request before it could
//! know of the stop, and must get an answer and not a reset.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::connection::socket::Socket;

/// How long an idle connection stays open once the drain of a stop has begun: a request that the client sent before it
/// could know of the stop arrives within this time.
pub const IDLE_GRACE: Duration = Duration::from_millis(250);
/// How long a connection that the drain has closed is read for a request that has crossed the close.
pub(super) const LAST_LINGER: Duration = Duration::from_millis(100);

/// The open connections of all listeners.
#[derive(Debug, Clone, Default)]
pub struct OpenConnections {
    draining: CancellationToken,
    /// How long idle connections stay open from then on, once that is known.
    idle_grace: Arc<OnceLock<Duration>>,
    closing: CancellationToken,
    /// The listeners whose sockets another process has, once there is one: closing them closes nothing.
    handed_over: Arc<OnceLock<BTreeSet<String>>>,
    /// Connections that were accepted before the drain. The gateway waits for them as long as it waits for calls.
    earlier: TaskTracker,
    counts: Arc<Counts>,
    /// Connections that were accepted during the drain. There may always be another one, so nothing waits until there
    /// are none.
    later: TaskTracker,
}

/// Connections since the start.
#[derive(Debug, Default)]
struct Counts {
    served: AtomicU64,
    refused: AtomicU64,
}

impl OpenConnections {
    /// How many are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.earlier.len() + self.later.len()
    }

    /// Those that were served since the start, and those that were refused because there were too many.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.counts.served.load(Ordering::Relaxed), self.counts.refused.load(Ordering::Relaxed))
    }

    /// Counts a connection that was refused.
    pub(super) fn count_refused(&self) {
        self.counts.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Serves a connection in a task of its own.
    pub fn spawn(&self, serving: impl Future<Output = ()> + Send + 'static) {
        self.counts.served.fetch_add(1, Ordering::Relaxed);
        let connections = if self.draining.is_cancelled() { &self.later } else { &self.earlier };
        connections.spawn(serving);
    }

    /// From now on connections end with their next answer, or once they have been idle for `idle_grace`. Listeners go
    /// on accepting.
    pub fn begin_drain(&self, idle_grace: Duration) {
        let _never_twice = self.idle_grace.set(idle_grace);
        self.draining.cancel();
    }

    /// Whether connections are being drained.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Waits until connections are being drained.
    pub async fn drain_begins(&self) {
        self.draining.cancelled().await;
    }

    /// Waits until an idle connection ends: for the drain, and then for as long as a request may still arrive.
    pub async fn idle_ends(&self) {
        self.draining.cancelled().await;
        // Boxed: every idle connection waits here, and none needs a timer before the drain.
        let grace = self.idle_grace.get().copied().unwrap_or(IDLE_GRACE);
        Box::pin(tokio::time::sleep(grace)).await;
    }

    /// Waits until no connection is left that was accepted before the drain.
    pub async fn drained(&self) {
        self.earlier.close();
        self.earlier.wait().await;
    }

    /// Has the listeners accept what the kernel has ready, and close.
    pub fn close_listeners(&self) {
        self.closing.cancel();
    }

    /// Has the listeners close, where another process goes on with the sockets of these addresses.
    pub fn hand_over_listeners(&self, addresses: BTreeSet<String>) {
        let _never_twice = self.handed_over.set(addresses);
        self.closing.cancel();
    }

    /// Whether another process goes on with the socket of this address.
    #[must_use]
    pub fn is_handed_over(&self, address: &str) -> bool {
        self.handed_over.get().is_some_and(|addresses| addresses.contains(address))
    }

    /// The token that [`Self::close_listeners`] cancels.
    #[must_use]
    pub fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    /// Waits until no connection is left.
    pub async fn ended(&self) {
        self.drained().await;
        self.later.close();
        self.later.wait().await;
    }
}

/// Closes a connection, and reads for a moment what the client has sent before it saw the close: the kernel would
/// answer that with a reset.
pub(super) async fn close(stream: &mut Socket) {
    let _closed = stream.shutdown().await;
    let reading = async {
        let _reset = tokio::io::copy(stream, &mut tokio::io::sink()).await;
    };
    // Boxed: the future of every connection would be larger.
    let _timed_out = Box::pin(tokio::time::timeout(LAST_LINGER, reading)).await;
}
