//! The spans that wait to be sent.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::traces::span::Span;

/// The most spans of one request.
const BATCH: usize = 512;
/// How long a stop waits for the last spans.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// The spans that wait to be sent.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    limit: usize,
    interval: Duration,
}

#[derive(Debug, Default)]
struct State {
    spans: VecDeque<Span>,
    /// A request is being made.
    sends: bool,
    /// The gateway stops.
    closes: bool,
}

impl Queue {
    pub(super) fn new(limit: usize, interval: Duration) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), limit, interval }
    }

    /// Adds the spans of one trace. False if they are too many: none is added.
    pub(super) fn push(&self, spans: Vec<Span>) -> bool {
        let mut state = self.state.lock();
        if state.spans.len() + spans.len() > self.limit {
            return false;
        }
        let before = state.spans.len();
        state.spans.extend(spans);
        // The thread sleeps as long as nothing waits, and then until there is a batch or the interval is over.
        if before == 0 || (before < BATCH && state.spans.len() >= BATCH) {
            self.changed.notify_all();
        }
        true
    }

    /// Waits for spans, and for others to send with them.
    pub(super) fn next_batch(&self) -> Vec<Span> {
        let mut state = self.state.lock();
        state.sends = false;
        self.changed.notify_all();
        while state.spans.is_empty() {
            self.changed.wait(&mut state);
        }
        let until = Instant::now() + self.interval;
        while state.spans.len() < BATCH && !state.closes {
            if self.changed.wait_until(&mut state, until).timed_out() {
                break;
            }
        }
        state.sends = true;
        let count = state.spans.len().min(BATCH);
        state.spans.drain(..count).collect()
    }

    /// Waits this long, or until the gateway stops. True if it does.
    pub(super) fn wait(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut state = self.state.lock();
        while !state.closes && !self.changed.wait_until(&mut state, until).timed_out() {}
        state.closes
    }

    /// Has everything sent that waits, and returns when it was or after a second.
    pub(super) fn close(&self) {
        let until = Instant::now() + FLUSH_LIMIT;
        let mut state = self.state.lock();
        state.closes = true;
        self.changed.notify_all();
        while (state.sends || !state.spans.is_empty()) && !self.changed.wait_until(&mut state, until).timed_out() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(count: usize) -> Vec<Span> {
        (0..count).map(|_| Span::default()).collect()
    }

    #[test]
    fn what_is_too_much_is_dropped_whole() {
        let queue = Queue::new(10, Duration::from_millis(1));
        assert!(queue.push(spans(6)) && !queue.push(spans(5)) && queue.push(spans(4)));
        assert_eq!(queue.next_batch().len(), 10);
    }

    #[test]
    fn a_batch_does_not_wait_for_the_interval() {
        let queue = Queue::new(10_000, Duration::from_secs(3600));
        queue.push(spans(BATCH + 1));
        assert_eq!(queue.next_batch().len(), BATCH);
        queue.state.lock().closes = true;
        assert_eq!(queue.next_batch().len(), 1, "nor for others when the gateway stops");
    }

    #[test]
    fn a_stop_waits_for_the_spans_but_not_for_ever() {
        let queue = Queue::new(10, Duration::from_secs(3600));
        queue.push(spans(1));
        std::thread::scope(|scope| {
            scope.spawn(|| queue.close());
            assert_eq!(queue.next_batch().len(), 1);
            assert!(queue.wait(Duration::from_secs(3600)), "a delay ends when the gateway stops");
            // Nothing takes the next: the limit ends the wait.
        });
    }
}
