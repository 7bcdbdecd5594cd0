//! The calls in flight on one worker: found by id, ended by an answer, a deadline or the worker's end. It does no input
//! or output and reads no clock; that is the job of `client`.

mod bodies;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::invocation::Returned;
use crate::invocation::stream::{FIRST_CREDIT, Piece, StreamFault, StreamFeed};
use crate::ipc::failure::CallFailure;
use crate::ipc::upload::Upload;

/// Answers with an unknown id that a worker may send in a second. With more, its answers cannot be trusted: the next
/// one may carry the id of a call that it does not belong to.
const UNKNOWN_PER_SECOND: u32 = 100;

/// Messages that answer no call that a worker may send in a second. Parsing them takes time of the thread that serves
/// all deployments, and no healthy worker sends more than a few.
const ODD_PER_SECOND: u32 = 1000;

/// Time that a worker has to end a stream that was cancelled.
const CANCEL_TIME: Duration = Duration::from_secs(10);
/// Longer than any stream.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Where the answer to a call arrives.
pub type Reply = oneshot::Receiver<Result<Returned, CallFailure>>;

/// Calls in flight by id. `S`, the call's lease, is kept with each call until the worker has answered it or it timed
/// out.
#[derive(Debug)]
pub struct PendingCalls<S> {
    calls: HashMap<u64, Call<S>>,
    next_id: u64,
    /// Calls that timed out, with when they did, and that the worker has not answered since. It does not grow without
    /// bound: a worker with a call that stays here is replaced.
    stuck: HashMap<u64, Instant>,
    timeouts_in_a_row: u32,
    unknown: Burst,
    odd: Burst,
}

#[derive(Debug)]
struct Call<S> {
    waiter: Waiter,
    deadline: Instant,
    lease: S,
    /// Whether the worker is to know when its caller leaves or its time is over.
    cancellable: bool,
    /// The body that follows it.
    upload: Option<Upload>,
}

/// Who waits for the rest of a call.
#[derive(Debug)]
enum Waiter {
    /// A caller, for the answer.
    Reply(oneshot::Sender<Result<Returned, CallFailure>>),
    /// The reader of a stream; and the bytes that the worker may send.
    Stream(StreamFeed, usize),
    /// Nobody any more.
    Left,
}

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

/// What the passing of deadlines ends.
#[derive(Debug)]
pub struct Overdue<S> {
    /// Calls that are over.
    pub ended: Vec<EndedCall<S>>,
    /// The calls and streams whose worker is to stop.
    pub cancelled: Vec<u64>,
}

/// A call that has ended, with its caller and its lease. Completing or dropping it takes other locks (the lease goes
/// back to its pool), so do it outside of any lock.
#[derive(Debug)]
pub struct EndedCall<S> {
    waiter: Waiter,
    _lease: S,
}

/// The call that an answer belongs to.
#[derive(Debug)]
pub enum Answered<S> {
    /// A call in flight.
    Call(EndedCall<S>),
    /// A call that has timed out.
    Late,
    /// No call: an id that was never given out, or that was answered before.
    Unknown {
        /// Whether the worker has sent more than 100 of these within a second.
        too_many: bool,
    },
}

/// Counts events within one second.
#[derive(Debug, Default)]
struct Burst {
    since: Option<Instant>,
    count: u32,
}

impl<S> Default for PendingCalls<S> {
    fn default() -> Self {
        Self {
            calls: HashMap::new(),
            next_id: 1,
            stuck: HashMap::new(),
            timeouts_in_a_row: 0,
            unknown: Burst::default(),
            odd: Burst::default(),
        }
    }
}

impl<S> EndedCall<S> {
    /// Gives the caller its answer; false if the caller has left.
    pub fn complete(self, answer: Result<Returned, CallFailure>) -> bool {
        match (self.waiter, answer) {
            (Waiter::Reply(reply), answer) => reply.send(answer).is_ok(),
            (Waiter::Stream(feed, _), Err(failure)) => feed.end(Err(fault(failure))),
            (Waiter::Stream(feed, _), Ok(_)) => feed.end(Err(StreamFault::Protocol("answered a stream twice".into()))),
            (Waiter::Left, _) => false,
        }
    }

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
    /// Adds a call; returns its id and where its answer will arrive. Ids ascend.
    pub fn add(&mut self, deadline: Instant, lease: S, cancellable: bool) -> (u64, Reply) {
        let id = self.next_id;
        self.next_id += 1;
        let (reply, answer) = oneshot::channel();
        self.calls.insert(id, Call { waiter: Waiter::Reply(reply), deadline, lease, cancellable, upload: None });
        (id, answer)
    }

    /// The id of the next call.
    #[must_use]
    pub fn next_id(&self) -> u64 {
        self.next_id
    }

    /// How many calls are in flight.
    #[must_use]
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether no call is in flight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Takes the call that an answer belongs to. `id` is `None` if the text of the id cannot be one of the gateway's.
    pub fn take_answered(&mut self, id: Option<u64>, now: impl Fn() -> Instant) -> Answered<S> {
        if let Some(call) = id.and_then(|id| self.calls.remove(&id)) {
            self.timeouts_in_a_row = 0;
            return Answered::Call(EndedCall { waiter: call.waiter, _lease: call.lease });
        }
        if id.is_some_and(|id| self.stuck.remove(&id).is_some()) {
            return Answered::Late;
        }
        #[cfg(test)]
        if crate::planted::is(crate::planted::Fault::DoubleAnswer)
            && let Some(other) = self.calls.keys().copied().min()
            && let Some(call) = self.take(&[other]).pop()
        {
            return Answered::Call(call);
        }
        Answered::Unknown { too_many: self.unknown.count(now()) > UNKNOWN_PER_SECOND }
    }

    /// Counts a message that answers no call; true if there were more than 1000 within a second.
    pub fn count_odd(&mut self, now: Instant) -> bool {
        self.odd.count(now) > ODD_PER_SECOND
    }

    /// Takes the calls whose deadline has passed, the oldest first. A stream that was idle for too long ends for its
    /// reader only: its worker has to end it as well.
    pub fn take_overdue(&mut self, now: Instant) -> Overdue<S> {
        let mut due: Vec<u64> = self.calls.iter().filter(|(_, call)| call.deadline <= now).map(|(id, _)| *id).collect();
        due.sort_unstable();
        let mut cancelled = Vec::new();
        due.retain(|id| {
            let Some(call) = self.calls.get_mut(id) else { return false };
            if call.cancellable || matches!(call.waiter, Waiter::Stream(..)) {
                cancelled.push(*id);
            }
            !call.break_stream(StreamFault::Idle, now)
        });
        self.timeouts_in_a_row = self.timeouts_in_a_row.saturating_add(u32::try_from(due.len()).unwrap_or(u32::MAX));
        self.stuck.extend(due.iter().map(|id| (*id, now)));
        Overdue { ended: self.take(&due), cancelled }
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.calls.values().map(|call| call.deadline).min()
    }

    /// Takes the calls from this id on, the oldest first.
    pub fn take_from(&mut self, first: u64) -> Vec<EndedCall<S>> {
        let mut ids: Vec<u64> = self.calls.keys().copied().filter(|id| *id >= first).collect();
        ids.sort_unstable();
        self.take(&ids)
    }

    /// How many calls in a row have timed out, and how many of all that did are still unanswered.
    #[must_use]
    pub fn timeouts(&self) -> (u32, usize) {
        (self.timeouts_in_a_row, self.stuck.len())
    }

    /// When the oldest of the timed-out calls without an answer timed out.
    #[must_use]
    pub fn stuck_since(&self) -> Option<Instant> {
        self.stuck.values().copied().min()
    }

    fn take(&mut self, ids: &[u64]) -> Vec<EndedCall<S>> {
        ids.iter()
            .filter_map(|id| self.calls.remove(id))
            .map(|call| EndedCall { waiter: call.waiter, _lease: call.lease })
            .collect()
    }

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
                call.break_stream(StreamFault::Protocol("sent more of a stream than it may".into()), now);
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
        call.is_some_and(|call| call.break_stream(StreamFault::Protocol(reason.into()), now))
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
    fn break_stream(&mut self, fault: StreamFault, now: Instant) -> bool {
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

fn fault(failure: CallFailure) -> StreamFault {
    match failure {
        CallFailure::Function(error) => StreamFault::Function(error),
        CallFailure::Crashed(how) => StreamFault::Crashed(how),
        CallFailure::Protocol(how) => StreamFault::Protocol(how),
        CallFailure::TimedOut => StreamFault::Idle,
        CallFailure::Stopped | CallFailure::Unsent => StreamFault::Stopped,
    }
}

impl Burst {
    fn count(&mut self, now: Instant) -> u32 {
        if self.since.is_none_or(|since| now - since > Duration::from_secs(1)) {
            self.since = Some(now);
            self.count = 0;
        }
        self.count += 1;
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls() -> (PendingCalls<()>, Instant) {
        (PendingCalls::default(), Instant::now())
    }

    #[test]
    fn an_answer_finds_its_call_once() {
        let (mut calls, now) = calls();
        let (id, mut reply) = calls.add(now, (), false);
        let Answered::Call(call) = calls.take_answered(Some(id), || now) else { panic!("no call") };
        assert!(call.complete(Ok(Returned::Value(None))));
        assert!(reply.try_recv().unwrap().is_ok());
        assert!(matches!(calls.take_answered(Some(id), || now), Answered::Unknown { too_many: false }));
    }

    #[test]
    fn a_late_answer_is_not_an_unknown_one() {
        let (mut calls, now) = calls();
        let (id, _reply) = calls.add(now, (), false);
        assert_eq!(calls.take_overdue(now).ended.len(), 1);
        assert_eq!(calls.timeouts(), (1, 1));
        assert!(matches!(calls.take_answered(Some(id), || now), Answered::Late));
        assert_eq!(calls.timeouts(), (1, 0));
    }

    #[test]
    fn an_answer_resets_the_count_of_timeouts_in_a_row() {
        let (mut calls, now) = calls();
        let (_, _first) = calls.add(now, (), false);
        let (second, _reply) = calls.add(now + Duration::from_secs(9), (), false);
        assert_eq!(calls.take_overdue(now).ended.len(), 1);
        assert_eq!(calls.next_deadline(), Some(now + Duration::from_secs(9)));
        let _call = calls.take_answered(Some(second), || now);
        assert_eq!(calls.timeouts(), (0, 1));
    }

    #[test]
    fn a_burst_of_unknown_answers_is_too_many() {
        let (mut calls, now) = calls();
        for _ in 0..UNKNOWN_PER_SECOND {
            assert!(matches!(calls.take_answered(None, || now), Answered::Unknown { too_many: false }));
        }
        assert!(matches!(calls.take_answered(Some(7), || now), Answered::Unknown { too_many: true }));
        let later = now + Duration::from_secs(2);
        assert!(matches!(calls.take_answered(None, || later), Answered::Unknown { too_many: false }));
    }

    #[test]
    fn calls_from_an_id_on_are_taken_together() {
        let (mut calls, now) = calls();
        let replies: Vec<_> = (0..5).map(|_| calls.add(now, (), false)).collect();
        assert_eq!(calls.take_from(replies[2].0).len(), 3);
        assert_eq!(calls.len(), 2);
    }
}
