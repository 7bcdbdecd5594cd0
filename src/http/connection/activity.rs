//! What the service and the stream of one HTTP/1 connection let each other know: whether a request is being served,
//! whether the connection should end, and whether others come first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::task::AtomicWaker;

use crate::http::connection::turn::Turn;

/// Whether a request of the connection is being served, and whether it may wait for another one. The service and the
/// drain set it, the stream reads it.
#[derive(Debug, Default)]
pub struct Activity {
    serving: AtomicBool,
    /// The connection has been idle for a while: it needs nothing but its socket until the next request.
    pub(super) parked: AtomicBool,
    /// The gateway stops: each answer is the connection's last one.
    pub(super) draining: AtomicBool,
    /// The connection ends when no request is being served.
    ends_idle: AtomicBool,
    /// A client of HTTP/1.0 has asked: what it gets ends with the connection.
    pub(super) ends_bodies: AtomicBool,
    /// The task that waits to read until serving has ended.
    pub(super) reader: AtomicWaker,
    /// How much it has done since it last waited.
    pub(super) turn: Turn,
}

impl Activity {
    /// A request is being served until the guard is dropped.
    #[must_use]
    pub fn serve(self: &Arc<Self>) -> ServingGuard {
        self.serving.store(true, Ordering::Relaxed);
        ServingGuard(Arc::clone(self))
    }

    /// Whether the connection has been idle for a while, with nothing read or written in part.
    #[must_use]
    pub fn is_parked(&self) -> bool {
        self.parked.load(Ordering::Relaxed)
    }

    pub(super) fn is_serving(&self) -> bool {
        self.serving.load(Ordering::Relaxed)
    }

    /// From now on each answer is the connection's last one.
    pub fn begin_drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Ends the connection as soon as no request is being served. Its task has to be polled afterwards.
    pub fn end_idle(&self) {
        self.ends_idle.store(true, Ordering::Relaxed);
    }

    pub(super) fn ends_idle(&self) -> bool {
        self.ends_idle.load(Ordering::Relaxed)
    }
}

/// The end of [`Activity::serve`].
#[derive(Debug)]
pub struct ServingGuard(Arc<Activity>);

impl ServingGuard {
    /// Waits for the connection's turn, if others come before its next request.
    pub async fn wait_turn(&self) {
        self.0.turn.begin_request().await;
    }
}

impl Drop for ServingGuard {
    fn drop(&mut self) {
        self.0.serving.store(false, Ordering::Relaxed);
        self.0.reader.wake();
    }
}
