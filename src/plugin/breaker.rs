//! When a plugin has failed so often that it is not asked any more for a while.
//!
//! ```text
//!            5 failures in 10 s                 the delay is over
//!  closed ─────────────────────► open(delay) ───────────────────► trial
//!    ▲                              ▲                               │
//!    │                              └── failure: delay × 2, ≤ 60 s ─┤
//!    └──────────────────────────────────────────────── success ─────┘
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Failures within [`WINDOW`] that open it.
const FAILURES: usize = 5;
const WINDOW: Duration = Duration::from_secs(10);
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LAST_DELAY: Duration = Duration::from_secs(60);

/// The breaker of one plugin.
#[derive(Debug)]
pub struct Breaker {
    state: State,
    delay: Duration,
}

#[derive(Debug)]
enum State {
    Closed(VecDeque<Instant>),
    Open(Instant),
    /// One call at a time tries; the others wait for what comes of it until then.
    Trial(Instant),
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: State::Closed(VecDeque::new()), delay: FIRST_DELAY }
    }
}

impl Breaker {
    /// Whether a call may ask the plugin now; if not, how long that will stay so.
    pub fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        match self.state {
            State::Closed(_) => Ok(()),
            State::Open(until) | State::Trial(until) if now < until => Err(until - now),
            State::Open(_) | State::Trial(_) => {
                self.state = State::Trial(now + self.delay);
                Ok(())
            }
        }
    }

    /// A call has ended well. Tells whether that has closed it.
    pub fn succeed(&mut self) -> bool {
        if !matches!(self.state, State::Trial(_)) {
            return false;
        }
        *self = Self::default();
        true
    }

    /// A call has failed. Tells for how long it is open now, if that has opened it.
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

    /// Whether calls are kept away.
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
    fn the_delay_ends_at_a_minute() {
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
}
