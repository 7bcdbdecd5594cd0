//! The last calls of one deployment: three queues, bounded in number and together in bytes.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::http::recent_calls::kept_call::{KeptCall, Kind};
use crate::http::recent_calls::pace::Pace;

/// Calls that are kept: of those that went well, of errors, of slow ones.
const LIMITS: [(Kind, usize); 3] = [(Kind::Ordinary, 128), (Kind::Error, 64), (Kind::Slow, 64)];
/// Bytes that the calls of all deployments take together, and those of one at least and at most.
const ALL_BYTES: usize = 32 << 20;
const LEAST_BYTES: usize = 8 << 10;
const MOST_BYTES: usize = 256 << 10;

/// A call with its number.
pub type Numbered = (u64, Arc<KeptCall>);

/// Which calls of a ring are looked for.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    /// Those of this kind, or all.
    pub kind: Option<Kind>,
    /// The time after which a call is slow: an error may be slow as well.
    pub slow: Duration,
    /// Those with these numbers.
    pub numbers: Range<u64>,
    /// The newest of them, at most so many of each kind.
    pub limit: usize,
}

/// The last calls of one deployment.
#[derive(Debug, Default)]
pub(super) struct Ring {
    /// Which calls that went well it takes.
    pub(super) pace: Pace,
    calls: Mutex<Calls>,
}

#[derive(Debug, Default)]
struct Calls {
    queues: [Queue; LIMITS.len()],
    /// The number of the newest call.
    newest: u64,
}

#[derive(Debug, Default)]
struct Queue {
    calls: VecDeque<Numbered>,
    bytes: usize,
}

/// Bytes for each of so many deployments.
#[must_use]
pub(super) fn share(deployments: usize) -> usize {
    (ALL_BYTES / deployments.max(1)).clamp(LEAST_BYTES, MOST_BYTES)
}

impl Ring {
    /// Keeps a call, which gets the next number, and at most `share` bytes of calls.
    pub(super) fn keep(&self, call: Arc<KeptCall>, kind: Kind, next: &AtomicU64, share: usize) {
        let bytes = call.bytes();
        let mut calls = self.calls.lock();
        // Within the lock: who looks at numbers below the next one finds their calls.
        calls.newest = next.fetch_add(1, Ordering::SeqCst);
        let number = calls.newest;
        let (queue, limit) = (&mut calls.queues[kind as usize], LIMITS[kind as usize].1);
        queue.calls.push_back((number, call));
        queue.bytes += bytes;
        let replaced = if queue.calls.len() > limit { queue.pop() } else { None };
        calls.shrink(share);
        drop(calls);
        // Outside of the lock: it takes as long as keeping one.
        drop(replaced);
    }

    /// Forgets the oldest calls until the others take no more bytes than this.
    pub(super) fn shrink(&self, share: usize) {
        self.calls.lock().shrink(share);
    }

    /// Adds the calls that are looked for.
    pub(super) fn list(&self, filter: &Filter, found: &mut Vec<Numbered>) {
        let calls = self.calls.lock();
        for (queue, (own, _)) in calls.queues.iter().zip(LIMITS) {
            let is_wanted = |call: &KeptCall| match filter.kind {
                None => true,
                Some(Kind::Slow) if own == Kind::Error => call.is_slow(filter.slow),
                Some(kind) => kind == own,
            };
            let newest = queue.calls.iter().rev().skip_while(|(number, _)| *number >= filter.numbers.end);
            let wanted = newest.take_while(|(number, _)| *number >= filter.numbers.start);
            found.extend(wanted.filter(|(_, call)| is_wanted(call)).take(filter.limit).cloned());
        }
    }

    /// The newest call with this request id.
    pub(super) fn find(&self, id: &str) -> Option<Numbered> {
        let calls = self.calls.lock();
        let of_id = |queue: &Queue| queue.calls.iter().rfind(|(_, call)| *call.of.id == *id).cloned();
        calls.queues.iter().filter_map(of_id).max_by_key(|(number, _)| *number)
    }

    /// The number of its newest call.
    pub(super) fn newest(&self) -> u64 {
        self.calls.lock().newest
    }
}

impl Calls {
    fn shrink(&mut self, share: usize) {
        while self.queues.iter().map(|queue| queue.bytes).sum::<usize>() > share {
            // The one that takes most: errors do not push out the calls that went well, nor these the errors.
            let Some(largest) = self.queues.iter_mut().max_by_key(|queue| queue.bytes) else { return };
            largest.pop();
        }
    }
}

impl Queue {
    fn pop(&mut self) -> Option<Numbered> {
        let oldest = self.calls.pop_front()?;
        self.bytes -= oldest.1.bytes();
        Some(oldest)
    }
}
