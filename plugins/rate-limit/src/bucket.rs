//! The token bucket, as one number: the time at which it will be full again (the generic cell rate algorithm). It holds
//! `limit` calls, each call moves that time by `window / limit`, and a call that would move it by more than the bucket
//! holds is refused. Times are nanoseconds since 1970.

use plugin_config::Period;

const SECOND: u64 = 1_000_000_000;

/// The size of a bucket and how fast it fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// Nanoseconds in which the bucket regains one call.
    interval: u64,
    /// Nanoseconds in which an empty bucket fills.
    capacity: u64,
}

/// The decision about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It passes; the bucket is full again at this time.
    Pass {
        /// Nanoseconds since 1970.
        full: u64,
    },
    /// It is refused.
    Refuse {
        /// Whole seconds until a call would pass, at least 1.
        retry_after: u64,
    },
}

impl Bucket {
    /// A bucket for `limit` calls in `window`.
    ///
    /// # Errors
    ///
    /// The limit is 0, or the window is so short that a call would take no time; the error names the key.
    pub fn new(limit: u32, window: Period) -> Result<Self, String> {
        if limit == 0 {
            return Err("limit: 0 calls would refuse all; take at least 1".to_owned());
        }
        let interval = window.nanoseconds() / u64::from(limit);
        if interval == 0 {
            return Err(format!("window: {} ns is too short for {limit} calls", window.nanoseconds()));
        }
        if window > Period::seconds(366 * 86_400) {
            return Err("window: longer than a year".to_owned());
        }
        Ok(Self { interval, capacity: interval * u64::from(limit) })
    }

    /// Decides about a call at `now`. `full` is the time that the last passed call left, none for a full bucket.
    pub fn take(&self, full: Option<u64>, now: u64) -> Decision {
        // A time too far ahead was written before the wall clock was set back: the bucket counts as empty.
        let full = full.unwrap_or(now).clamp(now, now + self.capacity);
        let next = full + self.interval;
        match next.checked_sub(now + self.capacity) {
            None | Some(0) => Decision::Pass { full: next },
            Some(wait) => Decision::Refuse { retry_after: wait.div_ceil(SECOND) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000 * SECOND;

    /// The number of calls that pass at a time, and the bucket afterwards.
    fn burst(bucket: Bucket, mut full: Option<u64>, now: u64) -> (u32, Option<u64>) {
        let mut passed = 0;
        while let Decision::Pass { full: next } = bucket.take(full, now) {
            full = Some(next);
            passed += 1;
        }
        (passed, full)
    }

    #[test]
    fn a_full_bucket_holds_exactly_the_limit() {
        for (limit, window) in [(1, 1), (3, 1), (7, 60), (1_000_000, 1), (10, 86_400)] {
            let bucket = Bucket::new(limit, Period::seconds(window)).unwrap();
            assert_eq!(burst(bucket, None, NOW).0, limit);
        }
    }

    #[test]
    fn it_fills_evenly() {
        let bucket = Bucket::new(10, Period::seconds(1)).unwrap();
        let (_, empty) = burst(bucket, None, NOW);
        for (milliseconds, calls) in [(0, 0), (99, 0), (100, 1), (250, 2), (1_000, 10), (5_000, 10)] {
            assert_eq!(burst(bucket, empty, NOW + milliseconds * 1_000_000).0, calls, "{milliseconds} ms");
        }
    }

    #[test]
    fn the_wait_is_in_whole_seconds_and_at_least_one() {
        let fast = Bucket::new(10, Period::seconds(1)).unwrap();
        let (_, empty) = burst(fast, None, NOW);
        assert_eq!(fast.take(empty, NOW), Decision::Refuse { retry_after: 1 });
        let slow = Bucket::new(2, Period::seconds(60)).unwrap();
        let (_, empty) = burst(slow, None, NOW);
        assert_eq!(slow.take(empty, NOW), Decision::Refuse { retry_after: 30 });
        assert_eq!(slow.take(empty, NOW + 500_000_000), Decision::Refuse { retry_after: 30 });
        assert_eq!(slow.take(empty, NOW + SECOND), Decision::Refuse { retry_after: 29 });
        assert!(matches!(slow.take(empty, NOW + 30 * SECOND), Decision::Pass { .. }));
    }

    #[test]
    fn a_clock_set_back_costs_one_window_at_most() {
        let bucket = Bucket::new(2, Period::seconds(1)).unwrap();
        let (_, empty) = burst(bucket, None, NOW);
        let earlier = NOW - 3_600 * SECOND;
        assert_eq!(bucket.take(empty, earlier), Decision::Refuse { retry_after: 1 });
        let full = Some(earlier + SECOND);
        assert!(matches!(bucket.take(full, earlier + SECOND / 2), Decision::Pass { .. }));
    }

    #[test]
    fn limits_that_make_no_sense_are_refused() {
        assert!(Bucket::new(0, Period::seconds(1)).unwrap_err().contains("limit: "));
        assert!(Bucket::new(5, Period::parse("0s").unwrap()).unwrap_err().contains("window: "));
        assert!(Bucket::new(4_000_000_000, Period::parse("1s").unwrap()).unwrap_err().contains("window: "));
        assert!(Bucket::new(1, Period::parse("9999h").unwrap()).unwrap_err().contains("window: "));
    }
}
