//! The bytes of streams that are on the way from workers to callers. A worker sends as much as it has credit for; the
//! credit of all streams together is bounded, and so is that of each. A stream begins with little, and gets more as its
//! caller reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::invocation::stream::FIRST_CREDIT;

/// Streams at a time. Their first credit takes half of [`TOTAL`].
const OPEN: usize = TOTAL / 2 / FIRST_CREDIT;
/// Bytes of all streams.
const TOTAL: usize = 4 << 20;
/// Bytes of one stream.
const LARGEST: usize = 128 << 10;

/// The streams of all callers.
#[derive(Debug, Default)]
pub struct Streams {
    open: AtomicUsize,
    /// Credit beyond the first of each stream.
    grown: AtomicUsize,
}

impl Streams {
    /// A place for one more stream; none if there are too many.
    #[must_use]
    pub fn open(self: &Arc<Self>) -> Option<Window> {
        let taken = self.open.fetch_add(1, Ordering::Relaxed);
        let window = Window { streams: Arc::clone(self), size: FIRST_CREDIT, granted: FIRST_CREDIT };
        // Dropping the window gives the place back.
        (taken < OPEN).then_some(window)
    }

    /// The number of streams.
    #[must_use]
    pub fn count(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    fn take_growth(&self, bytes: usize) -> bool {
        let before = self.grown.fetch_add(bytes, Ordering::Relaxed);
        let fits = before + bytes <= TOTAL - OPEN * FIRST_CREDIT;
        if !fits {
            self.grown.fetch_sub(bytes, Ordering::Relaxed);
        }
        fits
    }
}

/// The credit of one stream.
#[derive(Debug)]
pub struct Window {
    streams: Arc<Streams>,
    /// The most bytes that may be on the way.
    size: usize,
    /// The bytes that the worker may send or has sent, and that the caller has not taken.
    granted: usize,
}

impl Window {
    /// The caller has taken these bytes.
    pub fn take(&mut self, bytes: usize) {
        self.granted = self.granted.saturating_sub(bytes);
    }

    /// The bytes to grant now, if it is worth a message. A stream whose caller takes all of it gets a larger window. If
    /// nothing `waits` for the caller, all that was taken is granted again: the worker may need all of it for an item.
    pub fn refill(&mut self, waits: bool) -> Option<usize> {
        if self.granted == self.size || waits && self.granted > self.size / 2 {
            return None;
        }
        if self.granted <= self.size / 2 && self.size < LARGEST && self.streams.take_growth(self.size) {
            self.size *= 2;
        }
        let more = self.size - self.granted;
        self.granted = self.size;
        Some(more)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.streams.open.fetch_sub(1, Ordering::Relaxed);
        self.streams.grown.fetch_sub(self.size - FIRST_CREDIT, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(window: &mut Window) -> usize {
        let all = window.granted;
        window.take(all);
        window.refill(true).unwrap()
    }

    #[test]
    fn a_window_grows_as_its_caller_reads() {
        let streams = Arc::new(Streams::default());
        let mut window = streams.open().unwrap();
        assert_eq!(window.refill(true), None);
        let sizes: Vec<usize> = (0..9).map(|_| drained(&mut window)).collect();
        assert_eq!(sizes, [2048, 4096, 8192, 16384, 32768, 65536, LARGEST, LARGEST, LARGEST]);
        window.take(LARGEST / 4);
        assert_eq!(window.refill(true), None);
        window.take(LARGEST / 4);
        assert_eq!(window.refill(true), Some(LARGEST / 2));
        assert_eq!(window.refill(false), None);
        window.take(1);
        assert_eq!((window.refill(true), window.refill(false)), (None, Some(1)));
        drop(window);
        assert_eq!((streams.count(), streams.grown.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn all_streams_together_are_bounded() {
        let streams = Arc::new(Streams::default());
        let mut windows: Vec<Window> = std::iter::from_fn(|| streams.open()).collect();
        assert_eq!((windows.len(), streams.count()), (OPEN, OPEN));
        for _ in 0..20 {
            windows.iter_mut().for_each(|window| assert!(drained(window) > 0));
        }
        let total: usize = windows.iter().map(|window| window.size).sum();
        assert!(total <= TOTAL, "{total}");
        assert!(windows.iter().all(|window| window.granted >= FIRST_CREDIT));
        windows.pop();
        assert!(streams.open().is_some());
    }
}
