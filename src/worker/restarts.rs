//! How often workers of a pool were replaced, and why.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a worker was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Its process ended, or no longer answered and was ended.
    Crashed,
    /// It broke the worker protocol.
    Protocol,
    /// Its calls or streams went on after their deadlines.
    Overdue,
    /// It asked to be replaced, after an error outside of a call.
    Asked,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 4] = [Self::Crashed, Self::Protocol, Self::Overdue, Self::Asked];

    /// The name in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crashed => "crashed",
            Self::Protocol => "protocol_error",
            Self::Overdue => "overdue",
            Self::Asked => "asked",
        }
    }
}

/// The workers of a pool that were replaced.
#[derive(Debug, Default)]
pub struct Restarts([AtomicU64; Reason::ALL.len()]);

impl Restarts {
    /// Counts a worker that was replaced.
    pub fn add(&self, reason: Reason) {
        self.0[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Each reason with the workers that were replaced for it.
    #[must_use]
    pub fn counts(&self) -> [(&'static str, u64); Reason::ALL.len()] {
        Reason::ALL.map(|reason| (reason.as_str(), self.0[reason as usize].load(Ordering::Relaxed)))
    }

    /// Workers that were replaced.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}
