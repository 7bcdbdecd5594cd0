//! Bodies of requests that go on to their functions as they arrive. A body begins to when more of it has come than
//! fits a small request, or when the client makes pauses: most bodies are whole before.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::http::buffers::{Class, ConnectionBuffers, Held, SMALL};
use crate::http::problem::Problem;
use crate::http::request_body::{Arriving, BodyLimits};
use crate::invocation::body::{Pieces, WINDOW};
use crate::worker::uploads::UploadPlace;

/// The time for a body to be whole.
const WHOLE_TIME: Duration = Duration::from_secs(1);
/// How long the rest of a body is read that its function does not need.
const DISCARD_TIME: Duration = Duration::from_secs(2);

/// What of a body has arrived at first.
#[derive(Debug)]
pub enum Begun {
    /// All of it.
    Whole(Bytes, Held),
    /// A part; more is to come.
    Partly(Box<Upload>),
}

/// A body of which a part has arrived.
#[derive(Debug)]
pub struct Upload {
    first: Bytes,
    rest: Arriving,
    held: (Held, UploadPlace),
}

/// Where the fault of a body arrives that broke off while a function was reading it.
pub type Fault = oneshot::Receiver<Problem>;

/// Reads the beginning of a body: all of it, if that is little and comes soon. `place` is kept until the body ends.
///
/// # Errors
///
/// Those of [`Arriving::next`]; and `overloaded` if the gateway holds too much for clients.
pub async fn begin(
    body: Incoming,
    limits: BodyLimits,
    buffers: &Arc<ConnectionBuffers>,
    place: UploadPlace,
) -> Result<Begun, Problem> {
    let mut held = Held::nothing(buffers);
    let mut rest = Arriving::new(body, limits);
    let mut first = BytesMut::new();
    let until = Instant::now() + WHOLE_TIME;
    while first.len() <= SMALL {
        let next = if first.is_empty() {
            rest.next().await?
        } else {
            match tokio::time::timeout_at(until, rest.next()).await {
                Ok(next) => next?,
                Err(_) => break,
            }
        };
        let Some(data) = next else { return Ok(Begun::Whole(first.freeze(), held)) };
        first.extend_from_slice(&data);
        held.grow_to(first.len(), Class::of_body(first.len()))?;
    }
    // What waits for the worker, and the lines in which it is sent.
    held.grow_to(first.len() + 2 * WINDOW, Class::Large)?;
    Ok(Begun::Partly(Box::new(Upload { first: first.freeze(), rest, held: (held, place) })))
}

impl Upload {
    /// Its pieces, for the function; and where a fault of the client arrives, for the answer to it.
    #[must_use]
    pub fn into_pieces(self) -> (Pieces, Fault) {
        let (report, fault) = oneshot::channel();
        let Self { first, rest, held } = self;
        let rest = Rest { pieces: Some(rest.into_pieces()), report: Some(report), _held: held };
        let rest = stream::unfold(rest, |mut rest| async move { rest.next().await.map(|piece| (piece, rest)) });
        (stream::iter([Ok(first)]).chain(rest).boxed(), fault)
    }
}

/// What a function has not read of a body. If it is dropped before its end, the function has answered without it.
struct Rest {
    /// None at the end, and after a fault.
    pieces: Option<BoxStream<'static, Result<Bytes, Problem>>>,
    report: Option<oneshot::Sender<Problem>>,
    _held: (Held, UploadPlace),
}

impl Rest {
    async fn next(&mut self) -> Option<Result<Bytes, Arc<str>>> {
        let fault = match self.pieces.as_mut()?.next().await {
            Some(Ok(piece)) => return Some(Ok(piece)),
            Some(Err(problem)) => Some(problem),
            None => None,
        };
        self.pieces = None;
        let problem = fault?;
        let why: Arc<str> = problem.message().into();
        let _answered = self.report.take().map(|report| report.send(problem));
        Some(Err(why))
    }
}

impl Drop for Rest {
    /// Reads on for a moment: clients of HTTP/2 lose an answer whose stream is reset while they send.
    fn drop(&mut self) {
        if let (Some(mut pieces), Ok(runtime)) = (self.pieces.take(), Handle::try_current()) {
            let discarding = async move { while let Some(Ok(_)) = pieces.next().await {} };
            runtime.spawn(tokio::time::timeout(DISCARD_TIME, discarding));
        }
    }
}
