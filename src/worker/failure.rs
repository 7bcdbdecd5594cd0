//! What can go wrong with workers and calls, in the words that `gateway` and `http` match on.

use std::sync::Arc;
use std::time::Duration;

use crate::invocation::FunctionError;

/// Why a release did not load, or a worker is not there.
#[derive(Debug, Clone)]
pub struct LoadFailure {
    /// Which kind of failure.
    pub kind: LoadFailureKind,
    /// What happened, without the worker's own words.
    pub message: String,
    /// The last of what the worker wrote to standard error.
    pub stderr: String,
}

/// The kinds of [`LoadFailure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadFailureKind {
    /// The program could not be run.
    Spawn,
    /// It ended or broke the protocol before it was ready.
    Load,
    /// It was not ready in time.
    Timeout,
    /// It was ready and ended.
    Died,
    /// A plugin refuses to let it be served.
    Refused,
    /// What it depends on could not be installed.
    Install,
}

impl LoadFailureKind {
    const ALL: [Self; 6] = [Self::Spawn, Self::Load, Self::Timeout, Self::Died, Self::Refused, Self::Install];

    /// Its error code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Spawn => "spawn_failed",
            Self::Load => "load_failed",
            Self::Timeout => "load_timeout",
            Self::Died => "worker_crashed",
            Self::Refused => "refused_by_plugin",
            Self::Install => "install_failed",
        }
    }

    /// The kind that has this error code.
    #[must_use]
    pub fn of_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// Why a call was not answered with a result.
#[derive(Debug, Clone)]
pub enum CallError {
    /// The deployment has no such function.
    FunctionNotFound,
    /// The function raised an error.
    Function(Box<FunctionError>),
    /// The worker ended during the call; how.
    Crashed(Arc<str>),
    /// The worker broke the protocol during the call; how.
    Protocol(Arc<str>),
    /// No answer in time.
    TimedOut(Duration),
    /// Too many calls wait already.
    Overloaded(Duration),
    /// No worker is ready yet.
    Starting,
    /// Workers end right after their start, again and again.
    CrashLoop(Duration),
    /// The release has never loaded; why, and when the next attempt is.
    NotLoaded(Duration, Arc<LoadFailure>),
    /// The worker's program cannot be run; why.
    SpawnFailed(Duration, String),
    /// The release takes no more calls; this one was not sent.
    Stopping,
    /// The gateway was stopped during the call.
    Cut,
    /// The release was taken out of service during the call.
    Deleted,
    /// The deployment is no longer there; the call was not sent.
    Gone,
}
