//! The calls of one worker that wait for their answer: found by id, ended by an answer, a deadline or the worker's end.
//! What goes over the channel is left to `client`.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::invocation::Returned;
use crate::ipc::CallFailure;

/// Answers to calls that never were, within a second, before the worker is given up.
const UNKNOWN_PER_SECOND: u32 = 100;

/// Messages that answer no call, within a second, before the worker is given up: each costs the other deployments time.
const ODD_PER_SECOND: u32 = 1000;

/// The answer to a call, when it comes.
pub type Reply = oneshot::Receiver<Result<Returned, CallFailure>>;

/// Calls by id. `S` is kept with each call until the worker has answered it or its time is over.
#[derive(Debug)]
pub struct PendingCalls<S> {
    calls: HashMap<u64, Call<S>>,
    next_id: u64,
    /// Calls whose time ran out, when it did, and that the worker has not answered since.
    stuck: HashMap<u64, Instant>,
    timeouts_in_a_row: u32,
    unknown: Burst,
    odd: Burst,
}

#[derive(Debug)]
struct Call<S> {
    reply: oneshot::Sender<Result<Returned, CallFailure>>,
    deadline: Instant,
    slot: S,
}

/// A call that is over: its caller and its slot. Told outside of any lock, because what waits runs then.
#[derive(Debug)]
pub struct Ended<S> {
    reply: oneshot::Sender<Result<Returned, CallFailure>>,
    _slot: S,
}

/// What an answer was to.
#[derive(Debug)]
pub enum Answered<S> {
    /// A call that waits.
    Call(Ended<S>),
    /// A call that was over already.
    Late,
    /// No call that ever was.
    Unknown {
        /// There are so many of these that the worker cannot be trusted.
        too_many: bool,
    },
}

/// How many there were in the present second.
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

impl<S> Ended<S> {
    /// Tells the caller; false when it is gone.
    pub fn tell(self, answer: Result<Returned, CallFailure>) -> bool {
        self.reply.send(answer).is_ok()
    }
}

impl<S> PendingCalls<S> {
    /// Adds a call; gives its id and where its answer will come.
    pub fn add(&mut self, deadline: Instant, slot: S) -> (u64, Reply) {
        let id = self.next_id;
        self.next_id += 1;
        let (reply, answer) = oneshot::channel();
        self.calls.insert(id, Call { reply, deadline, slot });
        (id, answer)
    }

    /// The id that the next call will have.
    #[must_use]
    pub fn next_id(&self) -> u64 {
        self.next_id
    }

    /// How many calls wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether no call waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Takes the call that an answer is for. `id` is nothing when the worker sent none of ours.
    pub fn answered(&mut self, id: Option<u64>, now: impl Fn() -> Instant) -> Answered<S> {
        if let Some(call) = id.and_then(|id| self.calls.remove(&id)) {
            self.timeouts_in_a_row = 0;
            return Answered::Call(Ended { reply: call.reply, _slot: call.slot });
        }
        if id.is_some_and(|id| self.stuck.remove(&id).is_some()) {
            return Answered::Late;
        }
        Answered::Unknown { too_many: self.unknown.count(now()) > UNKNOWN_PER_SECOND }
    }

    /// Counts a message that answers no call; true when there are too many.
    pub fn odd_message(&mut self, now: Instant) -> bool {
        self.odd.count(now) > ODD_PER_SECOND
    }

    /// Takes the calls whose deadline has come.
    pub fn overdue(&mut self, now: Instant) -> Vec<Ended<S>> {
        let due: Vec<u64> = self.calls.iter().filter(|(_, call)| call.deadline <= now).map(|(id, _)| *id).collect();
        self.timeouts_in_a_row = self.timeouts_in_a_row.saturating_add(u32::try_from(due.len()).unwrap_or(u32::MAX));
        self.stuck.extend(due.iter().map(|id| (*id, now)));
        self.take(&due)
    }

    /// The next deadline.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.calls.values().map(|call| call.deadline).min()
    }

    /// Takes the calls from an id on.
    pub fn from_id(&mut self, first: u64) -> Vec<Ended<S>> {
        let ids: Vec<u64> = self.calls.keys().copied().filter(|id| *id >= first).collect();
        self.take(&ids)
    }

    /// How many calls in a row ran out of time, and how many of all that did are still unanswered.
    #[must_use]
    pub fn timeouts(&self) -> (u32, usize) {
        (self.timeouts_in_a_row, self.stuck.len())
    }

    /// When the time of the call ran out that has been without answer the longest.
    #[must_use]
    pub fn stuck_since(&self) -> Option<Instant> {
        self.stuck.values().copied().min()
    }

    fn take(&mut self, ids: &[u64]) -> Vec<Ended<S>> {
        ids.iter()
            .filter_map(|id| self.calls.remove(id))
            .map(|call| Ended { reply: call.reply, _slot: call.slot })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn calls() -> (PendingCalls<()>, Instant) {
        (PendingCalls::default(), Instant::now())
    }

    #[test]
    fn an_answer_finds_its_call_once() {
        let (mut calls, now) = calls();
        let (id, mut reply) = calls.add(now, ());
        let Answered::Call(call) = calls.answered(Some(id), || now) else { panic!("no call") };
        assert!(call.tell(Ok(Returned(None))));
        assert!(reply.try_recv().unwrap().is_ok());
        assert!(matches!(calls.answered(Some(id), || now), Answered::Unknown { too_many: false }));
    }

    #[test]
    fn a_late_answer_is_no_unknown_one() {
        let (mut calls, now) = calls();
        let (id, _reply) = calls.add(now, ());
        assert_eq!(calls.overdue(now).len(), 1);
        assert_eq!(calls.timeouts(), (1, 1));
        assert!(matches!(calls.answered(Some(id), || now), Answered::Late));
        assert_eq!(calls.timeouts(), (1, 0));
    }

    #[test]
    fn an_answer_ends_a_row_of_timeouts() {
        let (mut calls, now) = calls();
        let (_, _first) = calls.add(now, ());
        let (second, _reply) = calls.add(now + Duration::from_secs(9), ());
        assert_eq!(calls.overdue(now).len(), 1);
        assert_eq!(calls.next_deadline(), Some(now + Duration::from_secs(9)));
        let _call = calls.answered(Some(second), || now);
        assert_eq!(calls.timeouts(), (0, 1));
    }

    #[test]
    fn a_burst_of_unknown_answers_is_too_many() {
        let (mut calls, now) = calls();
        for _ in 0..UNKNOWN_PER_SECOND {
            assert!(matches!(calls.answered(None, || now), Answered::Unknown { too_many: false }));
        }
        assert!(matches!(calls.answered(Some(7), || now), Answered::Unknown { too_many: true }));
        let later = now + Duration::from_secs(2);
        assert!(matches!(calls.answered(None, || later), Answered::Unknown { too_many: false }));
    }

    #[test]
    fn calls_from_an_id_on_are_taken_together() {
        let (mut calls, now) = calls();
        let replies: Vec<_> = (0..5).map(|_| calls.add(now, ())).collect();
        assert_eq!(calls.from_id(replies[2].0).len(), 3);
        assert_eq!(calls.len(), 2);
    }
}
