//! The life of a seat as a pure function of events. `supervisor` carries it out and decides what each event is.
//!
//! ```text
//!            Spawned            Loaded
//!  Starting ─────────► Loading ─────────► Ready
//!     ▲  │SpawnFailed,    │LoadFailed       │Died, Retired
//!     │  │FilesChanged    │                 │
//!     │  ▼                ▼                 ▼
//!     └───────────────  Waiting  ◄──────────┘        Stop in any state ──► Stopped
//!        DelayOver     (a delay)
//! ```
//!
//! A start is good if the worker answers a call or lives for [`GOOD_LIFE`]; after a good start the next worker starts
//! without delay. Bad starts in a row back off: 0 ms, 100 ms, 200 ms … 30 s. From [`CRASH_LOOP_STARTS`] bad starts on,
//! the seat is in a crash loop.

use std::time::Duration;

/// A worker that lives this long had a good start, even if no call came.
pub const GOOD_LIFE: Duration = Duration::from_secs(10);
/// Bad starts in a row that make a crash loop.
pub const CRASH_LOOP_STARTS: u32 = 5;
/// The delay after the second bad start. The first one is retried without delay: most crashes happen once.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// The longest delay. It bounds how long a deployment stays down after its cause is mended.
const LAST_DELAY: Duration = Duration::from_secs(30);

/// The phase of a seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// A process is being started.
    Starting,
    /// The process runs and loads the release.
    Loading,
    /// The worker answers calls.
    Ready,
    /// The seat is empty; the next start follows after this delay.
    Waiting(Duration),
    /// The seat is given up. No event leaves this phase.
    Stopped,
}

/// An event in the life of a seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The process runs.
    Spawned,
    /// The process could not be started.
    SpawnFailed,
    /// The files are not those of the release any more, and they do not load.
    FilesChanged,
    /// The worker sent MetaData, and the release was admitted.
    Loaded,
    /// The process ended, or was killed, before the worker was ready.
    LoadFailed,
    /// A ready worker ended.
    Died {
        /// Whether its start was good: it answered a call or lived for [`GOOD_LIFE`].
        good: bool,
    },
    /// A ready worker was retired.
    Retired,
    /// The delay before the next start is over.
    DelayOver,
    /// The pool stops, or gives up this seat.
    Stop,
}

/// The state of one seat: its phase and the number of bad starts in a row.
///
/// ```
/// use std::time::Duration;
///
/// use metagate::worker::lifecycle::{Event, Lifecycle, Phase};
///
/// // No jitter: the delays are exact.
/// let after = |state: Lifecycle, event| state.after(event, 1.0);
///
/// let ready = after(after(Lifecycle::default(), Event::Spawned), Event::Loaded);
/// assert_eq!(ready.phase, Phase::Ready);
///
/// // After a good start the next one follows at once; the second bad start in a row waits 100 ms.
/// let replaced = after(ready, Event::Died { good: true });
/// assert_eq!(replaced, Lifecycle { phase: Phase::Waiting(Duration::ZERO), bad_starts: 0 });
/// let once = after(after(replaced, Event::DelayOver), Event::SpawnFailed);
/// let twice = after(after(once, Event::DelayOver), Event::SpawnFailed);
/// assert_eq!(twice, Lifecycle { phase: Phase::Waiting(Duration::from_millis(100)), bad_starts: 2 });
/// assert!(!twice.in_crash_loop());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifecycle {
    /// The phase.
    pub phase: Phase,
    /// Bad starts in a row.
    pub bad_starts: u32,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self { phase: Phase::Starting, bad_starts: 0 }
    }
}

impl Lifecycle {
    /// The state after an event. An event that does not fit the phase changes nothing. `jitter`, 0.8 to 1.2, is the
    /// factor of a delay: deployments that fail together, for want of memory say, do not all start again together.
    #[must_use]
    pub fn after(self, event: Event, jitter: f64) -> Self {
        let to = |phase| Self { phase, ..self };
        match (self.phase, event) {
            (Phase::Stopped, _) => self,
            (_, Event::Stop) => to(Phase::Stopped),
            (Phase::Starting, Event::Spawned) => to(Phase::Loading),
            (Phase::Loading, Event::Loaded) => to(Phase::Ready),
            (Phase::Starting, Event::SpawnFailed | Event::FilesChanged)
            | (Phase::Loading, Event::LoadFailed)
            | (Phase::Ready, Event::Died { good: false }) => self.bad_start(jitter),
            (Phase::Ready, Event::Died { good: true } | Event::Retired) => {
                Self { phase: Phase::Waiting(Duration::ZERO), bad_starts: 0 }
            }
            (Phase::Waiting(_), Event::DelayOver) => to(Phase::Starting),
            _ => self,
        }
    }

    /// Whether so many starts in a row were bad that callers get `crash_loop`.
    #[must_use]
    pub fn in_crash_loop(self) -> bool {
        self.bad_starts >= CRASH_LOOP_STARTS
    }

    fn bad_start(self, jitter: f64) -> Self {
        let bad_starts = self.bad_starts.saturating_add(1);
        Self { phase: Phase::Waiting(delay(bad_starts).mul_f64(jitter)), bad_starts }
    }
}

/// The delay before the next start after this many bad ones in a row: 0 ms, 100 ms, 200 ms … 30 s.
#[must_use]
pub fn delay(bad_starts: u32) -> Duration {
    match bad_starts {
        0 | 1 => Duration::ZERO,
        // The shift is bounded: from 2^9 on the delay is LAST_DELAY anyway.
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
    fn a_worker_with_a_good_start_is_replaced_at_once() {
        let state = run(&[Event::Spawned, Event::Loaded, Event::Died { good: true }]);
        assert_eq!(state, Lifecycle { phase: Phase::Waiting(Duration::ZERO), bad_starts: 0 });
    }

    #[test]
    fn bad_starts_back_off_to_half_a_minute() {
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
    fn no_event_leaves_stopped() {
        let state = run(&[Event::Spawned, Event::Stop, Event::DelayOver, Event::Loaded]);
        assert_eq!(state.phase, Phase::Stopped);
    }

    #[test]
    fn an_event_that_does_not_fit_changes_nothing() {
        let state = run(&[Event::Loaded, Event::DelayOver, Event::Retired]);
        assert_eq!(state, Lifecycle::default());
    }
}
