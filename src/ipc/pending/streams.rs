//! The streams among the calls in flight: begun, fed within their credit, broken, left by their readers and ended.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::invocation::stream::{Piece, StreamFeed};
use crate::invocation::{CallFailure, Returned};
use crate::ipc::pending::stream_state::StreamState;
use crate::ipc::pending::{Call, EndedCall, NEVER, PendingCalls, UNKNOWN_PER_SECOND, Waiter};

/// Time that a worker has to end a stream that was cancelled.
const CANCEL_TIME: Duration = Duration::from_secs(10);

/// What became of a message of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fed {
    /// Its reader gets it, or has left.
    Taken,
    /// The call is to be cancelled: the worker has broken the protocol in this stream.
    Broken,
    /// The call is to be cancelled: nobody waits for a stream.
    Unwanted,
    /// It belongs to a call that is over.
    Late,
    /// It belongs to no call.
    Unknown {
        /// Whether the worker has sent more than 100 of these within a second.
        too_many: bool,
    },
}

impl<S> EndedCall<S> {
    /// Ends the stream of the call well.
    pub fn end_stream(self) -> bool {
        match self.waiter {
            Waiter::Stream(StreamState { feed, is_inside: true, .. }) => {
                feed.end(Err(CallFailure::Protocol("ended a stream inside an item".into())))
            }
            Waiter::Stream(stream) => stream.feed.end(Ok(())),
            Waiter::Reply(reply) => {
                let failure = CallFailure::Protocol("ended a stream that had not begun".into());
                reply.send(Err(failure)).is_ok()
            }
            Waiter::Left | Waiter::Ending => false,
        }
    }
}

impl<S> PendingCalls<S> {
    /// Makes the answer to a call a stream, which may be idle until `deadline`: the body of a response, or items.
    /// Returns where the stream is awaited, or what became of the message.
    ///
    /// # Errors
    ///
    /// The call awaits no stream.
    pub fn begin_stream(
        &mut self,
        id: Option<u64>,
        feed: StreamFeed,
        is_body: bool,
        now: Instant,
        idle: Duration,
    ) -> Result<oneshot::Sender<Result<Returned, CallFailure>>, Fed> {
        let Some(call) = id.and_then(|id| self.calls.get_mut(&id)) else { return Err(self.unknown_stream(id, now)) };
        match &call.waiter {
            Waiter::Reply(_) => {}
            Waiter::Stream(_) => {
                call.break_stream(CallFailure::Protocol("began a stream twice".into()), now);
                return Err(Fed::Broken);
            }
            Waiter::Left => {
                call.end_soon(now);
                return Err(Fed::Unwanted);
            }
            Waiter::Ending => return Err(self.unknown_stream(None, now)),
        }
        self.timeouts_in_a_row = 0;
        call.deadline = now + idle;
        let stream = StreamState::new(feed, is_body);
        match std::mem::replace(&mut call.waiter, Waiter::Stream(stream)) {
            Waiter::Reply(reply) => Ok(reply),
            Waiter::Stream(_) | Waiter::Left | Waiter::Ending => Err(Fed::Unwanted),
        }
    }

    /// Gives a piece to the reader of a stream. While the worker has no credit, the stream cannot be idle.
    pub fn feed(&mut self, id: Option<u64>, piece: Piece, now: Instant, idle: Duration) -> Fed {
        let Some(call) = id.and_then(|id| self.calls.get_mut(&id)) else { return self.unknown_stream(id, now) };
        match &mut call.waiter {
            Waiter::Stream(stream) => match stream.take(&piece) {
                Ok(()) => {
                    call.deadline = now + if stream.credit == 0 { NEVER } else { idle };
                    stream.feed.add(piece);
                    Fed::Taken
                }
                Err(fault) => {
                    call.break_stream(CallFailure::Protocol(fault.into()), now);
                    Fed::Broken
                }
            },
            Waiter::Left | Waiter::Ending => Fed::Taken,
            Waiter::Reply(_) => self.unknown_stream(None, now),
        }
    }

    /// What becomes of a message of a stream that is not in flight.
    fn unknown_stream(&mut self, id: Option<u64>, now: Instant) -> Fed {
        if id.is_some_and(|id| self.stuck.contains_key(&id)) {
            return Fed::Late;
        }
        Fed::Unknown { too_many: self.unknown.count(now) > UNKNOWN_PER_SECOND }
    }

    /// Ends a stream for its reader: the worker has broken the protocol in it. True if there is one.
    pub fn break_stream(&mut self, id: Option<u64>, reason: &str, now: Instant) -> bool {
        let call = id.and_then(|id| self.calls.get_mut(&id));
        call.is_some_and(|call| call.break_stream(CallFailure::Protocol(reason.into()), now))
    }

    /// Lets the worker send more of a stream, which may be idle until `deadline`. False if there is no such stream.
    pub fn grant(&mut self, id: u64, bytes: usize, deadline: Instant) -> bool {
        match self.calls.get_mut(&id) {
            Some(Call { waiter: Waiter::Stream(stream), deadline: until, .. }) => {
                if stream.credit == 0 {
                    *until = deadline;
                }
                stream.credit += bytes;
                true
            }
            Some(_) | None => false,
        }
    }

    /// Whether the worker is to know when the caller of this call leaves.
    #[must_use]
    pub fn is_cancellable(&self, id: u64) -> bool {
        self.calls.get(&id).is_some_and(|call| call.cancellable)
    }

    /// The caller of a call, or the reader of a stream, has left. The worker may still answer until the deadline of the
    /// call; it has 10 s to end a stream. Returns the deadline if the worker is to know.
    pub fn leave(&mut self, id: u64, now: Instant) -> Option<Instant> {
        let call = self.calls.get_mut(&id)?;
        let upload = call.upload.take();
        match call.waiter {
            Waiter::Stream(_) => {
                call.end_soon(now);
                return Some(call.deadline);
            }
            Waiter::Reply(_) if call.cancellable => {}
            Waiter::Reply(_) | Waiter::Left | Waiter::Ending => return None,
        }
        if let Some(upload) = upload {
            call.deadline = now + upload.time;
        }
        call.waiter = Waiter::Left;
        Some(call.deadline)
    }
}

impl<S> Call<S> {
    /// Breaks the stream of the call for its reader. False if it has none.
    pub(super) fn break_stream(&mut self, fault: CallFailure, now: Instant) -> bool {
        if !matches!(self.waiter, Waiter::Stream(_)) {
            return false;
        }
        if let Waiter::Stream(stream) = std::mem::replace(&mut self.waiter, Waiter::Ending) {
            let _reader_left = stream.feed.end(Err(fault));
        }
        self.deadline = now + CANCEL_TIME;
        true
    }

    /// Nobody reads the stream of the call any more: its worker is to end it.
    fn end_soon(&mut self, now: Instant) {
        if !matches!(self.waiter, Waiter::Ending) {
            self.waiter = Waiter::Ending;
            self.deadline = now + CANCEL_TIME;
        }
    }
}
