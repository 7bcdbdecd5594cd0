//! Why a hook call failed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::plugin::trap::Trap;

/// Why a hook call failed.
#[derive(Debug, Clone, Serialize, Deserialize, thiserror::Error)]
pub enum Fault {
    /// The hook trapped: unreachable code, memory out of bounds, an exhausted stack.
    #[error("trapped: {0}")]
    Trap(Box<Trap>),
    /// The hook ran or waited until its deadline.
    #[error("took longer than {0:?}")]
    TimedOut(Duration),
    /// The hook returned a verdict that breaks the rules of the interface.
    #[error("returned an invalid verdict: {0}")]
    BadOutput(String),
    /// A new instance refused its configuration.
    #[error("refused its configuration: {0}")]
    Refused(String),
    /// A breaker is open. Carries the time until the next trial.
    #[error("failed too often; a breaker is open for {0:?}")]
    Open(Duration),
    /// All instances are busy, and the queue for them is full or the deadline passed in it.
    #[error("has too many hook calls in progress")]
    Overloaded,
    /// All plugins together use up their memory, and the hook needed more.
    #[error("found no memory: the instances of all plugins use up max_memory of [plugins]")]
    NoMemory,
    /// The engine or the gateway's side of an import panicked. The plugin is off until it is loaded again.
    #[error("caused a panic in the WebAssembly engine and is off until it is loaded again")]
    Panicked,
    /// The process of the plugin ended, or was ended, while the hook ran.
    #[error("lost its process, which {0}")]
    ProcessEnded(String),
    /// The process of the plugin is not running, and did not start before the deadline.
    #[error("has no running process yet")]
    NoProcess,
}

impl Fault {
    /// The kinds of faults, as metrics name them.
    pub const KINDS: [&'static str; 10] = [
        "trap",
        "timeout",
        "bad_output",
        "refused_config",
        "breaker_open",
        "overloaded",
        "no_memory",
        "panic",
        "process_ended",
        "no_process",
    ];

    /// Which of [`Self::KINDS`] it is.
    #[must_use]
    pub fn kind(&self) -> usize {
        match self {
            Self::Trap(_) => 0,
            Self::TimedOut(_) => 1,
            Self::BadOutput(_) => 2,
            Self::Refused(_) => 3,
            Self::Open(_) => 4,
            Self::Overloaded => 5,
            Self::NoMemory => 6,
            Self::Panicked => 7,
            Self::ProcessEnded(_) => 8,
            Self::NoProcess => 9,
        }
    }

    /// A trap for this reason.
    pub(crate) fn trap(reason: impl Into<String>) -> Self {
        Self::Trap(Box::new(Trap::plain(reason)))
    }

    /// The fault in one line, without what the plugin wrote: for callers and for those who deploy.
    #[must_use]
    pub fn brief(&self) -> String {
        match self {
            Self::Trap(trap) => Self::trap(trap.reason.as_str()).to_string(),
            other => other.to_string(),
        }
    }
}
