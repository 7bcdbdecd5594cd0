//! Counters of one worker's channel.

use std::sync::atomic::{AtomicU64, Ordering};

/// Messages of one worker since its start, by kind.
#[derive(Debug, Default)]
pub struct Counters {
    /// Answers to calls in flight.
    pub answered: AtomicU64,
    /// Answers that came after their call had timed out or its caller had left.
    pub late: AtomicU64,
    /// Answers with the id of no call.
    pub unknown_ids: AtomicU64,
    /// Messages of an unknown type.
    pub unknown_types: AtomicU64,
    /// Messages of streams that broke their stream, or that came for one that nobody awaits.
    pub bad_pieces: AtomicU64,
}

impl Counters {
    /// The number of odd messages: late, with an unknown id, of an unknown type, or wrong in their stream.
    pub fn odd(&self) -> u64 {
        let counts = [&self.late, &self.unknown_ids, &self.unknown_types, &self.bad_pieces];
        counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}
