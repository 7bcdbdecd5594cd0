//! How long a hook may run. The deadline is on the wall clock, but a machine with more work than cores stops a thread
//! for longer than a hook takes: a hook that has waited for a core goes on behind its deadline, within bounds.

use std::time::{Duration, Instant};

use crate::wasm::ticker::TICK;

/// How long a hook that waited for a core may go on behind its timeout. Long timeouts need no more than short ones: the
/// machine stops a thread for some tens of milliseconds.
const STRETCH: Duration = Duration::from_millis(150);

/// When a hook call has to end.
#[derive(Debug, Clone, Copy)]
pub struct HookTime {
    /// Its waits end here, and so does a hook that has run for most of the time.
    pub deadline: Instant,
    /// A hook that waited for a core ends here.
    latest: Instant,
    /// Ticks in which it has to have run to be interrupted at its deadline.
    ticks: u32,
}

impl HookTime {
    /// The time of a hook call that begins now: `timeout`, and nothing beyond `latest`.
    #[must_use]
    pub fn begin(now: Instant, timeout: Duration, latest: Instant) -> Self {
        let deadline = latest.min(now + timeout);
        // One tick in ten may be lost: ticks come late, never early.
        let ticks = (deadline - now).as_millis() * 9 / (TICK.as_millis() * 10);
        Self { deadline, latest: latest.min(now + timeout + STRETCH), ticks: u32::try_from(ticks).unwrap_or(u32::MAX) }
    }

    /// When a hook is interrupted that has waited for a core.
    #[must_use]
    pub fn latest(&self) -> Instant {
        self.latest
    }

    /// Whether a hook that has run in this many ticks is to be interrupted.
    #[must_use]
    pub fn is_over(&self, now: Instant, ticks: u32) -> bool {
        now >= self.latest || (now >= self.deadline && ticks >= self.ticks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(50);

    #[test]
    fn p1_a_hook_that_runs_is_interrupted_at_its_deadline() {
        let start = Instant::now();
        let time = HookTime::begin(start, TIMEOUT, start + Duration::from_secs(30));
        assert!(!time.is_over(start + TIMEOUT - TICK, 49));
        assert!(time.is_over(start + TIMEOUT, 45));
    }

    #[test]
    fn a_hook_that_waits_for_a_core_goes_on_behind_its_deadline() {
        let start = Instant::now();
        let time = HookTime::begin(start, TIMEOUT, start + Duration::from_secs(30));
        assert!(!time.is_over(start + TIMEOUT, 12));
        assert!(!time.is_over(start + TIMEOUT + STRETCH - TICK, 44));
        assert!(time.is_over(start + TIMEOUT + TICK, 45));
        assert!(time.is_over(start + TIMEOUT + STRETCH, 1));
    }

    #[test]
    fn no_hook_goes_on_beyond_the_deadline_of_its_call() {
        let start = Instant::now();
        let time = HookTime::begin(start, TIMEOUT, start + TICK * 20);
        assert_eq!(time.deadline, start + TICK * 20);
        assert!(time.is_over(start + TICK * 20, 0));
    }
}
