//! The recent past of one deployment's calls: the rates of the last seconds and a bucket for each minute of the last
//! hour. A task looks at the counters once a second and adds what it sees; calls do nothing for it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::metrics::histogram::CallDurations;

/// The buckets of durations.
const BUCKETS: usize = 21;
/// Looks that rates are taken over: the last ten seconds.
const LOOKS: usize = 11;
/// Minutes that are kept.
const MINUTES: usize = 60;
const MINUTE: Duration = Duration::from_secs(60);

/// The counters of a deployment at one moment.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Calls, by duration.
    pub durations: [u64; BUCKETS],
    /// Those of them that failed by a fault that is not the caller's.
    pub errors: u64,
}

impl Seen {
    fn calls(&self) -> u64 {
        self.durations.iter().sum()
    }

    /// What was counted since an earlier moment.
    fn since(&self, earlier: &Self) -> Self {
        let mut durations = self.durations;
        for (count, before) in durations.iter_mut().zip(&earlier.durations) {
            *count = count.saturating_sub(*before);
        }
        Self { durations, errors: self.errors.saturating_sub(earlier.errors) }
    }
}

/// One minute.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Minute {
    /// Calls.
    pub calls: u64,
    /// Those of them that failed by a fault that is not the caller's.
    pub errors: u64,
    /// What 99 of 100 calls did not exceed, in seconds; none without calls.
    pub p99: Option<f64>,
}

impl Minute {
    fn of(seen: &Seen) -> Self {
        Self { calls: seen.calls(), errors: seen.errors, p99: CallDurations::quantile(&seen.durations, 0.99) }
    }
}

/// The recent past of a deployment's calls.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Past {
    /// Calls a second in the last ten seconds.
    pub calls_per_second: f64,
    /// Errors a second in the last ten seconds.
    pub errors_per_second: f64,
    /// What half of the calls of the last one to two minutes did not exceed, in seconds; none without calls.
    pub p50: Option<f64>,
    /// The same for 99 of 100 calls.
    pub p99: Option<f64>,
    /// When a call was last seen to run or to have ended.
    pub last_used: Option<Instant>,
    /// The minutes of the last hour, the current one last. Minutes before the first look are missing.
    pub minutes: Vec<Minute>,
}

/// What was seen of one deployment.
#[derive(Debug, Default)]
pub struct History {
    /// The last looks: when, calls, errors. The newest is the last.
    looks: VecDeque<(Instant, u64, u64)>,
    /// The counters when the minute before this one began, and when this one began.
    begins: [Option<(Instant, Box<Seen>)>; 2],
    now: Box<Seen>,
    minutes: VecDeque<Minute>,
    last_used: Option<Instant>,
}

impl History {
    /// Adds what a look at the counters has seen.
    pub fn add(&mut self, now: Instant, seen: Seen, is_busy: bool) {
        let calls = seen.calls();
        if is_busy || calls != self.now.calls() {
            self.last_used = Some(now);
        }
        if self.looks.len() == LOOKS {
            self.looks.pop_front();
        }
        self.looks.push_back((now, calls, seen.errors));
        *self.now = seen;
        let [before, current] = &mut self.begins;
        match current {
            // The counters began at nothing.
            None => *current = Some((now, Box::default())),
            Some((began, counted)) if now.saturating_duration_since(*began) >= MINUTE => {
                if self.minutes.len() == MINUTES - 1 {
                    self.minutes.pop_front();
                }
                self.minutes.push_back(Minute::of(&self.now.since(counted)));
                *before = current.replace((now, self.now.clone()));
            }
            Some(_) => {}
        }
    }

    /// The past as far as it was seen.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "rates are doubles")]
    pub fn past(&self) -> Past {
        let rate = |of: fn(&(Instant, u64, u64)) -> u64| {
            let (Some(first), Some(last)) = (self.looks.front(), self.looks.back()) else { return 0.0 };
            let seconds = last.0.saturating_duration_since(first.0).as_secs_f64();
            if seconds > 0.0 { of(last).saturating_sub(of(first)) as f64 / seconds } else { 0.0 }
        };
        let [before, current] = &self.begins;
        let recent = before.as_ref().or(current.as_ref()).map(|(_, counted)| self.now.since(counted));
        let quantile = |share| CallDurations::quantile(&recent.as_ref()?.durations, share);
        let this_minute = current.as_ref().map(|(_, counted)| Minute::of(&self.now.since(counted)));
        Past {
            calls_per_second: rate(|look| look.1),
            errors_per_second: rate(|look| look.2),
            p50: quantile(0.5),
            p99: quantile(0.99),
            last_used: self.last_used,
            minutes: self.minutes.iter().copied().chain(this_minute).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(calls: u64, errors: u64) -> Seen {
        let mut durations = [0; BUCKETS];
        durations[10] = calls;
        Seen { durations, errors }
    }

    #[test]
    fn rates_are_those_of_the_last_ten_seconds() {
        let (mut history, start) = (History::default(), Instant::now());
        for second in 0..30 {
            // 100 calls a second for twenty seconds, then none.
            history.add(start + Duration::from_secs(second), seen(100 * second.min(20), second.min(20)), false);
            let rate = history.past().calls_per_second;
            match second {
                5..=20 => assert!((rate - 100.0).abs() < 1e-9, "{second}: {rate}"),
                25 => assert!((rate - 50.0).abs() < 1e-9, "{rate}"),
                _ => {}
            }
        }
        let past = history.past();
        assert_eq!(past.last_used, Some(start + Duration::from_secs(20)));
        assert!(past.errors_per_second < 0.11 && past.p50 < past.p99, "{past:?}");
    }

    #[test]
    fn an_hour_of_minutes_is_kept() {
        let (mut history, start) = (History::default(), Instant::now());
        for minute in 0..100 {
            history.add(start + MINUTE * minute, seen(u64::from(minute) * 7, 0), minute == 99);
        }
        let past = history.past();
        assert_eq!((past.minutes.len(), past.minutes[0].calls, past.minutes[59].calls), (MINUTES, 7, 0));
        assert_eq!(past.last_used, Some(start + MINUTE * 99));
        assert_eq!(past.minutes[59].p99, None);
    }

    #[test]
    fn a_deployment_that_was_never_called_has_no_figures() {
        let mut history = History::default();
        history.add(Instant::now(), Seen::default(), false);
        let past = history.past();
        assert_eq!((past.last_used, past.p50, past.minutes.len()), (None, None, 1));
    }
}
