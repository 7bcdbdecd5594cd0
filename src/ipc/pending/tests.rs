//! Calls in flight: their answers, those that come late, and their ends.

use std::time::{Duration, Instant};

use crate::invocation::Returned;
use crate::ipc::pending::{Answered, PendingCalls, UNKNOWN_PER_SECOND};

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
