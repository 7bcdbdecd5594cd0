//! How a call, or the stream that answers it, fails on the channel of its worker, as the layers above match on it.

use std::sync::Arc;

use crate::invocation::function_error::FunctionError;

/// Why a call has no result, or why its stream broke off.
#[derive(Debug, Clone)]
pub enum CallFailure {
    /// The function raised an error; the worker goes on.
    Function(Box<FunctionError>),
    /// The worker exited while the call was in flight; holds how it ended.
    Crashed(Arc<str>),
    /// The worker broke the protocol while the call was in flight; holds the reason.
    Protocol(Arc<str>),
    /// No answer came before the deadline, or no piece of its stream for too long.
    TimedOut,
    /// The pool stopped, and the time to drain its calls is over.
    Stopped,
    /// The worker was gone before any byte of the call was written: another worker may run it.
    Unsent,
}
