//! How a call fails on one channel, as the layers above match on it.

use std::sync::Arc;

use crate::invocation::FunctionError;

/// Why a call has no result.
#[derive(Debug, Clone)]
pub enum CallFailure {
    /// The function raised an error; the worker goes on.
    Function(Box<FunctionError>),
    /// The worker exited while the call was in flight; holds how it ended.
    Crashed(Arc<str>),
    /// The worker broke the protocol while the call was in flight; holds the reason.
    Protocol(Arc<str>),
    /// No answer came before the deadline.
    TimedOut,
    /// The pool stopped, and the time to drain its calls is over.
    Stopped,
    /// The worker was gone before any byte of the call was written: another worker may run it.
    Unsent,
}

/// Why a call is refused before it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendError {
    /// The outbox is full: the worker does not read fast enough.
    Full,
    /// The worker is gone or draining.
    Closed,
}
