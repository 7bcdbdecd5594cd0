//! Counters of one plugin since it was loaded.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::config::HookName;
use crate::plugin::fault::Fault;

/// Shortest time between two log lines about refused hook calls, so that a flood of calls does not fill the log.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// Counters of one plugin since it was loaded.
#[derive(Debug, Default)]
pub struct Figures {
    /// Hook calls that ran.
    pub calls: AtomicU64,
    /// Hook calls that failed, and hook calls that were refused before they ran because the plugin was overloaded or
    /// off or a breaker was open. `calls` does not count the refused ones, so `failures` can exceed it.
    pub failures: AtomicU64,
    /// Those of the refused ones that an open breaker refused.
    pub breaker_refusals: AtomicU64,
    /// Hook calls that were refused because all plugins together had used up their memory. They are part of `failures`.
    pub memory_refusals: AtomicU64,
    /// Verdicts that ended a call or refused a load.
    pub refusals: AtomicU64,
    /// Verdicts that observe mode did not apply.
    pub observed: AtomicU64,
    /// Nanoseconds spent in hooks.
    pub nanoseconds: AtomicU64,
    /// Instances created.
    pub instances: AtomicU64,
    refused: Mutex<Refused>,
}

/// Hook calls that were refused and have not been logged yet.
#[derive(Debug, Default)]
struct Refused {
    count: u64,
    last_line: Option<Instant>,
}

impl Figures {
    /// Counts a hook call that was refused, before it ran or when it needed more memory, and logs the count unless the
    /// last such line is too recent.
    pub(super) fn count_refused(&self, plugin: &str, hook: HookName, fault: &Fault) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        match fault {
            Fault::Open(_) => self.breaker_refusals.fetch_add(1, Ordering::Relaxed),
            Fault::NoMemory => self.memory_refusals.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
        let now = Instant::now();
        let mut refused = self.refused.lock();
        refused.count += 1;
        if refused.last_line.is_some_and(|at| now.duration_since(at) < LINE_INTERVAL) {
            return;
        }
        let count = std::mem::take(&mut refused.count);
        refused.last_line = Some(now);
        drop(refused);
        tracing::warn!(%plugin, %hook, count, %fault, "hook calls refused");
    }
}
