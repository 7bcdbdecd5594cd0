//! The gateway's side of one worker's channel: calls go out as lines, answers end the calls they belong to. Sending
//! never waits: a call puts its line into the outbox, and the owner of the right to write empties it. A line is written
//! whole, or the worker is given up.
//!
//! There is one lock. It is held for a few lines, never across `.await`, and not while a call ends: ending a call drops
//! its lease, and a dropped lease takes the pool's lock and may wake a caller that calls again.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::Notify;

use crate::clock;
use crate::invocation::{CallFailure, Returned};
use crate::ipc::counters::Counters;
use crate::ipc::failure::SendError;
use crate::ipc::inbox::{Inbox, Incoming, Message};
use crate::ipc::message::Call;
use crate::ipc::message::stream::cancel_line;
use crate::ipc::outbox::Outbox;
use crate::ipc::pending::{Answered, EndedCall, PendingCalls, Reply};

mod bodies;
mod streams;
#[cfg(test)]
mod tests;
mod writing;

/// With up to this many calls in flight a caller writes its own line. With more, the writer task gathers lines into one
/// write: a system call for each would cost more than the hand-over to the task.
const DIRECT_CALLS: usize = 8;

/// A worker's channel. `S`, the call's lease, is kept with each call until the worker has answered it or it has timed
/// out.
pub struct Client<S> {
    this: Weak<Self>,
    stream_idle: Duration,
    stream: OwnedWriteHalf,
    shared: Mutex<Shared<S>>,
    wake_writer: Notify,
    wake_clock: Notify,
    drained: Notify,
    /// Messages of this worker by kind.
    pub counters: Counters,
}

struct Shared<S> {
    calls: PendingCalls<S>,
    outbox: Outbox,
    /// No more calls are accepted: the worker is draining or gone.
    closed: bool,
    /// A write has failed. The writer task may be asleep, or another caller may have been the writer, so the task
    /// checks this flag when it is woken.
    unwritable: bool,
    /// When the clock task looks for overdue calls next; no deadline is earlier. It may be too early, because a call
    /// that ends does not move it: the task then finds nothing and sleeps again.
    next_look: Option<Instant>,
}

/// The limits of a channel.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a line from the worker.
    pub max_line: usize,
    /// How long a stream may pass without a piece.
    pub stream_idle: Duration,
}

/// How many calls ended because their time was over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OverdueCalls {
    /// Calls without an answer.
    pub timed_out: usize,
    /// Streams that were cancelled, and that the worker did not end.
    pub unended: usize,
}

/// A call that was sent.
#[derive(Debug)]
pub struct Sent {
    /// Its id on this channel.
    pub id: u64,
    /// Where its answer will arrive.
    pub reply: Reply,
}

impl<S: Send + 'static> Client<S> {
    /// Takes over the gateway's end of a channel.
    #[must_use]
    pub fn new(channel: UnixStream, limits: Limits) -> (Arc<Self>, Inbox) {
        let (read, stream) = channel.into_split();
        let client = Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            stream_idle: limits.stream_idle,
            stream,
            shared: Mutex::new(Shared {
                calls: PendingCalls::default(),
                outbox: Outbox::new(),
                closed: false,
                unwritable: false,
                next_look: None,
            }),
            wake_writer: Notify::new(),
            wake_clock: Notify::new(),
            drained: Notify::new(),
            counters: Counters::default(),
        });
        (client, Inbox::new(read, limits.max_line))
    }

    /// Sends a call and returns where its answer will arrive. It does not wait.
    ///
    /// # Errors
    /// The outbox is full, or the worker is gone or draining. The call was not sent then.
    pub fn call(&self, call: &Call<'_>, deadline: Instant, lease: S) -> Result<Sent, SendError> {
        let mut shared = self.shared.lock();
        if shared.closed {
            return Err(SendError::Closed);
        }
        if !shared.outbox.has_room(call.arguments.len()) {
            return Err(SendError::Full);
        }
        let (id, reply) = shared.calls.add(deadline, lease, call.cancellable);
        let sent = Sent { id, reply };
        shared.outbox.push_call(call, id);
        self.look_at(&mut shared, deadline);
        if !shared.outbox.claim() {
            return Ok(sent);
        }
        if shared.calls.len() > DIRECT_CALLS {
            self.wake_writer.notify_one();
            return Ok(sent);
        }
        // The right to write was free, so the outbox held nothing but this call.
        let batch = shared.outbox.next_batch();
        drop(shared);
        if let Some(batch) = batch {
            self.write_directly(batch);
        }
        Ok(sent)
    }

    /// Has the clock task look at `deadline` at the latest.
    fn look_at(&self, shared: &mut Shared<S>, deadline: Instant) {
        if shared.next_look.is_none_or(|at| deadline < at) {
            shared.next_look = Some(deadline);
            self.wake_clock.notify_one();
        }
    }

    /// Puts a whole line that is not a call into the outbox. Without effect once calls are refused.
    pub fn send_line(&self, line: &[u8]) {
        let mut shared = self.shared.lock();
        if !shared.closed {
            self.push_line(&mut shared, line);
        }
    }

    fn push_line(&self, shared: &mut Shared<S>, line: &[u8]) {
        if shared.unwritable {
            return;
        }
        let next_id = shared.calls.next_id();
        shared.outbox.push_line(line, next_id);
        if shared.outbox.claim() {
            self.wake_writer.notify_one();
        }
    }

    /// Reads until a message comes that is not an answer to a call. Cancelling it loses nothing.
    pub async fn read(&self, inbox: &mut Inbox) -> Incoming {
        loop {
            if let Some(incoming) = self.take_messages(inbox) {
                return incoming;
            }
            if !inbox.fill().await {
                return Incoming::Closed;
            }
        }
    }

    /// Reads what a worker that has ended left in the channel, without waiting. Ends the calls that are answered, and
    /// returns a violation of the protocol if there is one, or else the last MetaData if there is any.
    pub fn read_rest(&self, inbox: &mut Inbox) -> Option<Incoming> {
        let mut metadata = None;
        loop {
            match self.take_messages(inbox) {
                Some(Incoming::ProbeResult | Incoming::Retire(_)) => {}
                // Answers may follow it.
                Some(Incoming::MetaData(data)) => metadata = Some(Incoming::MetaData(data)),
                None if inbox.fill_from_kernel() => {}
                None => return metadata,
                Some(end) => return Some(end),
            }
        }
    }

    /// Ends the calls that the whole lines read so far answer, up to the first line that is something else.
    fn take_messages(&self, inbox: &mut Inbox) -> Option<Incoming> {
        loop {
            let other = match inbox.next_message()? {
                Message::Answer { id, answer } => {
                    if self.take_answer(id, answer) {
                        continue;
                    }
                    return Some(Incoming::Protocol("too many answers to unknown calls".to_owned()));
                }
                Message::Stream { id, event } => {
                    if self.take_stream_event(id, event) {
                        continue;
                    }
                    return Some(Incoming::Protocol("too many pieces of unknown streams".to_owned()));
                }
                Message::BodyCredit { id, bytes } if self.take_credit(id, bytes) => continue,
                Message::Malformed(reason) => return Some(Incoming::Protocol(reason)),
                other => other,
            };
            if self.shared.lock().calls.count_odd(clock::now()) {
                return Some(Incoming::Protocol("too many messages that answer no call".to_owned()));
            }
            match other {
                Message::MetaData(data) => return Some(Incoming::MetaData(data)),
                Message::ProbeResult => return Some(Incoming::ProbeResult),
                Message::Retire(reason) => return Some(Incoming::Retire(reason)),
                Message::Unknown(kind) => {
                    // Only the first is logged: a library that talks on the channel would flood the log.
                    if self.counters.unknown_types.fetch_add(1, Ordering::Relaxed) == 0 {
                        tracing::warn!(kind = %kind.escape_debug(), "ignored a message of an unknown type");
                    }
                }
                Message::BodyCredit { .. } => {
                    self.counters.unknown_ids.fetch_add(1, Ordering::Relaxed);
                }
                Message::Answer { .. } | Message::Stream { .. } | Message::Malformed(_) => {}
            }
        }
    }

    /// Ends the call that an answer belongs to; false if the worker has sent too many answers to unknown calls.
    fn take_answer(&self, id: Option<u64>, answer: Result<Returned, CallFailure>) -> bool {
        self.end_call(id, |call| call.complete(answer))
    }

    /// Ends a call; `complete` returns whether its caller is there.
    fn end_call(&self, id: Option<u64>, complete: impl FnOnce(EndedCall<S>) -> bool) -> bool {
        let mut shared = self.shared.lock();
        let answered = shared.calls.take_answered(id, clock::now);
        self.notify_if_drained(&shared);
        drop(shared);
        match answered {
            Answered::Call(call) => {
                self.counters.answered.fetch_add(1, Ordering::Relaxed);
                if !complete(call) {
                    self.counters.late.fetch_add(1, Ordering::Relaxed);
                }
                true
            }
            Answered::Late => {
                self.counters.late.fetch_add(1, Ordering::Relaxed);
                true
            }
            Answered::Unknown { too_many } => {
                self.counters.unknown_ids.fetch_add(1, Ordering::Relaxed);
                !too_many
            }
        }
    }

    fn notify_if_drained(&self, shared: &Shared<S>) {
        if shared.closed && shared.calls.is_empty() {
            self.drained.notify_one();
        }
    }

    /// Waits until calls time out, ends them with [`CallFailure::TimedOut`] and returns how many. Cancelling it loses
    /// nothing.
    pub async fn end_overdue(&self) -> OverdueCalls {
        loop {
            let next = self.shared.lock().next_look;
            match next {
                None => self.wake_clock.notified().await,
                Some(at) => {
                    tokio::select! {
                        biased;
                        () = tokio::time::sleep_until(at.into()) => {}
                        () = self.wake_clock.notified() => continue,
                    }
                }
            }
            let calls = self.end_overdue_at(clock::now());
            if calls != OverdueCalls::default() {
                return calls;
            }
        }
    }

    fn end_overdue_at(&self, now: Instant) -> OverdueCalls {
        let mut shared = self.shared.lock();
        let overdue = shared.calls.take_overdue(now);
        shared.next_look = shared.calls.next_deadline();
        for id in overdue.cancelled {
            self.push_line(&mut shared, cancel_line(id).as_bytes());
        }
        self.notify_if_drained(&shared);
        drop(shared);
        let calls = OverdueCalls { timed_out: overdue.ended.len() - overdue.unended, unended: overdue.unended };
        for call in overdue.ended {
            call.complete(Err(CallFailure::TimedOut));
        }
        calls
    }

    /// How many calls in a row have timed out, and how many of all that did are still unanswered.
    pub fn timeouts(&self) -> (u32, usize) {
        self.shared.lock().calls.timeouts()
    }

    /// When the oldest of the timed-out calls without an answer timed out.
    pub fn stuck_since(&self) -> Option<Instant> {
        self.shared.lock().calls.stuck_since()
    }

    /// Refuses new calls; those in flight go on. [`Client::drained`] waits for their end.
    pub fn refuse_calls(&self) {
        let mut shared = self.shared.lock();
        shared.closed = true;
        self.notify_if_drained(&shared);
    }

    /// Waits until calls are refused and none is in flight.
    pub async fn drained(&self) {
        self.drained.notified().await;
    }

    /// Refuses new calls and ends every call in flight with this failure.
    pub fn fail_all(&self, failure: &CallFailure) {
        let mut shared = self.shared.lock();
        shared.closed = true;
        let calls = shared.calls.take_from(0);
        drop(shared);
        for call in calls {
            call.complete(Err(failure.clone()));
        }
    }
}
