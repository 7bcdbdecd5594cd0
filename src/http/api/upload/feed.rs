//! Feeds a body to the reader of the form in small amounts: on its own the reader takes whatever the client has sent
//! before it looks at it, and looks for the end of a part's headers for ever.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use futures_util::Stream;
use http_body::Body as _;
use http_body_util::BodyExt;

use crate::http::problem::{Code, Problem};
use crate::http::request_body;
use crate::http::streamed_body::BodyFault;

/// Bytes of a part's headers, or before the first part, or after the last.
pub(super) const HEADER_LIMIT: usize = 8 * 1024;
/// How much is given at once while headers may come.
const SLICE: usize = 1024;
/// Stands for no limit: the file comes.
const IN_FILE: usize = usize::MAX;

/// A body as a stream that pauses after each piece.
pub(super) struct Feed<'a> {
    body: &'a mut Body,
    rest: Bytes,
    mode: Mode,
}

/// How much may be fed: shared by the feed and by who reads the form.
#[derive(Clone)]
pub(super) struct Mode {
    /// Bytes since the reader has last given something, or [`IN_FILE`].
    fed: Arc<AtomicUsize>,
    /// Whether the reader is to wait and look at what it has: for as long as it gets more, it asks.
    pause: Arc<AtomicBool>,
}

/// Why nothing more is fed.
#[derive(Debug, thiserror::Error)]
pub(super) enum FeedError {
    #[error("the body cannot be read")]
    Body(#[source] axum::Error),
    #[error("headers of more than {HEADER_LIMIT} bytes")]
    Headers,
}

impl<'a> Feed<'a> {
    /// Feeds what the body gives.
    pub(super) fn new(body: &'a mut Body) -> Self {
        Self { body, rest: Bytes::new(), mode: Mode { fed: Arc::default(), pause: Arc::default() } }
    }

    /// The handle by which the reader tells where it is.
    pub(super) fn mode(&self) -> Mode {
        self.mode.clone()
    }
}

impl Mode {
    /// The reader has given something, and what comes next is kept in memory.
    pub(super) fn start_reading(&self) {
        self.fed.store(0, Ordering::Relaxed);
        self.pause.store(true, Ordering::Relaxed);
    }

    /// The file comes.
    pub(super) fn in_file(&self) {
        self.fed.store(IN_FILE, Ordering::Relaxed);
    }

    /// How many of the bytes that are there may be fed.
    fn allow(&self, there: usize) -> Result<usize, FeedError> {
        let fed = self.fed.load(Ordering::Relaxed);
        if fed == IN_FILE {
            return Ok(there);
        }
        if fed >= HEADER_LIMIT {
            return Err(FeedError::Headers);
        }
        let count = there.min(SLICE).min(HEADER_LIMIT - fed);
        self.fed.store(fed + count, Ordering::Relaxed);
        Ok(count)
    }
}

impl Stream for Feed<'_> {
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
                Some(Err(error)) => return Poll::Ready(Some(Err(FeedError::Body(error)))),
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

/// Reads what follows the last part; a little may.
pub(super) async fn read_end(body: &mut Body) -> Result<(), Problem> {
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        read += frame.map_err(|error| body_problem(&error))?.data_ref().map_or(0, Bytes::len);
        if read > HEADER_LIMIT {
            return Err(Problem::new(Code::BadRequest, "the upload goes on after its last part"));
        }
    }
    Ok(())
}

/// What the client is told when a form cannot be read on, in this part or between two.
pub(super) fn problem(error: &multer::Error, part: Option<&str>) -> Problem {
    let place = part.map_or_else(|| "between two parts".to_owned(), |name| format!("in part {name:?}"));
    let words = match error {
        multer::Error::StreamReadFailed(cause) => match cause.downcast_ref() {
            Some(FeedError::Body(error)) => return body_problem(error),
            Some(FeedError::Headers) => format!("a part's headers of more than {HEADER_LIMIT} bytes"),
            None => format!("the upload cannot be read {place}"),
        },
        multer::Error::IncompleteStream | multer::Error::IncompleteFieldData { .. } => {
            format!("the form breaks off {place}")
        }
        _ => format!("the form is broken {place}: {error}"),
    };
    Problem::new(Code::BadRequest, words)
}

fn body_problem(error: &axum::Error) -> Problem {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(BodyFault::TooSlow) = error.downcast_ref() {
            return request_body::too_slow();
        }
        cause = error.source();
    }
    Problem::new(Code::BadRequest, format!("the upload broke off: {error}")).closing()
}
