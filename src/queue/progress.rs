//! The life of an asynchronous call as a pure state machine: what each event makes of it, without a clock and a disk of
//! its own.
//!
//! ```text
//!              begin                     end: done
//!  queued ───────────────► running ───────────────► done
//!    ▲ │                   │  │  │
//!    │ │ expire            │  │  └─ end: final, or no attempt left ──► dead
//!    │ └───────► dead      │  │
//!    └─────────────────────┘  └─ cancel (from queued as well) ──► cancelled
//!      end: failed, not begun; interrupt
//! ```

use std::time::Duration;

use serde::Serialize;

/// Milliseconds since 1970.
pub type Millis = i64;

/// Ends of the gateway during the tries of one call, in a row, before it counts as their cause.
const MOST_INTERRUPTIONS: u32 = 20;

/// Where a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It waits for its next try.
    Queued,
    /// A try is under way.
    Running,
    /// The function has returned.
    Done,
    /// It has failed, and is not tried again unless somebody asks for it.
    Dead,
    /// Somebody has taken it back.
    Cancelled,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Done, Self::Dead, Self::Cancelled];

    /// Its name in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing follows by itself.
    #[must_use]
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Done | Self::Dead | Self::Cancelled)
    }
}

/// What decides about further tries of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Tries that may fail.
    pub attempts: u32,
    /// The delay after the first one that did. It doubles with each further one.
    pub backoff: Duration,
    /// The longest delay.
    pub max_backoff: Duration,
    /// How long a call is kept after its end.
    pub keep: Duration,
    /// How long one is kept that is dead.
    pub keep_dead: Duration,
}

/// How far a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Where it is.
    pub state: State,
    /// Tries that a worker was asked for.
    pub tries: u32,
    /// Those that have failed since it was queued by somebody.
    pub failures: u32,
    /// Ends of the gateway during tries since the last one that ended.
    pub interruptions: u32,
    /// Counts each begin: the end of an earlier one is not that of this one.
    pub serial: u32,
    /// When it is tried next; after its end, when it is removed.
    pub due: Millis,
    /// When it is too old to be tried.
    pub expires: Millis,
}

/// How a try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TryEnd {
    /// With a result.
    Done,
    /// With an error that another try would have as well.
    Final,
    /// With an error that another try may not have.
    Failed,
    /// The same, and whoever answered asks for this delay at least.
    FailedFor(Duration),
    /// No worker took it. It is tried again after this delay, and no attempt is used up.
    NotBegun(Duration),
}

/// What an event has made of a call beyond its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// Nothing to say.
    Plain,
    /// It has become too old.
    Expired,
    /// The gateway has ended during too many of its tries.
    Interrupted,
}

impl Progress {
    /// A call that was accepted.
    #[must_use]
    pub fn accepted(due: Millis, expires: Millis) -> Self {
        Self { state: State::Queued, tries: 0, failures: 0, interruptions: 0, serial: 0, due, expires }
    }

    /// Begins a try. None if it is not to be tried now.
    #[must_use]
    pub fn begin(self, now: Millis) -> Option<Self> {
        let may = self.state == State::Queued && self.due <= now && now < self.expires;
        may.then(|| Self { state: State::Running, tries: self.tries + 1, serial: self.serial + 1, ..self })
    }

    /// Ends the try with this serial; `jitter` is from 0 to 1. None if that try is not the one under way.
    #[must_use]
    pub fn end(self, serial: u32, end: TryEnd, policy: Policy, now: Millis, jitter: f64) -> Option<Self> {
        if self.state != State::Running || self.serial != serial {
            return None;
        }
        let ended = Self { interruptions: 0, ..self };
        Some(match end {
            TryEnd::Done => ended.stop(State::Done, policy, now),
            TryEnd::Final => ended.stop(State::Dead, policy, now),
            TryEnd::Failed => ended.fail(Duration::ZERO, policy, now, jitter),
            TryEnd::FailedFor(asked) => ended.fail(asked, policy, now, jitter),
            TryEnd::NotBegun(delay) => {
                let due = after(now, delay);
                Self { state: State::Queued, tries: self.tries.saturating_sub(1), due, ..ended }
            }
        })
    }

    /// The gateway has ended during the try, and another one goes on. None if no try was under way.
    #[must_use]
    pub fn interrupt(self, policy: Policy, now: Millis) -> Option<(Self, Note)> {
        if self.state != State::Running {
            return None;
        }
        let interrupted = Self { interruptions: self.interruptions + 1, ..self };
        Some(if interrupted.interruptions >= MOST_INTERRUPTIONS {
            (interrupted.stop(State::Dead, policy, now), Note::Interrupted)
        } else {
            (Self { state: State::Queued, due: now, ..interrupted }, Note::Plain)
        })
    }

    /// Ends a call that waits and is too old. None if it is not.
    #[must_use]
    pub fn expire(self, policy: Policy, now: Millis) -> Option<(Self, Note)> {
        let is_too_old = self.state == State::Queued && self.expires <= now;
        is_too_old.then(|| (self.stop(State::Dead, policy, now), Note::Expired))
    }

    /// Takes a call back. None if it has ended.
    #[must_use]
    pub fn cancel(self, policy: Policy, now: Millis) -> Option<Self> {
        (!self.state.has_ended()).then(|| self.stop(State::Cancelled, policy, now))
    }

    /// Queues a call again that is dead or was cancelled, with all its attempts. None for others.
    #[must_use]
    pub fn retry(self, max_age: Duration, now: Millis) -> Option<Self> {
        let may = matches!(self.state, State::Dead | State::Cancelled);
        let expires = after(now, max_age);
        may.then_some(Self { state: State::Queued, failures: 0, interruptions: 0, due: now, expires, ..self })
    }

    fn fail(self, asked: Duration, policy: Policy, now: Millis, jitter: f64) -> Self {
        let failed = Self { failures: self.failures + 1, ..self };
        let next = after(now, delay(policy, failed.failures, jitter).max(asked));
        if failed.failures >= policy.attempts || next >= self.expires {
            return failed.stop(State::Dead, policy, now);
        }
        Self { state: State::Queued, due: next, ..failed }
    }

    fn stop(self, state: State, policy: Policy, now: Millis) -> Self {
        let keep = if state == State::Dead { policy.keep_dead } else { policy.keep };
        Self { state, due: after(now, keep), ..self }
    }
}

/// The delay after so many failures: between half and all of the backoff, so that calls which failed together are not
/// tried together.
fn delay(policy: Policy, failures: u32, jitter: f64) -> Duration {
    let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    let whole = policy.backoff.saturating_mul(doubled).min(policy.max_backoff);
    whole.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}

/// The time after a delay.
#[must_use]
pub fn after(now: Millis, delay: Duration) -> Millis {
    now.saturating_add(Millis::try_from(delay.as_millis()).unwrap_or(Millis::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy {
        attempts: 3,
        backoff: Duration::from_secs(1),
        max_backoff: Duration::from_secs(3),
        keep: Duration::from_secs(60),
        keep_dead: Duration::from_secs(600),
    };

    fn running() -> Progress {
        Progress::accepted(0, 1_000_000).begin(0).unwrap()
    }

    #[test]
    fn delays_double_up_to_the_longest() {
        let delays = [1, 2, 3, 40].map(|failures| delay(POLICY, failures, 1.0).as_millis());
        assert_eq!(delays, [1000, 2000, 3000, 3000]);
        assert_eq!(delay(POLICY, 1, 0.0).as_millis(), 500);
    }

    #[test]
    fn a_call_is_dead_when_its_attempts_are_used_up() {
        let mut call = running();
        for failures in 1..3 {
            call = call.end(call.serial, TryEnd::Failed, POLICY, 0, 1.0).unwrap();
            assert_eq!((call.state, call.failures), (State::Queued, failures));
            call = call.begin(call.due).unwrap();
        }
        let call = call.end(call.serial, TryEnd::Failed, POLICY, 5000, 1.0).unwrap();
        assert_eq!((call.state, call.tries, call.due), (State::Dead, 3, 605_000));
        assert_eq!(call.begin(1_000_000), None);
    }

    #[test]
    fn whoever_answers_may_ask_for_a_longer_delay() {
        for (asked, due) in [(0, 2000), (1, 2000), (60, 61_000)] {
            let end = TryEnd::FailedFor(Duration::from_secs(asked));
            let call = running().end(1, end, POLICY, 1000, 1.0).unwrap();
            assert_eq!((call.state, call.due, call.failures), (State::Queued, due, 1));
        }
        let beyond = TryEnd::FailedFor(Duration::from_secs(1000));
        assert_eq!(running().end(1, beyond, POLICY, 0, 1.0).unwrap().state, State::Dead, "it would be too old");
    }

    #[test]
    fn the_end_of_an_earlier_try_counts_for_nothing() {
        let first = running();
        let (again, _) = first.interrupt(POLICY, 10).unwrap();
        let second = again.begin(10).unwrap();
        assert_eq!(second.end(first.serial, TryEnd::Done, POLICY, 20, 0.0), None);
        assert_eq!(second.end(second.serial, TryEnd::Done, POLICY, 20, 0.0).unwrap().state, State::Done);
    }

    #[test]
    fn a_try_that_no_worker_took_uses_up_nothing() {
        let call = running();
        let back = call.end(call.serial, TryEnd::NotBegun(Duration::from_secs(2)), POLICY, 100, 0.0).unwrap();
        assert_eq!((back.state, back.tries, back.failures, back.due), (State::Queued, 0, 0, 2100));
    }

    #[test]
    fn what_has_ended_does_not_move_by_itself() {
        let done = running().end(1, TryEnd::Done, POLICY, 0, 0.0).unwrap();
        assert_eq!(done.cancel(POLICY, 1), None);
        assert_eq!(done.retry(Duration::from_secs(1), 1), None);
        assert_eq!(done.interrupt(POLICY, 1), None);
        assert_eq!(done.expire(POLICY, Millis::MAX), None);
        let dead = running().end(1, TryEnd::Final, POLICY, 0, 0.0).unwrap();
        assert_eq!(dead.retry(Duration::from_secs(1), 7).unwrap().state, State::Queued);
    }

    #[test]
    fn a_call_during_which_the_gateway_ends_again_and_again_is_dead() {
        let mut call = running();
        for _ in 1..MOST_INTERRUPTIONS {
            call = call.interrupt(POLICY, 0).unwrap().0.begin(0).unwrap();
        }
        let (call, note) = call.interrupt(POLICY, 0).unwrap();
        assert_eq!((call.state, note), (State::Dead, Note::Interrupted));
    }

    #[test]
    fn a_call_that_is_too_old_is_not_tried() {
        let call = Progress::accepted(0, 1000);
        assert_eq!(call.begin(1000), None);
        assert_eq!(call.expire(POLICY, 1000).unwrap().0.state, State::Dead);
        let failed = call.begin(0).unwrap().end(1, TryEnd::Failed, POLICY, 900, 1.0).unwrap();
        assert_eq!(failed.state, State::Dead, "its next try would come too late");
    }
}
