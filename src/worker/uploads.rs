//! The places of a release that calls hold while they wait for the bodies of their requests: half of all at most, so
//! that slow clients leave room for others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The uploads into one release.
#[derive(Debug)]
pub struct Uploads {
    open: AtomicUsize,
    most: usize,
}

/// A body that is on its way into a call. Dropped when the body has ended.
#[derive(Debug)]
pub struct UploadPlace(Arc<Uploads>);

impl Uploads {
    /// For a release that runs so many calls at a time.
    #[must_use]
    pub fn new(calls: usize) -> Arc<Self> {
        Arc::new(Self { open: AtomicUsize::new(0), most: calls / 2 })
    }

    /// Takes a place; none if half of the calls wait for their bodies.
    #[must_use]
    pub fn open(self: &Arc<Self>) -> Option<UploadPlace> {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        // Dropping the place gives it back.
        let place = UploadPlace(Arc::clone(self));
        (before < self.most).then_some(place)
    }
}

impl Drop for UploadPlace {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_calls_may_wait_for_their_bodies() {
        let uploads = Uploads::new(5);
        let (first, second) = (uploads.open(), uploads.open());
        assert!(first.is_some() && second.is_some() && uploads.open().is_none());
        drop(first);
        assert!(uploads.open().is_some());
        assert!(Uploads::new(1).open().is_none());
    }
}
