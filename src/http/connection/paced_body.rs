//! Answers on HTTP/2, where a client can stop a single stream by flow control for as long as it likes: a stream whose
//! client takes no bytes of its answer for [`STALL`] is reset. HTTP/1 has the same deadline on its connection.
//!
//! hyper polls a body only while the client grants room. So the body notes when it was last asked, the task of the
//! stream, which [`StreamExecutor`] starts, watches the note, and dropping the task resets the stream.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::rt::Executor;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::http::buffers::{ConnectionBuffers, Held};
use crate::http::connection::open_streams::StreamGuard;
use crate::http::reply_body::ReplyBody;

/// How long a client may take nothing of an answer.
pub const STALL: Duration = Duration::from_secs(30);
/// Bytes handed to hyper at once. It asks as soon as the client grants one byte, and keeps the rest.
const CHUNK: usize = 64 * 1024;

tokio::task_local! {
    static PROGRESS: Arc<Progress>;
}

/// Who has to act next for a stream to go on.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// The gateway: the answer or its next part is not there yet.
    #[default]
    Gateway,
    /// The client, since then.
    Client(Instant),
}

/// The note of one stream.
#[derive(Debug, Default)]
struct Progress(Mutex<Waiting>);

impl Progress {
    fn set(&self, waiting: Waiting) {
        *self.0.lock() = waiting;
    }

    fn now_client(&self) {
        self.set(Waiting::Client(Instant::now()));
    }

    /// When the stream is given up if nothing happens.
    fn due(&self, stall: Duration) -> Option<Instant> {
        match *self.0.lock() {
            Waiting::Gateway => None,
            Waiting::Client(since) => Some(since + stall),
        }
    }
}

/// Runs the streams of a connection, each as a task that ends when its client stalls.
#[derive(Debug, Clone, Copy)]
pub struct StreamExecutor;

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for StreamExecutor {
    fn execute(&self, stream: F) {
        let progress = Arc::new(Progress::default());
        tokio::spawn(PROGRESS.scope(Arc::clone(&progress), until_stalled(stream, progress, STALL)));
    }
}

async fn until_stalled(stream: impl Future<Output = ()>, progress: Arc<Progress>, stall: Duration) {
    let mut stream = pin!(stream);
    loop {
        // Without a note of the client this looks again after the whole time, so a stall lasts at most twice as long.
        let wait = progress.due(stall).map_or(stall, |due| due.saturating_duration_since(Instant::now()));
        if tokio::time::timeout(wait, stream.as_mut()).await.is_ok() {
            return;
        }
        if progress.due(stall).is_some_and(|due| due <= Instant::now()) {
            tracing::debug!("stream was reset: its client takes no bytes of the answer");
            return;
        }
    }
}

/// The body of an answer on HTTP/2. Its parts are copied, so that the last one does not keep the memory of all.
#[derive(Debug)]
pub struct PacedBody {
    body: ReplyBody,
    /// The rest of a frame of `body`.
    rest: Bytes,
    buffers: Arc<ConnectionBuffers>,
    progress: Arc<Progress>,
    _open: StreamGuard,
}

impl PacedBody {
    /// The body of the stream whose task calls this.
    #[must_use]
    pub fn new(body: ReplyBody, buffers: Arc<ConnectionBuffers>, open: StreamGuard) -> Self {
        // Outside such a task nothing watches the note.
        let progress = PROGRESS.try_with(Arc::clone).unwrap_or_default();
        progress.now_client();
        Self { body, rest: Bytes::new(), buffers, progress, _open: open }
    }

    fn next_chunk(&mut self) -> Frame<Bytes> {
        if self.rest.len() <= CHUNK && self.rest.is_unique() {
            return Frame::data(std::mem::take(&mut self.rest));
        }
        let chunk = self.rest.split_to(CHUNK.min(self.rest.len()));
        Frame::data(Held::moved(&self.buffers, chunk.len()).attach(Bytes::copy_from_slice(&chunk)))
    }
}

impl Body for PacedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            this.progress.set(Waiting::Gateway);
            let Some(frame) = ready!(Pin::new(&mut this.body).poll_frame(context)?) else { return Poll::Ready(None) };
            match frame.into_data() {
                Ok(data) => this.rest = data,
                Err(trailers) => {
                    this.progress.now_client();
                    return Poll::Ready(Some(Ok(trailers)));
                }
            }
        }
        this.progress.now_client();
        Poll::Ready(Some(Ok(this.next_chunk())))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let rest = self.rest.len() as u64;
        match hint.exact() {
            Some(exact) => hint.set_exact(exact + rest),
            None => hint.set_lower(hint.lower() + rest),
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_stream_ends_when_its_client_takes_nothing() {
        let progress = Arc::new(Progress::default());
        progress.now_client();
        let started = Instant::now();
        until_stalled(std::future::pending(), progress, QUICK).await;
        assert!(started.elapsed() >= QUICK);
    }

    #[tokio::test]
    async fn a_stream_goes_on_while_its_function_works_or_its_client_takes_something() {
        let progress = Arc::new(Progress::default());
        let working = until_stalled(tokio::time::sleep(5 * QUICK), Arc::clone(&progress), QUICK);
        let started = Instant::now();
        working.await;
        assert!(started.elapsed() >= 5 * QUICK, "the function was slow, not the client");
        let taking = async {
            for _ in 0..20 {
                progress.now_client();
                tokio::time::sleep(QUICK / 5).await;
            }
        };
        until_stalled(taking, Arc::clone(&progress), QUICK).await;
        assert!(started.elapsed() >= 9 * QUICK, "the client took something all the time");
    }
}
