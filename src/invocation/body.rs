//! The body of an HTTP request that reaches its function piece by piece.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use parking_lot::Mutex;

/// Bytes of a body that may be on the way to a worker that has not taken them.
pub const WINDOW: usize = 64 << 10;

/// The pieces of a body. An error is the last: why the rest will not come, for the function.
pub type Pieces = BoxStream<'static, Result<Bytes, Arc<str>>>;

/// A body that several hold until one of them takes it.
#[derive(Clone)]
pub struct HeldBody(Arc<Mutex<Option<Pieces>>>);

impl HeldBody {
    /// Holds a body.
    #[must_use]
    pub fn new(pieces: Pieces) -> Self {
        Self(Arc::new(Mutex::new(Some(pieces))))
    }

    /// Takes the body; none if another has taken it.
    #[must_use]
    pub fn take(&self) -> Option<Pieces> {
        self.0.lock().take()
    }

    /// Moves the body to a holder for one attempt to pass it on; none if another has taken it.
    #[must_use]
    pub fn lend(&self) -> Option<Self> {
        self.take().map(Self::new)
    }

    /// Takes back what was lent; false if any of it has been read.
    #[must_use]
    pub fn take_back(&self, lent: &Self) -> bool {
        let body = lent.take();
        let is_whole = body.is_some();
        *self.0.lock() = body;
        is_whole
    }
}

impl fmt::Debug for HeldBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldBody").finish_non_exhaustive()
    }
}

impl PartialEq for HeldBody {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for HeldBody {}
