//! Durations, counted in buckets whose bounds are powers of two of a second. Prometheus can turn these into its native
//! histograms (schema 0) without loss.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Durations of calls and of their parts: 122 µs to 64 s.
pub type CallDurations = Histogram<-13, 21>;
/// Durations of hooks: 954 ns to 4 s.
pub type HookDurations = Histogram<-20, 24>;

/// Counts durations in `BUCKETS` buckets. The bounds are `2^FIRST` seconds and its doubles; the last bucket has none.
#[derive(Debug)]
pub struct Histogram<const FIRST: i32, const BUCKETS: usize> {
    buckets: [AtomicU64; BUCKETS],
    nanoseconds: AtomicU64,
}

/// The state of a histogram at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Seconds in all.
    pub sum: f64,
    /// How many durations there are.
    pub count: u64,
    /// The upper bound of each bucket in seconds, and how many durations are in it alone.
    pub buckets: Vec<(f64, u64)>,
}

impl<const FIRST: i32, const BUCKETS: usize> Histogram<FIRST, BUCKETS> {
    /// Counts a duration.
    pub fn add(&self, duration: Duration) {
        self.buckets[Self::bucket(duration)].fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// The bucket of a duration: a bound belongs to the bucket below it.
    fn bucket(duration: Duration) -> usize {
        let bits = duration.as_secs_f64().to_bits();
        // A double that is not negative: eleven bits of exponent, 52 of mantissa.
        let exponent = i32::try_from(bits >> 52).unwrap_or(i32::MAX) - 1023;
        let is_above = bits & ((1 << 52) - 1) != 0;
        let at = exponent + i32::from(is_above) - FIRST;
        usize::try_from(at).unwrap_or(0).min(BUCKETS - 1)
    }

    /// Adds the durations in each bucket to `counts`.
    pub fn add_counts_to(&self, counts: &mut [u64; BUCKETS]) {
        for (count, bucket) in counts.iter_mut().zip(&self.buckets) {
            *count += bucket.load(Ordering::Relaxed);
        }
    }

    /// The duration in seconds that a share of the counted durations, 0 to 1, does not exceed: interpolated within its
    /// bucket, as Prometheus does it. None without durations; of the last bucket, its lower bound.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub fn quantile(counts: &[u64; BUCKETS], share: f64) -> Option<f64> {
        let rank = counts.iter().sum::<u64>() as f64 * share;
        let (mut below, mut lower) = (0.0, 0.0);
        for (count, exponent) in counts.iter().zip(FIRST..) {
            let (count, upper) = (*count as f64, 2f64.powi(exponent));
            if count > 0.0 && below + count >= rank {
                let is_last = exponent == FIRST + i32::try_from(BUCKETS).unwrap_or(i32::MAX) - 1;
                return Some(if is_last { lower } else { lower + (upper - lower) * (rank - below) / count });
            }
            (below, lower) = (below + count, upper);
        }
        None
    }

    /// What was counted so far.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "metrics are doubles")]
    pub fn snapshot(&self) -> Snapshot {
        let bounds = (FIRST..).map(|exponent| 2f64.powi(exponent)).take(BUCKETS - 1).chain([f64::INFINITY]);
        let counts = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        Snapshot { sum: self.nanoseconds.load(Ordering::Relaxed) as f64 / 1e9, count, buckets }
    }
}

impl<const FIRST: i32, const BUCKETS: usize> Default for Histogram<FIRST, BUCKETS> {
    fn default() -> Self {
        Self { buckets: array::from_fn(|_| AtomicU64::new(0)), nanoseconds: AtomicU64::new(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The upper bound of the only bucket with a duration.
    fn bound_of(duration: Duration) -> f64 {
        let histogram = CallDurations::default();
        histogram.add(duration);
        let filled: Vec<f64> =
            histogram.snapshot().buckets.into_iter().filter(|(_, count)| *count == 1).map(|(bound, _)| bound).collect();
        assert_eq!(filled.len(), 1);
        filled[0]
    }

    #[test]
    fn a_duration_is_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        for (duration, bound) in [
            (Duration::ZERO, 2f64.powi(-13)),
            (Duration::from_nanos(1), 2f64.powi(-13)),
            (Duration::from_micros(123), 2f64.powi(-12)),
            (Duration::from_millis(125), 0.125),
            (Duration::from_nanos(125_000_001), 0.25),
            (Duration::from_secs(1), 1.0),
            (Duration::from_millis(1001), 2.0),
            (Duration::from_secs(64), 64.0),
            (Duration::from_secs(65), f64::INFINITY),
            (Duration::MAX, f64::INFINITY),
        ] {
            assert_eq!(bound_of(duration).to_bits(), bound.to_bits(), "{duration:?}");
        }
    }

    #[test]
    fn quantiles_are_interpolated_within_their_bucket() {
        let mut counts = [0; 21];
        assert_eq!(CallDurations::quantile(&counts, 0.5), None);
        let histogram = CallDurations::default();
        for _ in 0..100 {
            histogram.add(Duration::from_millis(700));
        }
        histogram.add_counts_to(&mut counts);
        assert!((CallDurations::quantile(&counts, 0.5).unwrap() - 0.75).abs() < 1e-9);
        counts[20] = 1000;
        assert!((CallDurations::quantile(&counts, 0.99).unwrap() - 64.0).abs() < 1e-9);
    }

    #[test]
    fn the_sum_is_in_seconds() {
        let histogram = HookDurations::default();
        for _ in 0..3 {
            histogram.add(Duration::from_millis(500));
        }
        let snapshot = histogram.snapshot();
        assert_eq!((snapshot.count, snapshot.buckets.len()), (3, 24));
        assert!((snapshot.sum - 1.5).abs() < 1e-9);
    }
}
