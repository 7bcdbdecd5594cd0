//! What can come of a call on one channel, of sending and of reading, as the layers above match on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::invocation::FunctionError;

/// Why a call got no answer.
#[derive(Debug, Clone)]
pub enum CallFailure {
    /// The function raised an error; the worker lives.
    Function(Box<FunctionError>),
    /// The worker ended with the call on its way; how it ended.
    Crashed(Arc<str>),
    /// The worker broke the protocol with the call on its way; how.
    Protocol(Arc<str>),
    /// No answer within the deadline.
    TimedOut,
    /// The deployment was stopped, and its time to finish is over.
    Stopped,
    /// The worker was gone before the call was written: it can be sent to another.
    Unsent,
}

/// Why a call was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendError {
    /// The worker does not read fast enough.
    Full,
    /// The worker is gone.
    Closed,
}

/// What reading from the worker brought, beside answers, which go straight to their callers.
#[derive(Debug)]
pub enum Incoming {
    /// The data of `GetApplicationMetadata`.
    MetaData(Bytes),
    /// An answer to a probe.
    ProbeResult,
    /// A broken protocol; how.
    Protocol(String),
    /// The worker closed its end.
    Closed,
}

/// What a worker did that callers do not see, since its start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Calls that were answered.
    pub answered: AtomicU64,
    /// Answers that came after their call was over.
    pub late: AtomicU64,
    /// Answers to calls that never were.
    pub unknown_ids: AtomicU64,
    /// Messages of a type that nobody knows.
    pub unknown_types: AtomicU64,
}

impl Counters {
    /// All that was out of order.
    pub fn odd(&self) -> u64 {
        [&self.late, &self.unknown_ids, &self.unknown_types].iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

/// Calls that ran out of time in one look at the clock.
#[derive(Debug, Clone, Copy)]
pub struct Overdue {
    /// How many calls.
    pub calls: usize,
}

/// How writing came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteEnd {
    /// The worker's end is closed.
    Closed,
    /// The worker has not read for too long.
    Stalled,
}
