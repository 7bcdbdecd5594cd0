//! The body of an answer that is a stream. It takes pieces as fast as the client reads them, and lets the worker send
//! as many again. A stream that breaks off breaks the connection, so that it never looks complete.

use std::borrow::Cow;
use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderValue;
use http_body::{Body, Frame};

use crate::answer;
use crate::answer::code::Code;
use crate::gateway::failure;
use crate::http::buffers::streams::Window;
use crate::http::call::framing::Framing;
use crate::http::request_id;
use crate::invocation::CallFailure;
use crate::invocation::stream::{Piece, Stream};
use crate::plugin::held_stream::StreamOf;
use crate::registry::Deployment;

/// Bytes that are handed over at once, at least as long as there are as many.
const CHUNK: usize = 64 << 10;

/// Names of a call, for its errors.
#[derive(Debug, Clone)]
pub struct CallNames {
    /// Those of the deployment and the function.
    pub of: StreamOf,
    /// The request id.
    pub request_id: Box<str>,
}

/// A stream with its form and its credit.
#[derive(Debug)]
pub struct FramedStream {
    stream: Stream,
    framing: Framing,
    window: Window,
}

/// The body of a stream.
#[derive(Debug)]
pub struct StreamBody {
    framed: FramedStream,
    names: CallNames,
    /// What was read before the head of the answer was sent.
    first: Vec<u8>,
    state: State,
}

#[derive(Debug)]
enum State {
    Flows,
    /// It has broken off, and what came before is being flushed.
    Breaks(CallFailure),
    Broken(CallFailure),
    Over,
}

/// A stream broke off.
#[derive(Debug, thiserror::Error)]
#[error("the stream broke off: {code}")]
pub(super) struct BrokenOff {
    code: Cow<'static, str>,
}

impl BrokenOff {
    /// Ends the body of a stream, for the reason that this code stands for.
    pub(super) fn error(code: Cow<'static, str>) -> axum::Error {
        axum::Error::new(Self { code })
    }
}

/// The code of the failure that ended the body of a stream.
#[must_use]
pub fn code_of(error: &axum::Error) -> Cow<'static, str> {
    let mut error: &(dyn Error + 'static) = error;
    loop {
        if let Some(BrokenOff { code }) = error.downcast_ref() {
            return code.clone();
        }
        let Some(source) = error.source() else { return Code::Internal.as_str().into() };
        error = source;
    }
}

impl FramedStream {
    /// A stream that is sent in this form.
    #[must_use]
    pub fn new(stream: Stream, framing: Framing, window: Window) -> Self {
        Self { stream, framing, window }
    }

    /// Its form.
    #[must_use]
    pub fn framing(&self) -> &Framing {
        &self.framing
    }

    /// The next piece, appended to `text`. False at the end, which is appended as well.
    ///
    /// # Errors
    ///
    /// The stream broke off.
    pub async fn read(&mut self, text: &mut Vec<u8>) -> Result<bool, CallFailure> {
        let piece = self.stream.next().await?;
        let goes_on = self.add(piece.as_ref(), text);
        self.refill(false);
        Ok(goes_on)
    }

    fn add(&mut self, piece: Option<&Piece>, text: &mut Vec<u8>) -> bool {
        match piece {
            Some(piece) => {
                self.window.take(piece.size());
                self.framing.add(piece, text);
            }
            None => self.framing.end(text),
        }
        piece.is_some()
    }

    fn refill(&mut self, waits: bool) {
        if let Some(bytes) = self.window.refill(waits) {
            self.stream.grant(bytes);
        }
    }
}

impl StreamBody {
    /// The rest of a stream, after what was read of it first.
    #[must_use]
    pub fn new(framed: FramedStream, first: Vec<u8>, names: CallNames) -> Self {
        Self { framed, names, first, state: State::Flows }
    }

    /// Takes the pieces that are there.
    fn take_pieces(&mut self, text: &mut Vec<u8>, context: &mut Context<'_>) {
        let mut waits = true;
        while text.len() < CHUNK {
            match self.framed.stream.poll_piece(context) {
                Poll::Pending => {
                    waits = false;
                    break;
                }
                Poll::Ready(Ok(piece)) => {
                    if !self.framed.add(piece.as_ref(), text) {
                        self.state = State::Over;
                        break;
                    }
                }
                Poll::Ready(Err(fault)) => {
                    self.framed.framing.fail(&self.names.error_body(fault.clone()), text);
                    self.state = State::Breaks(fault);
                    break;
                }
            }
        }
        self.framed.refill(waits);
    }
}

impl CallNames {
    /// The names of a call of this function.
    #[must_use]
    pub fn new(deployment: &Deployment, function: &str, request_id: &HeaderValue) -> Self {
        Self {
            of: StreamOf { deployment: deployment.name.as_str().into(), function: function.into() },
            request_id: request_id::text(request_id).into(),
        }
    }

    fn broken_off(&self, fault: CallFailure) -> axum::Error {
        BrokenOff::error(failure::of_stream(fault, &self.of).code)
    }

    fn error_body(&self, fault: CallFailure) -> Bytes {
        let failure = failure::of_stream(fault, &self.of);
        answer::error_body(&failure.code, &failure.message, failure.detail.as_ref(), &self.request_id)
    }
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let mut text = std::mem::take(&mut this.first);
        if matches!(this.state, State::Flows) {
            this.take_pieces(&mut text, context);
        }
        if !text.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(text.into()))));
        }
        match std::mem::replace(&mut this.state, State::Over) {
            State::Flows => {
                this.state = State::Flows;
                Poll::Pending
            }
            State::Breaks(fault) => {
                // hyper drops what it has not written when a body fails; it writes while a body is pending.
                this.state = State::Broken(fault);
                context.waker().wake_by_ref();
                Poll::Pending
            }
            State::Broken(fault) => Poll::Ready(Some(Err(this.names.broken_off(fault)))),
            State::Over => Poll::Ready(None),
        }
    }
}
