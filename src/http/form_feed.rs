//! Feeds the body of a request to the parser of `multipart/form-data` in small pieces. The parser would otherwise
//! buffer everything that the client has sent, and search for the end of a part's headers without a limit.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use http_body::Body;

/// Bytes of a part's headers, and before the first part.
pub const HEADER_LIMIT: usize = 8 * 1024;
/// Bytes of one piece while headers may follow.
const SLICE: usize = 1024;
/// No limit: the bytes belong to the content of a part.
const IN_CONTENT: usize = usize::MAX;

/// A body as a stream that pauses after each piece.
#[derive(Debug)]
pub struct Feed<'a, B> {
    body: &'a mut B,
    rest: Bytes,
    mode: Mode,
}

/// How much may be fed; shared by the feed and the reader of the form.
#[derive(Debug, Clone)]
pub struct Mode {
    /// Bytes fed since the parser last returned something, or [`IN_CONTENT`].
    fed: Arc<AtomicUsize>,
    /// Whether the next poll is pending, which makes the parser look at its buffer: it reads on while it gets bytes.
    pause: Arc<AtomicBool>,
}

/// Why feeding ended early.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The body cannot be read.
    #[error("the body cannot be read")]
    Body(#[source] Box<dyn Error + Send + Sync>),
    /// Headers, or what precedes the first part, have more than [`HEADER_LIMIT`] bytes.
    #[error("headers of more than {HEADER_LIMIT} bytes")]
    Headers,
}

impl<'a, B> Feed<'a, B> {
    /// Feeds the bytes of a body.
    #[must_use]
    pub fn new(body: &'a mut B) -> Self {
        Self { body, rest: Bytes::new(), mode: Mode { fed: Arc::default(), pause: Arc::default() } }
    }

    /// The handle with which the reader sets the mode.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode.clone()
    }
}

impl Mode {
    /// The parser has returned something; the bytes that follow are kept in memory, so the limit applies.
    pub fn start_reading(&self) {
        self.fed.store(0, Ordering::Relaxed);
        self.pause.store(true, Ordering::Relaxed);
    }

    /// The bytes that follow belong to the content of a part, which has no limit here.
    pub fn in_content(&self) {
        self.fed.store(IN_CONTENT, Ordering::Relaxed);
    }

    /// How many of `available` bytes may be fed.
    fn allow(&self, available: usize) -> Result<usize, FeedError> {
        let fed = self.fed.load(Ordering::Relaxed);
        if fed == IN_CONTENT {
            return Ok(available);
        }
        if fed >= HEADER_LIMIT {
            return Err(FeedError::Headers);
        }
        let count = available.min(SLICE).min(HEADER_LIMIT - fed);
        self.fed.store(fed + count, Ordering::Relaxed);
        Ok(count)
    }
}

impl<B> Stream for Feed<'_, B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Item = Result<Bytes, FeedError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.mode.pause.swap(false, Ordering::Relaxed) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        while this.rest.is_empty() {
            match ready!(Pin::new(&mut *this.body).poll_frame(context)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(FeedError::Body(error.into())))),
                Some(Ok(frame)) => this.rest = frame.into_data().unwrap_or_default(),
            }
        }
        let count = match this.mode.allow(this.rest.len()) {
            Ok(count) => count,
            Err(error) => return Poll::Ready(Some(Err(error))),
        };
        this.mode.pause.store(true, Ordering::Relaxed);
        Poll::Ready(Some(Ok(this.rest.split_to(count))))
    }
}
