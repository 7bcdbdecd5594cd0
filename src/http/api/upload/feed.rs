//! Feeds the body to the parser of the form in small pieces. The parser would otherwise buffer everything that the
//! client has sent, and search for the end of a part's headers without a limit.

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

/// Bytes of a part's headers, before the first part, and after the last.
pub(super) const HEADER_LIMIT: usize = 8 * 1024;
/// Bytes of one piece while headers may follow.
const SLICE: usize = 1024;
/// No limit: the bytes belong to the file.
const IN_FILE: usize = usize::MAX;

/// A body as a stream that pauses after each piece.
pub(super) struct Feed<'a> {
    body: &'a mut Body,
    rest: Bytes,
    mode: Mode,
}

/// How much may be fed; shared by the feed and the reader of the form.
#[derive(Clone)]
pub(super) struct Mode {
    /// Bytes fed since the parser last returned something, or [`IN_FILE`].
    fed: Arc<AtomicUsize>,
    /// Whether the next poll is pending, which makes the parser look at its buffer: it reads on while it gets bytes.
    pause: Arc<AtomicBool>,
}

/// Why feeding ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum FeedError {
    #[error("the body cannot be read")]
    Body(#[source] axum::Error),
    #[error("headers of more than {HEADER_LIMIT} bytes")]
    Headers,
}

impl<'a> Feed<'a> {
    /// Feeds the bytes of a body.
    pub(super) fn new(body: &'a mut Body) -> Self {
        Self { body, rest: Bytes::new(), mode: Mode { fed: Arc::default(), pause: Arc::default() } }
    }

    /// The handle with which the reader sets the mode.
    pub(super) fn mode(&self) -> Mode {
        self.mode.clone()
    }
}

impl Mode {
    /// The parser has returned something; the bytes that follow are kept in memory, so the limit applies.
    pub(super) fn start_reading(&self) {
        self.fed.store(0, Ordering::Relaxed);
        self.pause.store(true, Ordering::Relaxed);
    }

    /// The bytes that follow belong to the file.
    pub(super) fn in_file(&self) {
        self.fed.store(IN_FILE, Ordering::Relaxed);
    }

    /// How many of `available` bytes may be fed.
    fn allow(&self, available: usize) -> Result<usize, FeedError> {
        let fed = self.fed.load(Ordering::Relaxed);
        if fed == IN_FILE {
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

/// Reads the bytes after the last part, of which there may be few.
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

/// The answer when a form cannot be parsed further, in this part or between two.
pub(super) fn problem(error: &multer::Error, part: Option<&str>) -> Problem {
    let place = part.map_or_else(|| "between two parts".to_owned(), |name| format!("in part {name:?}"));
    let message = match error {
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
    Problem::new(Code::BadRequest, message)
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
