//! A recording of hook calls that an operator starts while the plugin serves: so many cases, bytes and seconds at most,
//! in memory. It holds what callers send, including their credentials.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::clock;

/// The bounds of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Cases.
    pub cases: usize,
    /// Bytes of all cases.
    pub bytes: usize,
    /// How long it runs.
    pub time: Duration,
}

/// A recorded hook call: a case of `metagate plugin test`.
#[derive(Debug, Clone)]
pub struct RecordedCase {
    /// Its name: deployment, function and request id.
    pub name: String,
    /// The hook.
    pub hook: String,
    /// The verdict.
    pub verdict: String,
    /// The case, as JSON on one line.
    pub line: String,
}

/// The recording of a plugin, if one was started.
#[derive(Debug, Default)]
pub struct LiveRecording {
    is_on: AtomicBool,
    state: Mutex<Option<Recorded>>,
}

/// A recording and how far it is.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// What it may have.
    pub bounds: Bounds,
    /// When it was started.
    pub started: Instant,
    /// Why it ended; none while it runs.
    pub ended: Option<&'static str>,
    /// What was recorded.
    pub cases: Vec<RecordedCase>,
    /// Bytes of all cases.
    pub bytes: usize,
}

impl Recorded {
    fn end_if_over(&mut self) {
        if self.ended.is_some() {
            return;
        }
        self.ended = if clock::since(self.started) >= self.bounds.time {
            Some("time")
        } else if self.cases.len() >= self.bounds.cases {
            Some("cases")
        } else {
            None
        };
    }
}

impl LiveRecording {
    /// Starts a recording in place of the one before, whose cases are dropped.
    pub fn start(&self, bounds: Bounds) {
        let mut state = self.state.lock();
        *state = Some(Recorded { bounds, started: clock::now(), ended: None, cases: Vec::new(), bytes: 0 });
        self.is_on.store(true, Ordering::Relaxed);
    }

    /// Ends the recording and keeps its cases. False if there is none.
    pub fn stop(&self) -> bool {
        let mut state = self.state.lock();
        self.is_on.store(false, Ordering::Relaxed);
        let Some(recorded) = &mut *state else { return false };
        recorded.end_if_over();
        recorded.ended.get_or_insert("stopped");
        true
    }

    /// Drops the recording with its cases. False if there is none.
    pub fn discard(&self) -> bool {
        let mut state = self.state.lock();
        self.is_on.store(false, Ordering::Relaxed);
        state.take().is_some()
    }

    /// Whether hook calls are recorded.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Adds a case, unless the recording is over.
    pub(super) fn add(&self, case: impl FnOnce() -> RecordedCase) {
        let mut state = self.state.lock();
        let Some(recorded) = state.as_mut().filter(|recorded| recorded.ended.is_none()) else { return };
        recorded.end_if_over();
        if recorded.ended.is_none() {
            let case = case();
            if recorded.bytes + case.line.len() > recorded.bounds.bytes {
                recorded.ended = Some("bytes");
            } else {
                recorded.bytes += case.line.len();
                recorded.cases.push(case);
                recorded.end_if_over();
            }
        }
        if recorded.ended.is_some() {
            self.is_on.store(false, Ordering::Relaxed);
        }
    }

    /// Looks at the recording, if there is one.
    pub fn look<T>(&self, look: impl FnOnce(&Recorded) -> T) -> Option<T> {
        let mut state = self.state.lock();
        let recorded = state.as_mut()?;
        recorded.end_if_over();
        if recorded.ended.is_some() {
            self.is_on.store(false, Ordering::Relaxed);
        }
        Some(look(recorded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(length: usize) -> RecordedCase {
        RecordedCase { name: String::new(), hook: String::new(), verdict: String::new(), line: "x".repeat(length) }
    }

    fn started(cases: usize, bytes: usize, seconds: u64) -> LiveRecording {
        let recording = LiveRecording::default();
        recording.add(|| case(1));
        recording.start(Bounds { cases, bytes, time: Duration::from_secs(seconds) });
        recording
    }

    fn state(recording: &LiveRecording) -> (usize, Option<&'static str>, bool) {
        let (cases, ended) = recording.look(|recorded| (recorded.cases.len(), recorded.ended)).unwrap();
        (cases, ended, recording.is_on())
    }

    #[test]
    fn a_recording_ends_at_each_of_its_bounds() {
        let (few, short, brief) = (started(2, 100, 60), started(9, 5, 60), started(9, 100, 0));
        for recording in [&few, &short, &brief] {
            (0..4).for_each(|_| recording.add(|| case(3)));
        }
        assert_eq!(state(&few), (2, Some("cases"), false));
        assert_eq!(state(&short), (1, Some("bytes"), false));
        assert_eq!(state(&brief), (0, Some("time"), false));
    }

    #[test]
    fn a_recording_is_stopped_started_again_and_discarded() {
        let recording = started(9, 100, 60);
        recording.add(|| case(3));
        assert_eq!(state(&recording), (1, None, true));
        assert!(recording.stop());
        recording.add(|| case(3));
        assert_eq!(state(&recording), (1, Some("stopped"), false));
        recording.start(Bounds { cases: 1, bytes: 10, time: Duration::from_secs(60) });
        assert_eq!(state(&recording), (0, None, true));
        assert!(recording.discard() && !recording.discard() && !recording.stop() && !recording.is_on());
        assert!(recording.look(|_| ()).is_none());
    }
}
