//! The circuit breaker of a part of a plugin's hook calls: when they fail too often it refuses them, and then lets
//! through one trial at a time.
//!
//! ```text
//!            5 failures in 10 s, half
//!            of the calls, for 1 s              the delay is over
//!  closed ─────────────────────► open(delay) ───────────────────► trial
//!    ▲                              ▲                               │
//!    │                              ├── failure: delay × 2, ≤ 60 s ─┤
//!    │                              └── given back: no delay ───────┤
//!    └──────────────────────────────────────────────── success ─────┘
//! ```
//!
//! It opens by the share of failures. A plugin that fails in a few of many calls is worth more than one that refuses
//! all of them, and a count alone would let a few calls of one caller turn it off for all others.
//!
//! [`Breaker`] is the pure state machine:
//!
//! ```
//! use std::time::{Duration, Instant};
//! use metagate::plugin::breaker::{Breaker, Counts};
//!
//! let now = Instant::now();
//! let mut breaker = Breaker::new(now);
//! for _ in 0..4 {
//!     assert_eq!(breaker.fail(now, Counts::default()), None);
//! }
//! let now = now + Duration::from_secs(1);
//! let opened = breaker.fail(now, Counts::default());
//! assert_eq!(opened, Some(Duration::from_secs(1)), "the fifth failure of five calls opens it");
//! assert!(breaker.admit(now).is_err());
//! assert!(breaker.admit(now + Duration::from_secs(1)).is_ok(), "one trial after the delay");
//! ```

use std::time::{Duration, Instant};

/// Fewest failures that open a breaker. Fewer are no evidence: the first calls after a quiet time may fail by chance.
/// More would be slow to help where each failure takes as long as the hook's timeout.
const FAILURES: u32 = 5;
/// The share of failures that opens a breaker: one half. Below it most calls get what they asked for.
const SHARE: (u32, u32) = (1, 2);
/// Shortest time for which calls are counted before a breaker opens: the first failure starts the count, and a burst of
/// failures in its first moment must not outweigh the good calls that come more evenly.
const OBSERVED: Duration = Duration::from_secs(1);
/// Seconds of which the calls count: a plugin that has recovered is soon judged by its new calls only.
const WINDOW: usize = 10;
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LAST_DELAY: Duration = Duration::from_secs(60);

/// Hook calls, and those of them that failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Hook calls that ran.
    pub calls: u32,
    /// Those that failed.
    pub failures: u32,
}

impl Counts {
    /// The counts of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let failures = self.failures.saturating_add(other.failures);
        Self { calls: self.calls.saturating_add(other.calls), failures }
    }

    /// The counts of all calls but those of a part.
    ///
    /// ```
    /// use metagate::plugin::breaker::Counts;
    ///
    /// let (all, part) = (Counts { calls: 9, failures: 4 }, Counts { calls: 5, failures: 4 });
    /// assert_eq!(all.without(part), Counts { calls: 4, failures: 0 });
    /// ```
    #[must_use]
    pub fn without(self, part: Self) -> Self {
        let failures = self.failures.saturating_sub(part.failures);
        Self { calls: self.calls.saturating_sub(part.calls), failures }
    }

    fn are_too_many_failures(self) -> bool {
        let (part, whole) = SHARE;
        self.failures >= FAILURES
            && u64::from(self.failures) * u64::from(whole) >= u64::from(self.calls) * u64::from(part)
    }
}

/// The state machine of one breaker.
#[derive(Debug)]
pub struct Breaker {
    state: State,
    delay: Duration,
    window: Window,
}

#[derive(Debug)]
enum State {
    Closed,
    /// Refuses hook calls until this instant.
    Open(Instant),
    /// One trial runs. Other hook calls are refused; the instant is the retry time in their answers.
    Trial(Instant),
}

/// The counts of the last [`WINDOW`] seconds.
#[derive(Debug)]
struct Window {
    begin: Instant,
    /// One for each second, with its number since `begin`.
    slots: [(usize, Counts); WINDOW],
}

impl Window {
    fn new(begin: Instant) -> Self {
        Self { begin, slots: [(0, Counts::default()); WINDOW] }
    }

    fn second(&self, now: Instant) -> usize {
        usize::try_from(now.saturating_duration_since(self.begin).as_secs()).unwrap_or(usize::MAX)
    }

    fn add(&mut self, now: Instant, counts: Counts) {
        let second = self.second(now);
        let slot = &mut self.slots[second % WINDOW];
        let before = if slot.0 == second { slot.1 } else { Counts::default() };
        *slot = (second, before.and(counts));
    }

    fn counts(&self, now: Instant) -> Counts {
        let second = self.second(now);
        let recent = self.slots.iter().filter(|(at, _)| second.saturating_sub(*at) < WINDOW);
        recent.fold(Counts::default(), |sum, (_, counts)| sum.and(*counts))
    }
}

impl Breaker {
    /// A closed breaker without calls.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { state: State::Closed, delay: FIRST_DELAY, window: Window::new(now) }
    }

    /// How long the breaker refuses hook calls; `None` if it would admit one. Changes no state.
    #[must_use]
    pub fn refusal(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Closed => None,
            State::Open(until) => (now < until).then(|| until - now),
            State::Trial(until) => Some(until.saturating_duration_since(now)),
        }
    }

    /// Admits a hook call. Returns whether it is the trial of an open breaker, whose delay is over.
    ///
    /// # Errors
    /// The time until the next trial, if the breaker is open or a trial runs.
    pub fn admit(&mut self, now: Instant) -> Result<bool, Duration> {
        if let Some(wait) = self.refusal(now) {
            return Err(wait);
        }
        let is_trial = matches!(self.state, State::Open(_));
        if is_trial {
            self.state = State::Trial(now + self.delay);
        }
        Ok(is_trial)
    }

    /// Notes that a hook call succeeded. Returns whether that closed the breaker.
    pub fn succeed(&mut self, now: Instant) -> bool {
        match self.state {
            State::Closed => self.window.add(now, Counts { calls: 1, failures: 0 }),
            State::Open(_) => {}
            State::Trial(_) => {
                *self = Self::new(now);
                return true;
            }
        }
        false
    }

    /// Notes that a hook call failed. Returns the delay if that opened the breaker. It stays closed if the calls
    /// without those of `blamed`, a part with a breaker of its own, do not fail too often.
    pub fn fail(&mut self, now: Instant, blamed: Counts) -> Option<Duration> {
        match self.state {
            State::Open(_) => return None,
            State::Trial(_) => self.delay = (self.delay * 2).min(LAST_DELAY),
            State::Closed => {
                self.window.add(now, Counts { calls: 1, failures: 1 });
                let is_early = now.saturating_duration_since(self.window.begin) < OBSERVED;
                if is_early || !self.counts(now).without(blamed).are_too_many_failures() {
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
        matches!(self.state, State::Closed)
    }

    /// The hook calls of the window.
    #[must_use]
    pub fn counts(&self, now: Instant) -> Counts {
        self.window.counts(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Counts = Counts { calls: 0, failures: 0 };

    fn window() -> Duration {
        Duration::from_secs(WINDOW as u64)
    }

    /// A breaker that opens at this instant.
    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(now - OBSERVED);
        for _ in 1..FAILURES {
            assert_eq!(breaker.fail(now, NONE), None);
        }
        assert_eq!(breaker.fail(now, NONE), Some(FIRST_DELAY));
        breaker
    }

    #[test]
    fn five_failures_in_ten_seconds_open_it_and_a_good_trial_closes_it() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut breaker = Breaker::new(start);
        for second in [0, 1, 2, 3, 14, 15, 16, 17] {
            assert_eq!(breaker.fail(at(second), NONE), None, "{second}");
        }
        assert_eq!(breaker.fail(at(18), NONE), Some(Duration::from_secs(1)));
        assert_eq!(breaker.admit(at(18)), Err(Duration::from_secs(1)));
        assert_eq!(breaker.admit(at(19)), Ok(true));
        assert!(breaker.admit(at(19)).is_err(), "only one tries");
        assert_eq!(breaker.fail(at(19), NONE), Some(Duration::from_secs(2)));
        assert_eq!(breaker.admit(at(21)), Ok(true));
        assert!(breaker.succeed(at(21)));
        assert!(breaker.is_closed());
        assert_eq!(breaker.admit(at(21)), Ok(false));
    }

    #[test]
    fn failures_of_less_than_half_the_calls_leave_it_closed() {
        let now = Instant::now();
        let mut breaker = Breaker::new(now - OBSERVED);
        for _ in 0..100 {
            breaker.succeed(now);
            breaker.succeed(now);
            assert_eq!(breaker.fail(now, NONE), None);
        }
        for _ in 0..99 {
            assert_eq!(breaker.fail(now, NONE), None);
        }
        assert_eq!(breaker.counts(now), Counts { calls: 399, failures: 199 });
        assert!(breaker.fail(now, NONE).is_some(), "200 of 400");
    }

    #[test]
    fn a_burst_of_failures_does_not_outweigh_the_calls_of_a_second() {
        let start = Instant::now();
        let mut breaker = Breaker::new(start);
        for _ in 0..100 {
            assert_eq!(breaker.fail(start, NONE), None);
        }
        for n in 0..100 {
            breaker.succeed(start + Duration::from_millis(10 * n));
        }
        assert_eq!(breaker.fail(start + OBSERVED, NONE), Some(FIRST_DELAY), "101 of 201");
        let mut breaker = Breaker::new(start);
        for n in 0..=100 {
            breaker.succeed(start + Duration::from_millis(10 * n));
        }
        for _ in 0..100 {
            assert_eq!(breaker.fail(start + OBSERVED, NONE), None);
        }
    }

    #[test]
    fn the_successes_of_an_earlier_time_do_not_outweigh_failures() {
        let start = Instant::now();
        let mut breaker = Breaker::new(start);
        for _ in 0..1_000 {
            breaker.succeed(start);
        }
        let later = start + window();
        let opened = (0..FAILURES).find_map(|_| breaker.fail(later, NONE));
        assert_eq!(opened, Some(FIRST_DELAY));
    }

    #[test]
    fn the_calls_of_a_part_that_is_blamed_do_not_open_it() {
        let now = Instant::now();
        let mut breaker = Breaker::new(now - OBSERVED);
        for n in 1..=1_000 {
            assert_eq!(breaker.fail(now, Counts { calls: n, failures: n }), None);
        }
        let blamed = Counts { calls: 1_000, failures: 1_000 };
        for _ in 1..FAILURES {
            assert_eq!(breaker.fail(now, blamed), None);
        }
        assert!(breaker.fail(now, blamed).is_some(), "five failures of others");
    }

    #[test]
    fn the_delay_grows_to_a_minute() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        let mut last = FIRST_DELAY;
        for _ in 0..10 {
            now += last;
            assert_eq!(breaker.admit(now), Ok(true));
            last = breaker.fail(now, NONE).unwrap();
        }
        assert_eq!(last, Duration::from_secs(60));
    }

    #[test]
    fn a_trial_that_is_given_back_goes_to_the_next_call() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + FIRST_DELAY;
        assert_eq!(breaker.admit(later), Ok(true));
        assert!(breaker.admit(later).is_err());
        breaker.give_back(later);
        assert_eq!(breaker.admit(later), Ok(true));
        assert!(breaker.succeed(later));
    }
}
