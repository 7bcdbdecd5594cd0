//! The present, as the queue counts it.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::clock;
use crate::queue::progress::Millis;

static STEADY: LazyLock<Steady> = LazyLock::new(|| Steady { began: clock::now(), offset: AtomicI64::new(Millis::MIN) });

/// A clock that follows the time of day ahead, and goes on by itself when that is set back.
struct Steady {
    began: Instant,
    /// The latest time of day at `began` that was found.
    offset: AtomicI64,
}

impl Steady {
    fn at(&self, time_of_day: Millis, passed: Duration) -> Millis {
        let passed = Millis::try_from(passed.as_millis()).unwrap_or(Millis::MAX);
        let found = time_of_day.saturating_sub(passed);
        self.offset.fetch_max(found, Ordering::Relaxed).max(found).saturating_add(passed)
    }
}

/// The present, for calls: the time of day, but it never goes back while the process lives. Calls that wait go on when
/// the clock of the machine is set back.
#[must_use]
pub fn now() -> Millis {
    STEADY.at(time_of_day(), clock::since(STEADY.began))
}

/// The time of day, for schedules.
#[must_use]
pub fn time_of_day() -> Millis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}

/// How long it is from a time to another one; nothing if that has passed.
#[must_use]
pub fn until(time: Millis, now: Millis) -> Duration {
    Duration::from_millis(u64::try_from(time.saturating_sub(now)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_does_not_stop_the_queue() {
        let steady = Steady { began: clock::now(), offset: AtomicI64::new(Millis::MIN) };
        let at = |time_of_day, passed| steady.at(time_of_day, Duration::from_millis(passed));
        assert_eq!(at(10_000, 0), 10_000);
        assert_eq!(at(10_500, 500), 10_500);
        assert_eq!(at(1_000, 600), 10_600, "set back");
        assert_eq!(at(20_000, 700), 20_000, "set ahead");
        assert_eq!(at(20_000, 701), 20_001);
        assert_eq!(until(5, 3), Duration::from_millis(2));
        assert_eq!(until(3, 5), Duration::ZERO);
    }
}
