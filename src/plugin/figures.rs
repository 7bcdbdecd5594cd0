//! Counters of one plugin since it was loaded.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::config::HookName;
use crate::metrics::histogram::HookDurations;
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
    /// Each hook, in the order of [`HookName::ALL`].
    hooks: [HookFigures; HookName::ALL.len()],
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

/// What a hook call ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The call or load goes on.
    Continue,
    /// The plugin answered the call.
    Respond,
    /// The plugin refused the call.
    Reject,
    /// The plugin refused the release.
    Refuse,
    /// There was no verdict.
    Failed,
}

impl Ending {
    const ALL: [Self; 5] = [Self::Continue, Self::Respond, Self::Reject, Self::Refuse, Self::Failed];

    /// Its name in metrics and traces.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Continue => "continue",
            Self::Respond => "respond",
            Self::Reject => "reject",
            Self::Refuse => "refuse",
            Self::Failed => "failed",
        }
    }
}

/// Counters of one hook of a plugin.
#[derive(Debug, Default)]
pub struct HookFigures {
    endings: [AtomicU64; Ending::ALL.len()],
    failures: [AtomicU64; Fault::KINDS.len()],
    /// Time of the hook calls that ran.
    pub durations: HookDurations,
}

impl HookFigures {
    /// Each verdict, and `failed`, with the hook calls that ended so.
    pub fn verdicts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Ending::ALL.iter().map(|ending| (ending.as_str(), self.endings[*ending as usize].load(Ordering::Relaxed)))
    }

    /// Each kind of failure that has occurred, with the hook calls that failed so.
    pub fn failures(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.failures.iter().map(|count| count.load(Ordering::Relaxed));
        Fault::KINDS.iter().copied().zip(counts).filter(|(_, count)| *count > 0)
    }
}

impl Figures {
    /// The counters of one hook.
    #[must_use]
    pub fn of(&self, hook: HookName) -> &HookFigures {
        &self.hooks[hook as usize]
    }

    /// Counts a verdict.
    pub(super) fn count_verdict(&self, hook: HookName, ending: Ending) {
        self.of(hook).endings[ending as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn count_fault(&self, hook: HookName, fault: &Fault) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.count_verdict(hook, Ending::Failed);
        self.of(hook).failures[fault.kind()].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a hook call that was refused, before it ran or when it needed more memory, and logs the count unless the
    /// last such line is too recent.
    pub(super) fn count_refused(&self, plugin: &str, hook: HookName, fault: &Fault) {
        self.count_fault(hook, fault);
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
        self.count_fault(hook, fault);
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
