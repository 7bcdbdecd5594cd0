//! Which ordinary calls are kept where there are more than people can follow: keeping each of them took 1.15 times the
//! gateway's CPU.

use std::sync::atomic::{AtomicU64, Ordering};

/// Nanoseconds between two calls that are kept, in the mean: a thousand a second.
const INTERVAL: u64 = 1_000_000;
/// Calls that are kept at once.
const AT_ONCE: u64 = 256;

/// The pace of one deployment.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the next call is due, in nanoseconds.
    due: AtomicU64,
}

impl Pace {
    /// Whether a call is kept that ends at this time, in nanoseconds since a start. Of two at the same moment in
    /// different threads, one more than due may be.
    pub(super) fn takes(&self, now: u64) -> bool {
        let due = self.due.load(Ordering::Relaxed).max(now);
        let is_kept = due - now < INTERVAL * AT_ONCE;
        if is_kept {
            self.due.store(due + INTERVAL, Ordering::Relaxed);
        }
        is_kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_calls_a_second_are_kept_and_some_at_once() {
        let pace = Pace::default();
        let kept = |from: u64, calls: u64, each: u64| {
            u64::try_from((0..calls).filter(|number| pace.takes(from + number * each)).count()).unwrap()
        };
        assert_eq!(kept(5, 300, 0), AT_ONCE);
        // A second of 30,000 calls.
        let second = 1_000_000_000;
        assert!((999..=1001).contains(&kept(5, 30_000, second / 30_000)));
        assert_eq!(kept(100 * second, 100, second / 500), 100, "slower callers are kept whole");
    }
}
