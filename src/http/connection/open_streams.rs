//! The open requests of one HTTP/2 connection, so that a connection without any is closed after its idle time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The number of open requests, and when the last one ended.
#[derive(Debug)]
pub struct Streams(Mutex<(usize, Instant)>);

/// Counts one request until it is dropped.
#[derive(Debug)]
pub struct StreamGuard(Arc<Streams>);

impl Default for Streams {
    fn default() -> Self {
        Self(Mutex::new((0, Instant::now())))
    }
}

impl Streams {
    /// Counts a request until the guard is dropped.
    #[must_use]
    pub fn begin(streams: &Arc<Self>) -> StreamGuard {
        streams.0.lock().0 += 1;
        StreamGuard(Arc::clone(streams))
    }

    /// Waits until there has been no request for this long.
    pub async fn idle(self: Arc<Self>, limit: Duration) {
        loop {
            let due = match *self.0.lock() {
                (0, since) => since + limit,
                _ => Instant::now() + limit,
            };
            if Instant::now() >= due {
                return;
            }
            tokio::time::sleep_until(due.into()).await;
        }
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        let mut streams = self.0.0.lock();
        streams.0 -= 1;
        streams.1 = Instant::now();
    }
}
