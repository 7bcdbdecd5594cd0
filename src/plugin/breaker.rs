//! The circuit breaker of a plugin: after repeated failures it refuses hook calls, and then lets through one trial at a
//! time.
//!
//! ```text
//!            5 failures in 10 s                 the delay is over
//!  closed ─────────────────────► open(delay) ───────────────────► trial
//!    ▲                              ▲                               │
//!    │                              ├── failure: delay × 2, ≤ 60 s ─┤
//!    │                              └── given back: no delay ───────┤
//!    └──────────────────────────────────────────────── success ─────┘
//! ```
//!
//! [`Breaker`] is the pure state machine:
//!
//! ```
//! use std::time::{Duration, Instant};
//! use metagate::plugin::breaker::Breaker;
//!
//! let now = Instant::now();
//! let mut breaker = Breaker::default();
//! for _ in 0..4 {
//!     assert_eq!(breaker.fail(now), None);
//! }
//! assert_eq!(breaker.fail(now), Some(Duration::from_secs(1)), "the fifth failure opens it");
//! assert!(breaker.admit(now).is_err());
//! assert!(breaker.admit(now + Duration::from_secs(1)).is_ok(), "one trial after the delay");
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Failures within [`WINDOW`] that open the breaker.
const FAILURES: usize = 5;
const WINDOW: Duration = Duration::from_secs(10);
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LAST_DELAY: Duration = Duration::from_secs(60);

/// The state machine of one plugin's breaker.
#[derive(Debug)]
pub struct Breaker {
    state: State,
    delay: Duration,
}

#[derive(Debug)]
enum State {
    Closed(VecDeque<Instant>),
    /// Refuses hook calls until this instant.
    Open(Instant),
    /// One trial runs. Other hook calls are refused; the instant is the retry time in their answers.
    Trial(Instant),
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: State::Closed(VecDeque::new()), delay: FIRST_DELAY }
    }
}

impl Breaker {
    /// How long the breaker refuses hook calls; `None` if it would admit one. Changes no state.
    #[must_use]
    pub fn refusal(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Closed(_) => None,
            State::Open(until) => (now < until).then(|| until - now),
            State::Trial(until) => Some(until.saturating_duration_since(now)),
        }
    }

    /// Admits a hook call. After the delay of an open breaker, the hook call is the trial.
    ///
    /// # Errors
    /// The time until the next trial, if the breaker is open or a trial runs.
    pub fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        if let Some(wait) = self.refusal(now) {
            return Err(wait);
        }
        if matches!(self.state, State::Open(_)) {
            self.state = State::Trial(now + self.delay);
        }
        Ok(())
    }

    /// Notes that a hook call succeeded. Returns whether that closed the breaker.
    pub fn succeed(&mut self) -> bool {
        if !matches!(self.state, State::Trial(_)) {
            return false;
        }
        *self = Self::default();
        true
    }

    /// Notes that a hook call failed. Returns the delay if that opened the breaker.
    pub fn fail(&mut self, now: Instant) -> Option<Duration> {
        match &mut self.state {
            State::Open(_) => return None,
            State::Trial(_) => self.delay = (self.delay * 2).min(LAST_DELAY),
            State::Closed(failures) => {
                while failures.front().is_some_and(|&at| now.duration_since(at) > WINDOW) {
                    failures.pop_front();
                }
                failures.push_back(now);
                if failures.len() < FAILURES {
                    return None;
                }
                self.delay = FIRST_DELAY;
            }
        }
        self.state = State::Open(now + self.delay);
        Some(self.delay)
    }

    /// Gives back a trial that ended without success or failure: the next hook call is the trial.
    pub fn give_back(&mut self, now: Instant) {
        if matches!(self.state, State::Trial(_)) {
            self.state = State::Open(now);
        }
    }

    /// Whether the breaker is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_in_ten_seconds_open_it_and_a_good_trial_closes_it() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut breaker = Breaker::default();
        for second in [0, 1, 2, 3, 14] {
            assert_eq!(breaker.fail(at(second)), None, "{second}");
        }
        for second in [15, 16, 17] {
            assert_eq!(breaker.fail(at(second)), None, "{second}");
        }
        assert_eq!(breaker.fail(at(18)), Some(Duration::from_secs(1)));
        assert_eq!(breaker.admit(at(18)), Err(Duration::from_secs(1)));
        assert_eq!(breaker.admit(at(19)), Ok(()));
        assert!(breaker.admit(at(19)).is_err(), "only one tries");
        assert_eq!(breaker.fail(at(19)), Some(Duration::from_secs(2)));
        assert_eq!(breaker.admit(at(21)), Ok(()));
        assert!(breaker.succeed());
        assert!(breaker.is_closed() && breaker.admit(at(21)).is_ok());
    }

    #[test]
    fn the_delay_grows_to_a_minute() {
        let mut now = Instant::now();
        let mut breaker = Breaker::default();
        let mut last = Duration::ZERO;
        for _ in 0..4 {
            assert_eq!(breaker.fail(now), None);
        }
        for _ in 0..10 {
            last = breaker.fail(now).unwrap();
            now += last;
            assert_eq!(breaker.admit(now), Ok(()));
        }
        assert_eq!(last, Duration::from_secs(60));
    }

    #[test]
    fn a_trial_that_is_given_back_goes_to_the_next_call() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES {
            breaker.fail(now);
        }
        let later = now + FIRST_DELAY;
        assert_eq!(breaker.admit(later), Ok(()));
        assert!(breaker.admit(later).is_err());
        breaker.give_back(later);
        assert_eq!(breaker.admit(later), Ok(()));
        assert!(breaker.succeed());
    }
}
