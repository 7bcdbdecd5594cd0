//! The body of a request that follows its call: how much of it the worker may be sent.

use std::time::Duration;

use tokio::sync::watch;

use crate::invocation::body::WINDOW;

/// A body on its way to the worker. Dropping it tells who passes it on that the call is over.
#[derive(Debug)]
pub(super) struct Upload {
    /// The time that the function has to answer, or to take more, once it waits for nobody.
    pub(super) time: Duration,
    /// How long its answer may be idle, if that is a stream.
    pub(super) idle: Duration,
    /// Bytes that were sent.
    sent: u64,
    /// Bytes that may be sent, from the first one on.
    granted: watch::Sender<u64>,
}

impl Upload {
    /// A body of which nothing is sent. Returns as well the bytes that may be sent, from the first one on, as they
    /// change.
    pub(super) fn new(time: Duration, idle: Duration) -> (Self, watch::Receiver<u64>) {
        let (granted, may_send) = watch::channel(WINDOW as u64);
        (Self { time, idle, sent: 0, granted }, may_send)
    }

    /// A piece was sent.
    pub(super) fn add_sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    /// Whether more may be sent: the worker waits for the client.
    pub(super) fn has_credit(&self) -> bool {
        self.sent < *self.granted.borrow()
    }

    /// The worker has taken bytes. Returns whether more may be sent than before.
    pub(super) fn add_credit(&self, bytes: usize) -> bool {
        let most = self.sent + WINDOW as u64;
        self.granted.send_if_modified(|granted| {
            let before = std::mem::replace(granted, granted.saturating_add(bytes as u64).min(most));
            *granted > before
        })
    }
}
