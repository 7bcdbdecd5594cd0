//! The calls that run, as the gateway goes on talking about them: the credit of a streamed answer, the pieces of a
//! request's body, and `CancelCall`. One thread reads these messages; the thread of the call waits for them here.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame};
use parking_lot::Mutex;
use tokio::time::Sleep;
use wasmtime_wasi_http::Error;

use crate::wasm::waits::DeadlineExceeded;
use crate::wasm_worker::channel::Outbox;
use crate::wasm_worker::messages::{self, CallMessage};

/// Credit of a stream at its start, in bytes.
const FIRST_CREDIT: u64 = 1024;

/// How long a component may go on after its caller has left in the middle of its request: it can see that the body
/// broke off, and clean up.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// All calls that may receive further messages, by id.
#[derive(Debug, Default)]
pub(super) struct RunningCalls(Mutex<HashMap<Box<str>, Arc<RunningCall>>>);

/// One call.
#[derive(Debug)]
pub(super) struct RunningCall {
    id: Box<str>,
    outbox: Arc<Outbox>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    is_cancelled: bool,
    /// When the call's time is over; `None` while it does not count.
    deadline: Option<Instant>,
    body_follows: bool,
    /// Time of the call once the body has ended. `None` if no body follows, or the answer has begun.
    time_after_body: Option<Duration>,
    /// Bytes of the answer that may be sent, from the first one on.
    granted: u64,
    /// Pieces that the call has not taken. The gateway's credit bounds them.
    pieces: VecDeque<Bytes>,
    body_end: Option<Result<(), String>>,
    /// Wakes the call: it was cancelled, has other time, or got credit.
    call: Option<Waker>,
    /// Wakes the reader of the body. A poll without a waker replaces it, hence not the one above.
    body: Option<Waker>,
}

/// Why a call ends before its function does.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(super) enum Ended {
    /// The gateway cancelled it.
    #[error("the call was cancelled")]
    Cancelled,
    /// Its time is over.
    #[error(transparent)]
    TimedOut(#[from] DeadlineExceeded),
}

impl RunningCalls {
    /// Adds the call with this id.
    pub(super) fn add(&self, id: &str, outbox: &Arc<Outbox>) -> Arc<RunningCall> {
        let state = Mutex::new(State { granted: FIRST_CREDIT, ..State::default() });
        let call = Arc::new(RunningCall { id: id.into(), outbox: Arc::clone(outbox), state });
        self.0.lock().insert(id.into(), Arc::clone(&call));
        call
    }

    /// Removes a call. Messages for it are ignored from now on: some may be on their way.
    pub(super) fn remove(&self, call: &RunningCall) {
        self.0.lock().remove(&call.id);
    }

    /// Delivers a message about a call.
    pub(super) fn deliver(&self, id: &str, message: CallMessage) {
        let call = self.0.lock().get(id).cloned();
        if let Some(call) = call {
            call.take_message(message);
        }
    }

    /// Ends all calls: the gateway is gone.
    pub(super) fn cancel_all(&self) {
        for call in self.0.lock().values() {
            call.take_message(CallMessage::Cancel);
        }
    }
}

impl RunningCall {
    /// The call's id.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    fn take_message(&self, message: CallMessage) {
        let mut state = self.state.lock();
        match message {
            CallMessage::Cancel => state.cancel(),
            CallMessage::Credit(bytes) => state.granted = state.granted.saturating_add(bytes),
            CallMessage::BodyPiece(piece) => state.pieces.push_back(piece),
            CallMessage::BodyEnd(end) => {
                state.body_end = Some(end);
                if let Some(time) = state.time_after_body.take().filter(|_| !state.is_cancelled) {
                    state.deadline = Some(Instant::now() + time);
                }
            }
        }
        let wakers = [state.call.take(), state.body.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Starts the time of the call. While a body comes, the gateway counts it: it knows whether the client or the
    /// function is waited for.
    pub(super) fn start_time(&self, deadline: Instant, body_follows: bool) {
        let mut state = self.state.lock();
        state.body_follows = body_follows;
        if state.is_cancelled {
            return;
        }
        if body_follows && state.body_end.is_none() {
            state.time_after_body = Some(deadline.saturating_duration_since(Instant::now()));
        } else {
            state.deadline = Some(deadline);
        }
    }

    /// The answer has begun: from now on the call has no deadline.
    pub(super) fn stop_time(&self) {
        let mut state = self.state.lock();
        if !state.is_cancelled {
            state.deadline = None;
        }
        state.time_after_body = None;
    }

    /// Waits until the call is cancelled or its time is over.
    pub(super) fn poll_end(&self, mut sleep: Pin<&mut Sleep>, context: &mut Context<'_>) -> Poll<Ended> {
        let (deadline, ended) = {
            let mut state = self.state.lock();
            state.call = Some(context.waker().clone());
            let ended = if state.is_cancelled { Ended::Cancelled } else { DeadlineExceeded.into() };
            (state.deadline, ended)
        };
        let Some(deadline) = deadline else { return Poll::Pending };
        if sleep.deadline() != deadline.into() {
            sleep.as_mut().reset(deadline.into());
        }
        sleep.poll(context).map(|()| ended)
    }

    /// Bytes of the answer that may be sent after the first `sent`. Whoever waits for more is woken by the waker of
    /// [`Self::poll_end`].
    pub(super) fn credit(&self, sent: u64) -> u64 {
        self.state.lock().granted.saturating_sub(sent)
    }

    /// Sends a line of this call.
    pub(super) fn send(&self, line: &[u8]) -> std::io::Result<()> {
        self.outbox.add(line)?;
        self.outbox.flush()
    }
}

impl State {
    fn cancel(&mut self) {
        self.is_cancelled = true;
        let mut end = Instant::now();
        if self.body_follows && self.body_end != Some(Ok(())) {
            self.body_end.get_or_insert_with(|| Err("the caller has left".to_owned()));
            end += LAST_WORDS;
        }
        self.deadline = Some(end);
    }
}

/// The body of a request that follows its call.
pub(super) struct FollowingBody(pub(super) Arc<RunningCall>);

impl Body for FollowingBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let mut state = self.0.state.lock();
        let Some(piece) = state.pieces.pop_front() else {
            return match &state.body_end {
                Some(Ok(())) => Poll::Ready(None),
                Some(Err(message)) => Poll::Ready(Some(Err(Error::InternalError(Some(message.clone()))))),
                None => {
                    state.body = Some(context.waker().clone());
                    Poll::Pending
                }
            };
        };
        let has_ended = state.body_end.is_some();
        drop(state);
        if !has_ended {
            // It fails only when the gateway is gone, which ends the call.
            let _gateway_gone = self.0.send(&messages::body_credit(&self.0.id, piece.len()));
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}
