//! Calls in flight whose bodies follow them: when the function's time runs.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::ipc::pending::{NEVER, PendingCalls, Waiter};
use crate::ipc::upload::Upload;

impl<S> PendingCalls<S> {
    /// Lets a body follow a call. The function has this `time` to answer, or to take more, once it waits for nobody.
    /// Returns the bytes that may be sent, from the first one on, as they change; none if the call is over.
    pub fn follow(&mut self, id: u64, time: Duration, now: Instant) -> Option<watch::Receiver<u64>> {
        let call = self.calls.get_mut(&id)?;
        let (upload, may_send) = Upload::new(time);
        call.upload = Some(upload);
        self.wait_for_client(id, now);
        Some(may_send)
    }

    /// A piece of a body was sent. If the worker has no credit for more, its time begins; returns its deadline then.
    pub fn sent_piece(&mut self, id: u64, bytes: usize, now: Instant) -> Option<Instant> {
        let call = self.calls.get_mut(&id)?;
        let upload = call.upload.as_mut()?;
        let has_credit = upload.add_sent(bytes);
        if has_credit || !matches!(call.waiter, Waiter::Reply(_)) {
            return None;
        }
        call.deadline = now + upload.time;
        Some(call.deadline)
    }

    /// The worker has taken bytes of a body. False if the id was never given out.
    pub fn take_credit(&mut self, id: Option<u64>, bytes: usize, now: Instant) -> bool {
        let Some(id) = id.filter(|id| *id < self.next_id) else { return false };
        if let Some(upload) = self.calls.get(&id).and_then(|call| call.upload.as_ref()) {
            upload.add_credit(bytes);
            self.wait_for_client(id, now);
        }
        true
    }

    /// A body has ended: the time to answer begins. Returns the deadline; none if it is not the body of a call that
    /// waits.
    pub fn end_upload(&mut self, id: u64, now: Instant) -> Option<Instant> {
        let call = self.calls.get_mut(&id)?;
        let upload = call.upload.take()?;
        if matches!(call.waiter, Waiter::Reply(_)) {
            call.deadline = now + upload.time;
        }
        Some(call.deadline)
    }

    /// The function's time stands still while it waits for the client, which is held to a pace of its own.
    fn wait_for_client(&mut self, id: u64, now: Instant) {
        if let Some(call) = self.calls.get_mut(&id)
            && matches!(call.waiter, Waiter::Reply(_))
        {
            call.deadline = now + NEVER;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invocation::body::WINDOW;

    const WHOLE: u64 = WINDOW as u64;
    const TIME: Duration = Duration::from_secs(5);

    #[test]
    fn the_functions_time_runs_while_it_has_no_credit() {
        let (mut calls, now) = (PendingCalls::default(), Instant::now());
        let (id, _reply) = calls.add(now, (), true);
        let may_send = calls.follow(id, TIME, now).unwrap();
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
    fn a_caller_that_leaves_ends_the_upload() {
        let (mut calls, now) = (PendingCalls::default(), Instant::now());
        let (id, _reply) = calls.add(now, (), true);
        let may_send = calls.follow(id, TIME, now).unwrap();
        assert_eq!(calls.leave(id, now), Some(now + TIME));
        assert!(may_send.has_changed().is_err());
    }

    #[test]
    fn credit_is_bounded_and_belongs_to_calls() {
        let (mut calls, now) = (PendingCalls::default(), Instant::now());
        let (id, _reply) = calls.add(now, (), true);
        let may_send = calls.follow(id, TIME, now).unwrap();
        assert!(calls.take_credit(Some(id), usize::MAX, now));
        assert_eq!(*may_send.borrow(), WHOLE);
        calls.sent_piece(id, 100, now);
        assert!(calls.take_credit(Some(id), usize::MAX, now));
        assert_eq!(*may_send.borrow(), WHOLE + 100);
        assert!(!calls.take_credit(Some(id + 1), 1, now) && !calls.take_credit(None, 1, now));
        assert!(calls.follow(id + 1, TIME, now).is_none());
        drop(calls.take_from(0));
        assert!(may_send.has_changed().is_err(), "the call is over");
        assert!(calls.take_credit(Some(id), 1, now), "late credit is no fault");
    }
}
