//! Where handshakes are made: on a thread of their own. The signature of one takes up to a millisecond, and calls do
//! not wait for that. How long one may last is left to the connection.

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::runtime::{Builder, Runtime};
use tokio_util::task::AbortOnDropHandle;

/// The thread of all handshakes, and how they ended.
#[derive(Debug)]
pub struct Handshakes {
    /// Taken when this is dropped.
    runtime: Option<Runtime>,
    counts: [AtomicU64; Outcome::ALL.len()],
}

/// How a handshake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The connection is encrypted.
    Done,
    /// Client and gateway did not agree, or the client's certificate was refused.
    Failed,
    /// The client took too long.
    TimedOut,
    /// The client spoke HTTP without TLS.
    PlainHttp,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Done, Self::Failed, Self::TimedOut, Self::PlainHttp];

    /// Its name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::PlainHttp => "plain_http",
        }
    }
}

impl Handshakes {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The system starts no more threads.
    pub fn start() -> io::Result<Self> {
        // The sockets stay with the runtime that has accepted them, so this one needs neither IO nor timers.
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("handshakes").build()?;
        Ok(Self { runtime: Some(runtime), counts: Default::default() })
    }

    /// Runs a handshake on the thread. It ends when the caller stops waiting.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        handshake: impl Future<Output = io::Result<T>> + Send + 'static,
    ) -> io::Result<T> {
        let Some(runtime) = &self.runtime else { return handshake.await };
        AbortOnDropHandle::new(runtime.spawn(handshake)).await.map_err(io::Error::other)?
    }

    /// Counts one that has ended.
    pub fn count(&self, outcome: Outcome) {
        self.counts[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many ended in this way.
    #[must_use]
    pub fn ended(&self, outcome: Outcome) -> u64 {
        self.counts[outcome as usize].load(Ordering::Relaxed)
    }
}

impl Drop for Handshakes {
    fn drop(&mut self) {
        // Waiting for its end is not allowed on the threads of another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
