//! The streams among the calls in flight: begun, fed within their credit, broken, left by their readers and ended.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::invocation::stream::{FIRST_CREDIT, Piece, StreamFeed};
use crate::invocation::{CallFailure, Returned};
use crate::ipc::pending::{Call, EndedCall, NEVER, PendingCalls, UNKNOWN_PER_SECOND, Waiter};

/// Time that a worker has to end a stream that was cancelled.
const CANCEL_TIME: Duration = Duration::from_secs(10);

/// What became of a piece of a stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Fed {
    /// Its reader gets it, or has left.
    Taken,
    /// The call is to be cancelled: the worker has broken the protocol in this stream.
    Broken,
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
            Waiter::Stream(feed, _) => feed.end(Ok(())),
            Waiter::Reply(reply) => {
                let failure = CallFailure::Protocol("ended a stream that had not begun".into());
                reply.send(Err(failure)).is_ok()
            }
            Waiter::Left => false,
        }
    }
}

impl<S> PendingCalls<S> {
    /// Makes the answer to a call a stream, which may be idle until `deadline`. Returns where the stream is awaited;
    /// none if this call awaits no answer.
    pub fn begin_stream(
        &mut self,
        id: u64,
        feed: StreamFeed,
        deadline: Instant,
    ) -> Option<oneshot::Sender<Result<Returned, CallFailure>>> {
        let call = self.calls.get_mut(&id)?;
        if !matches!(call.waiter, Waiter::Reply(_)) {
            return None;
        }
        self.timeouts_in_a_row = 0;
        call.deadline = deadline;
        match std::mem::replace(&mut call.waiter, Waiter::Stream(feed, FIRST_CREDIT)) {
            Waiter::Reply(reply) => Some(reply),
            Waiter::Stream(..) | Waiter::Left => None,
        }
    }

    /// Gives a piece to the reader of a stream. While the worker has no credit, the stream cannot be idle.
    pub fn feed(&mut self, id: Option<u64>, piece: Piece, now: Instant, idle: Duration) -> Fed {
        let Some(call) = id.and_then(|id| self.calls.get_mut(&id)) else {
            if id.is_some_and(|id| self.stuck.contains_key(&id)) {
                return Fed::Late;
            }
            return Fed::Unknown { too_many: self.unknown.count(now) > UNKNOWN_PER_SECOND };
        };
        let size = piece.size();
        match &mut call.waiter {
            Waiter::Stream(_, credit) if size > *credit => {
                call.break_stream(CallFailure::Protocol("sent more of a stream than it may".into()), now);
                Fed::Broken
            }
            Waiter::Stream(feed, credit) => {
                *credit -= size;
                call.deadline = now + if *credit == 0 { NEVER } else { idle };
                feed.add(piece);
                Fed::Taken
            }
            Waiter::Left => Fed::Taken,
            Waiter::Reply(_) => Fed::Unknown { too_many: self.unknown.count(now) > UNKNOWN_PER_SECOND },
        }
    }

    /// Ends a stream for its reader: the worker has broken the protocol in it. True if there is one.
    pub fn break_stream(&mut self, id: Option<u64>, reason: &str, now: Instant) -> bool {
        let call = id.and_then(|id| self.calls.get_mut(&id));
        call.is_some_and(|call| call.break_stream(CallFailure::Protocol(reason.into()), now))
    }

    /// Lets the worker send more of a stream, which may be idle until `deadline`. False if there is no such stream.
    pub fn grant(&mut self, id: u64, bytes: usize, deadline: Instant) -> bool {
        match self.calls.get_mut(&id) {
            Some(Call { waiter: Waiter::Stream(_, credit), deadline: until, .. }) => {
                if *credit == 0 {
                    *until = deadline;
                }
                *credit += bytes;
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
        match call.waiter {
            Waiter::Stream(..) => call.deadline = now + CANCEL_TIME,
            Waiter::Reply(_) if call.cancellable => {}
            Waiter::Reply(_) | Waiter::Left => return None,
        }
        if let (Some(upload), Waiter::Reply(_)) = (call.upload.take(), &call.waiter) {
            call.deadline = now + upload.time;
        }
        call.waiter = Waiter::Left;
        Some(call.deadline)
    }
}

impl<S> Call<S> {
    /// Breaks the stream of the call for its reader. False if it has none.
    pub(super) fn break_stream(&mut self, fault: CallFailure, now: Instant) -> bool {
        if !matches!(self.waiter, Waiter::Stream(..)) {
            return false;
        }
        if let Waiter::Stream(feed, _) = std::mem::replace(&mut self.waiter, Waiter::Left) {
            let _reader_left = feed.end(Err(fault));
        }
        self.deadline = now + CANCEL_TIME;
        true
    }
}
