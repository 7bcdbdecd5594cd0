//! Why a call is refused before it is sent, as the layers above match on it.

/// Why a call is refused before it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendError {
    /// The outbox is full: the worker does not read fast enough.
    Full,
    /// The worker is gone or draining.
    Closed,
}
