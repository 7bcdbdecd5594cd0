//! The life of a worker's place in a pool, as a pure function of what happened. The supervisor carries it out.
//!
//! ```text
//!            Spawned            Loaded
//!  Starting ─────────► Loading ─────────► Ready
//!     ▲  │SpawnFailed     │LoadFailed       │Died, Retired
//!     │  ▼                ▼                 ▼
//!     └───────────────  Waiting  ◄──────────┘        Stop in any state ──► Stopped
//!        DelayOver     (a delay)
//! ```
//!
//! A worker that answered a call or lived ten seconds was a good start: its end restarts at once. Starts in a row that
//! were not good wait 0 ms, 100 ms, 200 ms … 30 s; from the fifth on the place is in a crash loop.

use std::time::Duration;

/// A worker that lived this long was a good start.
pub const GOOD_LIFE: Duration = Duration::from_secs(10);
/// Bad starts in a row that make a crash loop.
pub const CRASH_LOOP_STARTS: u32 = 5;
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LAST_DELAY: Duration = Duration::from_secs(30);

/// Where a worker's place is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// A process is being started.
    Starting,
    /// The process runs and loads the release.
    Loading,
    /// It answers calls.
    Ready,
    /// The next start waits this long.
    Waiting(Duration),
    /// Over.
    Stopped,
}

/// What happens to a worker's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The process runs.
    Spawned,
    /// The process could not be started.
    SpawnFailed,
    /// MetaData came.
    Loaded,
    /// The process ended, or was ended, before MetaData.
    LoadFailed,
    /// A ready worker ended; whether it had been a good start.
    Died {
        /// It had answered a call or lived [`GOOD_LIFE`].
        good: bool,
    },
    /// A ready worker was replaced on purpose.
    Retired,
    /// The delay is over.
    DelayOver,
    /// The pool wants this place no longer.
    Stop,
}

/// The state of one place: its phase and how many starts in a row were bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifecycle {
    /// Where it is.
    pub phase: Phase,
    /// Starts in a row that were not good.
    pub bad_starts: u32,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self { phase: Phase::Starting, bad_starts: 0 }
    }
}

impl Lifecycle {
    /// The state after an event. `jitter` is 0.8 to 1.2 and stretches a delay. An event that does not fit the phase
    /// changes nothing.
    #[must_use]
    pub fn after(self, event: Event, jitter: f64) -> Self {
        let to = |phase| Self { phase, ..self };
        match (self.phase, event) {
            (Phase::Stopped, _) => self,
            (_, Event::Stop) => to(Phase::Stopped),
            (Phase::Starting, Event::Spawned) => to(Phase::Loading),
            (Phase::Loading, Event::Loaded) => to(Phase::Ready),
            (Phase::Starting, Event::SpawnFailed)
            | (Phase::Loading, Event::LoadFailed)
            | (Phase::Ready, Event::Died { good: false }) => self.bad_start(jitter),
            (Phase::Ready, Event::Died { good: true } | Event::Retired) => {
                Self { phase: Phase::Waiting(Duration::ZERO), bad_starts: 0 }
            }
            (Phase::Waiting(_), Event::DelayOver) => to(Phase::Starting),
            _ => self,
        }
    }

    /// Whether starts go wrong again and again.
    #[must_use]
    pub fn in_crash_loop(self) -> bool {
        self.bad_starts >= CRASH_LOOP_STARTS
    }

    fn bad_start(self, jitter: f64) -> Self {
        let bad_starts = self.bad_starts.saturating_add(1);
        Self { phase: Phase::Waiting(delay(bad_starts).mul_f64(jitter)), bad_starts }
    }
}

/// How long the next start waits after this many bad ones: 0 ms, 100 ms, 200 ms, … 30 s.
fn delay(bad_starts: u32) -> Duration {
    match bad_starts {
        0 | 1 => Duration::ZERO,
        n => FIRST_DELAY.saturating_mul(1 << (n - 2).min(16)).min(LAST_DELAY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(events: &[Event]) -> Lifecycle {
        events.iter().fold(Lifecycle::default(), |state, event| state.after(*event, 1.0))
    }

    #[test]
    fn a_good_start_is_replaced_at_once() {
        let state = run(&[Event::Spawned, Event::Loaded, Event::Died { good: true }]);
        assert_eq!(state, Lifecycle { phase: Phase::Waiting(Duration::ZERO), bad_starts: 0 });
    }

    #[test]
    fn bad_starts_wait_longer_and_longer_up_to_half_a_minute() {
        let mut state = Lifecycle::default();
        let mut delays = Vec::new();
        for _ in 0..14 {
            state = state.after(Event::Spawned, 1.0).after(Event::LoadFailed, 1.0);
            if let Phase::Waiting(delay) = state.phase {
                delays.push(delay.as_millis());
            }
            state = state.after(Event::DelayOver, 1.0);
        }
        assert_eq!(delays[..6], [0, 100, 200, 400, 800, 1600]);
        assert_eq!(delays[13], 30_000);
    }

    #[test]
    fn five_bad_starts_are_a_crash_loop_and_a_good_one_ends_it() {
        let bad = [Event::SpawnFailed, Event::DelayOver];
        let state = run(&bad.repeat(4));
        assert!(!state.in_crash_loop());
        let state = run(&bad.repeat(5));
        assert!(state.in_crash_loop());
        let state = state.after(Event::Spawned, 1.0).after(Event::Loaded, 1.0);
        assert!(!state.after(Event::Died { good: true }, 1.0).in_crash_loop());
    }

    #[test]
    fn stopped_is_the_end() {
        let state = run(&[Event::Spawned, Event::Stop, Event::DelayOver, Event::Loaded]);
        assert_eq!(state.phase, Phase::Stopped);
    }

    #[test]
    fn an_event_that_does_not_fit_changes_nothing() {
        let state = run(&[Event::Loaded, Event::DelayOver, Event::Retired]);
        assert_eq!(state, Lifecycle::default());
    }
}
