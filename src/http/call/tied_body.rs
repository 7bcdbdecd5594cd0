//! The body of an answer that begins before its request has ended: when the request breaks off, so does the answer. Its
//! reader has left, even if the connection does not say so before something is written.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::http::call::stream_body::BrokenOff;
use crate::http::problem::Code;
use crate::http::reply_body::ReplyBody;
use crate::http::streamed_upload::Fault;

/// A body that breaks off with a request.
#[derive(Debug)]
struct TiedBody {
    body: axum::body::Body,
    /// None once the request has ended.
    request: Option<Fault>,
}

/// Ties a body to the request whose faults arrive at `request`.
#[must_use]
pub(super) fn tied(body: ReplyBody, request: Fault) -> ReplyBody {
    match body {
        ReplyBody::Streamed(body) => {
            ReplyBody::Streamed(axum::body::Body::new(TiedBody { body, request: Some(request) }))
        }
        // A whole body is handed over at once.
        body => body,
    }
}

impl Body for TiedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        if let Some(request) = &mut this.request
            && let Poll::Ready(fault) = Pin::new(request).poll(context)
        {
            this.request = None;
            // The function gets to know the other faults, such as a body that is too long, and goes on as it likes.
            if fault.is_ok_and(|problem| problem.code() == Code::BadRequest) {
                return Poll::Ready(Some(Err(BrokenOff::error(Code::ClientGone.as_str().into()))));
            }
        }
        Pin::new(&mut this.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
