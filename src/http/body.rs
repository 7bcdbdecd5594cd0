//! The body of an answer: whole, or whatever axum's router gives.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// The body of an answer.
#[derive(Debug)]
pub enum ReplyBody {
    /// All at once; nothing once it was taken.
    Full(Option<Bytes>),
    /// As the router streams it.
    Streamed(axum::body::Body),
}

impl ReplyBody {
    /// A body that is there already.
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
            Self::Streamed(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_none(),
            Self::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Streamed(body) => body.size_hint(),
        }
    }
}
