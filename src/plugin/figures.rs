//! Counters of one plugin since it was loaded.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::config::HookName;
use crate::plugin::fault::Fault;

/// Log lines about refused hook calls in [`SECOND`], and about failed ones, so that a flood of calls does not fill the
/// log. Failures differ more.
const REFUSED_LINES: u32 = 1;
const FAILED_LINES: u32 = 5;
const SECOND: Duration = Duration::from_secs(1);

/// Counters of one plugin since it was loaded.
#[derive(Debug, Default)]
pub struct Figures {
    /// Hook calls that ran.
    pub calls: AtomicU64,
    /// Hook calls that failed, and hook calls that were refused before they ran because the plugin was overloaded or
    /// off or a breaker was open. `calls` does not count the refused ones, so `failures` can exceed it.
    pub failures: AtomicU64,
    /// Those of the refused ones that an open breaker refused.
    pub breaker_refusals: AtomicU64,
    /// Hook calls that were refused because all plugins together had used up their memory. They are part of `failures`.
    pub memory_refusals: AtomicU64,
    /// Verdicts that ended a call or refused a load.
    pub refusals: AtomicU64,
    /// Verdicts that observe mode did not apply.
    pub observed: AtomicU64,
    /// Nanoseconds spent in hooks.
    pub nanoseconds: AtomicU64,
    /// Instances created.
    pub instances: AtomicU64,
    refused: Mutex<Lines>,
    failed: Mutex<Lines>,
}

/// Log lines about hook calls of one kind.
#[derive(Debug, Default)]
struct Lines {
    /// Hook calls since the last line.
    count: u64,
    /// When the current second began, and the lines in it.
    since: Option<Instant>,
    written: u32,
}

impl Lines {
    /// Counts a hook call. Returns what its line counts, if there may be one: `most` in a second.
    fn count(&mut self, now: Instant, most: u32) -> Option<u64> {
        self.count += 1;
        if self.since.is_none_or(|at| now.saturating_duration_since(at) >= SECOND) {
            (self.since, self.written) = (Some(now), 0);
        }
        if self.written >= most {
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.count))
    }
}

impl Figures {
    /// Counts a hook call that was refused, before it ran or when it needed more memory, and logs the count unless the
    /// last such line is too recent.
    pub(super) fn count_refused(&self, plugin: &str, hook: HookName, fault: &Fault) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        match fault {
            Fault::Open(_) => self.breaker_refusals.fetch_add(1, Ordering::Relaxed),
            Fault::NoMemory => self.memory_refusals.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
        let count = self.refused.lock().count(Instant::now(), REFUSED_LINES);
        if let Some(count) = count {
            tracing::warn!(%plugin, %hook, count, %fault, "hook calls refused");
        }
    }

    /// Counts a hook call that failed. Logs it, with the number of those since the last such line, unless there were
    /// many such lines in this second.
    pub(super) fn count_failed(&self, plugin: &str, hook: HookName, fault: &Fault) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let count = self.failed.lock().count(Instant::now(), FAILED_LINES);
        if let Some(count) = count {
            tracing::warn!(%plugin, %hook, count, %fault, "plugin failed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_in_a_second_are_few_and_the_next_one_counts_what_had_none() {
        let mut lines = Lines::default();
        let now = Instant::now();
        let counts: Vec<_> = (0..100).map(|_| lines.count(now, FAILED_LINES)).collect();
        assert_eq!(counts[..6], [Some(1), Some(1), Some(1), Some(1), Some(1), None]);
        assert_eq!(counts.iter().flatten().count(), 5);
        assert_eq!(lines.count(now + SECOND, FAILED_LINES), Some(96));
    }
}
