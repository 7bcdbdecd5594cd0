//! Calls in flight whose bodies follow them: when the function's time runs.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::ipc::pending::{Call, NEVER, PendingCalls, Waiter};
use crate::ipc::upload::Upload;

/// Credits that change nothing that a worker may send in a second: those for bodies that have ended by then are none of
/// its faults, but parsing them takes time of the thread that serves all deployments.
const IDLE_CREDITS_PER_SECOND: u32 = 10_000;

impl<S> PendingCalls<S> {
    /// Lets a body follow a call. The function has this `time` to answer, or to take more, once it waits for nobody; a
    /// stream that it answers with may be `idle` for so long. Returns the bytes that may be sent, from the first one
    /// on, as they change; none if the call is over.
    pub fn follow(&mut self, id: u64, time: Duration, idle: Duration, now: Instant) -> Option<watch::Receiver<u64>> {
        let call = self.calls.get_mut(&id)?;
        let (upload, may_send) = Upload::new(time, idle);
        call.upload = Some(upload);
        call.wait_for_client(now);
        Some(may_send)
    }

    /// A piece of a body was sent. If the worker has no credit for more, its time begins; returns its deadline then.
    pub fn sent_piece(&mut self, id: u64, bytes: usize, now: Instant) -> Option<Instant> {
        let call = self.calls.get_mut(&id)?;
        let upload = call.upload.as_mut()?;
        upload.add_sent(bytes);
        if upload.has_credit() || !matches!(call.waiter, Waiter::Reply(_)) {
            return None;
        }
        call.deadline = now + upload.time;
        Some(call.deadline)
    }

    /// The worker has taken bytes of a body. False if the id was never given out, or if too many of these change
    /// nothing.
    pub fn take_credit(&mut self, id: Option<u64>, bytes: usize, now: Instant) -> bool {
        let Some(id) = id.filter(|id| *id < self.next_id) else { return false };
        let call = self.calls.get_mut(&id);
        match call.filter(|call| call.upload.as_ref().is_some_and(|upload| upload.add_credit(bytes))) {
            Some(call) => {
                call.wait_for_client(now);
                true
            }
            None => self.idle_credits.count(now) <= IDLE_CREDITS_PER_SECOND,
        }
    }

    /// A body has ended: the time to answer begins. Returns the deadline; none if it is not the body of a call that
    /// waits.
    pub fn end_upload(&mut self, id: u64, now: Instant) -> Option<Instant> {
        let call = self.calls.get_mut(&id)?;
        let upload = call.upload.take()?;
        call.deadline = match call.waiter {
            Waiter::Reply(_) => now + upload.time,
            _ => call.deadline.max(now + upload.idle),
        };
        Some(call.deadline)
    }
}

impl<S> Call<S> {
    /// The function's time stands still while it waits for the client, which is held to a pace of its own.
    fn wait_for_client(&mut self, now: Instant) {
        if matches!(self.waiter, Waiter::Reply(_)) {
            self.deadline = now + NEVER;
        }
    }

    /// Puts the deadline of a stream off whose function waits for the client. False if it does not.
    pub(super) fn put_off(&mut self, now: Instant) -> bool {
        let waiting = self.upload.as_ref().filter(|upload| upload.has_credit());
        let Some(upload) = waiting.filter(|_| matches!(self.waiter, Waiter::Stream(_))) else { return false };
        self.deadline = now + upload.idle;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::invocation::body::WINDOW;
    use crate::invocation::stream::{Stream, StreamSource};

    const WHOLE: u64 = WINDOW as u64;
    const TIME: Duration = Duration::from_secs(5);
    const IDLE: Duration = Duration::from_secs(60);

    struct NoSource;

    impl StreamSource for NoSource {
        fn grant(&self, _: usize) {}
        fn cancel(&self) {}
    }

    #[test]
    fn the_functions_time_runs_while_it_has_no_credit() {
        let (mut calls, now) = (PendingCalls::default(), Instant::now());
        let (id, _reply) = calls.add(now, (), true);
        let may_send = calls.follow(id, TIME, IDLE, now).unwrap();
        assert!(calls.take_overdue(now + Duration::from_secs(3600)).ended.is_empty());
        assert_eq!(calls.sent_piece(id, WINDOW - 1, now), None);
        assert!(calls.take_overdue(now + TIME).ended.is_empty());
        assert_eq!(calls.sent_piece(id, 1, now), Some(now + TIME));
        assert!(calls.take_credit(Some(id), 10, now));
        assert_eq!(*may_send.borrow(), WHOLE + 10);
        assert!(calls.take_overdue(now + TIME).ended.is_empty());
        assert_eq!(calls.end_upload(id, now), Some(now + TIME));
        assert_eq!(calls.take_overdue(now + TIME).ended.len(), 1);
    }

    #[test]
    fn credit_for_nothing_does_not_stop_the_time() {
        let (mut calls, now) = (PendingCalls::default(), Instant::now());
        let (id, _reply) = calls.add(now, (), true);
        let _may_send = calls.follow(id, TIME, IDLE, now).unwrap();
        assert_eq!(calls.sent_piece(id, WINDOW, now), Some(now + TIME));
        assert!(calls.take_credit(Some(id), 0, now));
        assert_eq!(calls.take_overdue(now + TIME).ended.len(), 1);
        for _ in 1..IDLE_CREDITS_PER_SECOND {
            assert!(calls.take_credit(Some(id), 0, now));
        }
        assert!(!calls.take_credit(Some(id), 0, now), "a flood");
    }

    #[test]
    fn a_stream_is_not_idle_while_its_function_waits_for_the_client() {
        let (mut calls, now) = (PendingCalls::default(), Instant::now());
        let (id, _reply) = calls.add(now, (), true);
        let _may_send = calls.follow(id, TIME, IDLE, now).unwrap();
        let (_stream, feed) = Stream::new(None, Arc::new(NoSource));
        assert!(calls.begin_stream(Some(id), feed, false, now, IDLE).is_ok());
        let overdue = calls.take_overdue(now + IDLE);
        assert!(overdue.ended.is_empty() && overdue.cancelled.is_empty());
        assert_eq!(calls.next_deadline(), Some(now + 2 * IDLE));
        calls.end_upload(id, now + 2 * IDLE);
        assert_eq!(calls.take_overdue(now + 3 * IDLE).cancelled, [id]);
    }

    #[test]
    fn a_caller_that_leaves_ends_the_upload() {
        let (mut calls, now) = (PendingCalls::default(), Instant::now());
        let (id, _reply) = calls.add(now, (), true);
        let may_send = calls.follow(id, TIME, IDLE, now).unwrap();
        assert_eq!(calls.leave(id, now), Some(now + TIME));
        assert!(may_send.has_changed().is_err());
        let (id, _reply) = calls.add(now, (), true);
        let may_send = calls.follow(id, TIME, IDLE, now).unwrap();
        let (_stream, feed) = Stream::new(None, Arc::new(NoSource));
        assert!(calls.begin_stream(Some(id), feed, false, now, IDLE).is_ok());
        assert!(calls.leave(id, now).is_some() && may_send.has_changed().is_err());
    }

    #[test]
    fn credit_is_bounded_and_belongs_to_calls() {
        let (mut calls, now) = (PendingCalls::default(), Instant::now());
        let (id, _reply) = calls.add(now, (), true);
        let may_send = calls.follow(id, TIME, IDLE, now).unwrap();
        assert!(calls.take_credit(Some(id), usize::MAX, now));
        assert_eq!(*may_send.borrow(), WHOLE);
        calls.sent_piece(id, 100, now);
        assert!(calls.take_credit(Some(id), usize::MAX, now));
        assert_eq!(*may_send.borrow(), WHOLE + 100);
        assert!(!calls.take_credit(Some(id + 1), 1, now) && !calls.take_credit(None, 1, now));
        assert!(calls.follow(id + 1, TIME, IDLE, now).is_none());
        drop(calls.take_from(0));
        assert!(may_send.has_changed().is_err(), "the call is over");
        assert!(calls.take_credit(Some(id), 1, now), "late credit is no fault");
    }
}
