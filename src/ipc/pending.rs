//! The calls in flight on one worker: found by id, ended by an answer, a deadline or the worker's end. It does no input
//! or output and reads no clock; that is the job of `client`.

mod bodies;
pub mod stream_state;
pub mod streams;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::invocation::{CallFailure, Returned};
use crate::ipc::pending::stream_state::StreamState;
use crate::ipc::upload::Upload;

/// Answers with an unknown id that a worker may send in a second. With more, its answers cannot be trusted: the next
/// one may carry the id of a call that it does not belong to.
const UNKNOWN_PER_SECOND: u32 = 100;

/// Messages that answer no call that a worker may send in a second. Parsing them takes time of the thread that serves
/// all deployments, and no healthy worker sends more than a few.
const ODD_PER_SECOND: u32 = 1000;

/// Longer than any call.
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
    idle_credits: Burst,
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
    /// The reader of a stream.
    Stream(StreamState),
    /// Nobody any more.
    Left,
    /// Nobody any more, and the worker is to end its stream.
    Ending,
}

/// What the passing of deadlines ends.
#[derive(Debug)]
pub struct Overdue<S> {
    /// Calls that are over.
    pub ended: Vec<EndedCall<S>>,
    /// The calls and streams whose worker is to stop.
    pub cancelled: Vec<u64>,
    /// How many of the calls that are over are streams that their worker did not end.
    pub unended: usize,
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
            idle_credits: Burst::default(),
        }
    }
}

impl<S> EndedCall<S> {
    /// Gives the caller its answer; false if the caller has left.
    pub fn complete(self, answer: Result<Returned, CallFailure>) -> bool {
        match (self.waiter, answer) {
            (Waiter::Reply(reply), answer) => reply.send(answer).is_ok(),
            (Waiter::Stream(stream), Err(failure)) => stream.feed.end(Err(failure)),
            (Waiter::Stream(stream), Ok(_)) => {
                stream.feed.end(Err(CallFailure::Protocol("answered a stream twice".into())))
            }
            (Waiter::Left | Waiter::Ending, _) => false,
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
        let mut unended = 0;
        due.retain(|id| {
            let Some(call) = self.calls.get_mut(id) else { return false };
            if matches!(call.waiter, Waiter::Ending) {
                unended += 1;
                return true;
            }
            if call.put_off(now) {
                return false;
            }
            if call.cancellable || matches!(call.waiter, Waiter::Stream(_)) {
                cancelled.push(*id);
            }
            !call.break_stream(CallFailure::TimedOut, now)
        });
        let timed_out = u32::try_from(due.len() - unended).unwrap_or(u32::MAX);
        self.timeouts_in_a_row = self.timeouts_in_a_row.saturating_add(timed_out);
        self.stuck.extend(due.iter().map(|id| (*id, now)));
        Overdue { ended: self.take(&due), cancelled, unended }
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
