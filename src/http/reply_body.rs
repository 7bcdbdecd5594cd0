//! The body of an answer: whole, or streamed by axum.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// The body of an answer.
#[derive(Debug)]
pub enum ReplyBody {
    /// All at once; none after it was taken, or if it is empty.
    Full(Option<Bytes>),
    /// Streamed by a handler.
    Streamed(axum::body::Body),
    /// Streamed by a handler, with a guard that is dropped at the end.
    Guarded(axum::body::Body, Box<dyn Guard>),
}

/// Something that lives as long as a body is being sent.
pub trait Guard: std::fmt::Debug + Send {}

impl<T: std::fmt::Debug + Send> Guard for T {}

impl ReplyBody {
    /// Keeps a guard until the body was sent. A whole body needs none: it is handed over at once.
    #[must_use]
    pub fn guarded(self, guard: impl Guard + 'static) -> Self {
        match self {
            Self::Streamed(body) => Self::Guarded(body, Box::new(guard)),
            Self::Guarded(body, first) => Self::Guarded(body, Box::new((first, guard))),
            full @ Self::Full(_) => full,
        }
    }

    /// Drops the content, and returns its length where that is known.
    #[must_use]
    pub fn without_content(self) -> (Option<u64>, Self) {
        (self.size_hint().exact(), Self::Full(None))
    }

    /// A whole body.
    #[must_use]
    pub fn full(bytes: Bytes) -> Self {
        Self::Full(if bytes.is_empty() { None } else { Some(bytes) })
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match &mut *self {
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Streamed(body) | Self::Guarded(body, _) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_none(),
            Self::Streamed(body) | Self::Guarded(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Streamed(body) | Self::Guarded(body, _) => body.size_hint(),
        }
    }
}
