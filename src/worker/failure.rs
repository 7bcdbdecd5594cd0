//! Failures of workers and of calls, as types. `gateway` maps them to statuses, codes and messages.

use std::sync::Arc;
use std::time::Duration;

use crate::answer::code::Code;
use crate::invocation::FunctionError;

/// Why a release did not load, or why a seat has no worker.
#[derive(Debug, Clone)]
pub struct LoadFailure {
    /// The kind of failure.
    pub kind: LoadFailureKind,
    /// What happened, for operators: it may name paths and quote what the worker sent.
    pub message: String,
    /// What happened, for callers: without paths and quotes. None where `message` has no such form.
    pub public: Option<String>,
    /// The end of what the worker wrote to standard error, at most 4 KiB. For operators, not for callers.
    pub stderr: String,
}

impl LoadFailure {
    /// A failure without a text for callers and without standard error.
    #[must_use]
    pub fn new(kind: LoadFailureKind, message: String) -> Self {
        Self { kind, message, public: None, stderr: String::new() }
    }
}

/// The kinds of [`LoadFailure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadFailureKind {
    /// The worker's program could not be run.
    Spawn,
    /// The worker ended or broke the protocol before it was ready.
    Load,
    /// The worker was not ready within the load timeout.
    Timeout,
    /// A worker that had been ready ended.
    Died,
    /// A plugin refused the release.
    Refused,
    /// The dependencies could not be installed.
    Install,
}

impl LoadFailureKind {
    const ALL: [Self; 6] = [Self::Spawn, Self::Load, Self::Timeout, Self::Died, Self::Refused, Self::Install];

    /// The error code of this kind, as `/readyz` and answers carry it.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Spawn => Code::SpawnFailed.as_str(),
            Self::Load => Code::LoadFailed.as_str(),
            Self::Timeout => Code::LoadTimeout.as_str(),
            Self::Died => Code::WorkerCrashed.as_str(),
            Self::Refused => Code::RefusedByPlugin.as_str(),
            Self::Install => Code::InstallFailed.as_str(),
        }
    }

    /// The kind with this error code; the record of a release stores the code.
    #[must_use]
    pub fn of_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// Why a call has no result. A duration is the time after which a new attempt makes sense (`Retry-After`), except in
/// `TimedOut`.
#[derive(Debug, Clone)]
pub enum CallError {
    /// The release exports no function of this name.
    FunctionNotFound,
    /// Several functions of the release have this name behind the names of their scripts; holds their full names.
    AmbiguousFunction(Vec<String>),
    /// The function threw an error.
    Function(Box<FunctionError>),
    /// The worker ended during the call, as the text says.
    Crashed(Arc<str>),
    /// The worker broke the protocol during the call, as the text says.
    Protocol(Arc<str>),
    /// No answer came within the timeout, which is the duration.
    TimedOut(Duration),
    /// The caller left while the call was in the queue.
    CallerLeft,
    /// The queue is full.
    Overloaded(Duration),
    /// No worker was free within the timeout, while streams held them.
    HeldByStreams {
        /// The timeout.
        waited: Duration,
        /// The function of the oldest stream.
        function: Box<str>,
        /// How many other streams there are.
        others: usize,
    },
    /// No worker became ready while the call waited.
    Starting,
    /// The seats are in a crash loop.
    CrashLoop(Duration),
    /// The release has not loaded so far, for this reason.
    NotLoaded(Duration, Arc<LoadFailure>),
    /// The worker's program cannot be run, as the text says.
    SpawnFailed(Duration, String),
    /// The release drains and accepts no new calls. This call was not sent, so it may be sent to the next release.
    Stopping,
    /// The gateway stopped, and its drain time ended during the call.
    Cut,
    /// The deployment was deleted, or its release replaced, and the drain time ended during the call.
    Deleted,
    /// The deployment was deleted before the call was sent.
    Gone,
}
