//! The body of a streamed answer, whose end is that of its call.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::clock;
use crate::gateway::counted::Counted;
use crate::http::call::call_end::{Begun, Keeping};
use crate::http::call::stream_body;
use crate::http::reply_body::ReplyBody;
use crate::metrics::calls::Ended;

/// The body of a streamed answer.
pub(super) struct Recorded {
    pub(super) body: ReplyBody,
    pub(super) stream: RecordedStream,
}

/// What is recorded of it when it is dropped.
pub(super) struct RecordedStream {
    pub(super) counted: Option<Counted>,
    /// None once it has ended.
    pub(super) begun: Option<Begun>,
    pub(super) since: Instant,
    pub(super) ended: Ended,
    pub(super) keeping: Option<Keeping>,
}

impl Body for Recorded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let ended = &mut self.stream.ended;
        match &polled {
            Poll::Ready(Some(Ok(frame))) => ended.answer_bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
            Poll::Ready(Some(Err(error))) => ended.code = stream_body::code_of(error),
            Poll::Ready(None) => ended.code = "".into(),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for RecordedStream {
    fn drop(&mut self) {
        let Some(begun) = self.begun.take() else { return };
        let (code, now) = (mem::take(&mut self.ended.code), clock::now());
        let stream = Some(now.saturating_duration_since(self.since));
        let duration = now.saturating_duration_since(begun.at);
        let ended = Ended { code, duration, stream, ..self.ended };
        begun.end(self.counted.as_ref(), ended, self.keeping.take());
    }
}
