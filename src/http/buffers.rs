//! The bytes that the gateway holds for clients: bodies of requests until their calls have ended, answers until they
//! are written. One budget bounds them over all clients, and smaller ones bound each peer and each connection, so that
//! one client cannot use all of it. Reading bodies and sending answers is left to others.
//!
//! A body that does not fit is refused. Uploads of packages are shed first, at half of the budget, then large bodies
//! at three quarters; small bodies and answers may use all of it. A single body always fits into a budget that is
//! otherwise empty, however large it is: its own limit of size applies.

pub mod streams;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::http::problem::{Code, Problem};
use crate::plugin::held_stream::Room;

/// A body of more bytes is large.
pub const SMALL: usize = 64 * 1024;
/// Bodies and answers of at most this many bytes are not counted on HTTP/1: a connection has one at a time, and
/// connections have a limit. HTTP/2 may have a hundred of them on a connection.
const UNCOUNTED: usize = 16 * 1024;
/// `Retry-After` of a refusal: clients that read their answers free the budget within a moment.
const RETRY: Duration = Duration::from_secs(1);

/// What bytes are held for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A package that is being uploaded.
    Upload,
    /// A body of more than [`SMALL`] bytes.
    Large,
    /// A smaller body.
    Small,
    /// An answer.
    Answer,
}

impl Class {
    /// The class of a body of this size.
    #[must_use]
    pub fn of_body(bytes: usize) -> Self {
        if bytes > SMALL { Self::Large } else { Self::Small }
    }

    /// The part of a budget that the class may fill.
    fn part_of(self, limit: usize) -> usize {
        match self {
            Self::Upload => limit / 2,
            Self::Large => limit / 4 * 3,
            Self::Small | Self::Answer => limit,
        }
    }
}

/// A budget of bytes and its use.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
    refused: AtomicU64,
}

impl Budget {
    /// An unused budget.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, used: AtomicUsize::new(0), refused: AtomicU64::new(0) }
    }

    /// The bytes in use.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// The limit in bytes.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// How many bodies and answers were refused because this budget, or the part of it that one connection or one peer
    /// may use, was full.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Takes `more` bytes for a holder that has `own` already.
    fn take(&self, own: usize, more: usize, class: Class) -> bool {
        let before = self.used.fetch_add(more, Ordering::Relaxed);
        if before > own && before + more > class.part_of(self.limit) {
            self.give_back(more);
            return false;
        }
        true
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The contents of streams that plugins ask for.
impl Room for Budget {
    fn take(&self, own: usize, more: usize) -> bool {
        let has_room = Self::take(self, own, more, Class::Large);
        if !has_room {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        has_room
    }

    fn give_back(&self, bytes: usize) {
        Self::give_back(self, bytes);
    }
}

/// How many requests a connection can have at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requests {
    /// One: HTTP/1.
    One,
    /// Many: HTTP/2.
    Many,
}

/// The budgets of one connection: its own, its peer's, and everyone's.
#[derive(Debug)]
pub struct ConnectionBuffers {
    connection: Budget,
    peer: Arc<Budget>,
    everyone: Arc<Budget>,
    requests: Requests,
}

impl ConnectionBuffers {
    /// The budgets of a new connection.
    #[must_use]
    pub fn new(everyone: Arc<Budget>, peer: Arc<Budget>, requests: Requests) -> Self {
        Self { connection: Budget::new(connection_limit(everyone.limit)), peer, everyone, requests }
    }

    /// The budgets of a client whose request came over this connection from a proxy.
    #[must_use]
    pub fn of_client(&self, client: Arc<Budget>) -> Self {
        Self::new(Arc::clone(&self.everyone), client, self.requests)
    }

    /// The budgets, the one most likely to be full first.
    fn all(&self) -> [&Budget; 3] {
        [&self.connection, &self.peer, &self.everyone]
    }

    fn counts(&self, bytes: usize) -> bool {
        bytes > UNCOUNTED || self.requests == Requests::Many
    }
}

/// The budget of one peer, as a part of everyone's: two peers cannot use up all of it with large bodies.
#[must_use]
pub fn peer_limit(everyone: usize) -> usize {
    everyone / 2
}

/// The budget of one connection, as a part of everyone's.
fn connection_limit(everyone: usize) -> usize {
    everyone / 4
}

/// Bytes that are held for a client, given back when this is dropped.
#[derive(Debug)]
pub struct Held {
    buffers: Arc<ConnectionBuffers>,
    bytes: usize,
}

impl Held {
    /// Holds nothing yet.
    #[must_use]
    pub fn nothing(buffers: &Arc<ConnectionBuffers>) -> Self {
        Self { buffers: Arc::clone(buffers), bytes: 0 }
    }

    /// Holds `total` bytes, if that is more than now.
    ///
    /// # Errors
    ///
    /// `overloaded` if a budget has no room. What was held before stays held.
    pub fn grow_to(&mut self, total: usize, class: Class) -> Result<(), Problem> {
        let more = total.saturating_sub(self.bytes);
        if more == 0 || !self.buffers.counts(total) {
            return Ok(());
        }
        let budgets = self.buffers.all();
        for (taken, budget) in budgets.iter().enumerate() {
            if !budget.take(self.bytes, more, class) {
                budgets[..taken].iter().for_each(|budget| budget.give_back(more));
                self.buffers.everyone.refused.fetch_add(1, Ordering::Relaxed);
                return Err(full(total, class));
            }
        }
        self.bytes = total;
        Ok(())
    }

    /// Holds bytes that are counted elsewhere for the moment, so that a budget may be exceeded by them.
    #[must_use]
    pub fn moved(buffers: &Arc<ConnectionBuffers>, bytes: usize) -> Self {
        for budget in buffers.all() {
            budget.used.fetch_add(bytes, Ordering::Relaxed);
        }
        Self { buffers: Arc::clone(buffers), bytes }
    }

    /// Bytes of an answer that keep their place in the budgets until the last copy of them is dropped.
    ///
    /// # Errors
    ///
    /// `overloaded` if a budget has no room.
    pub fn answer(buffers: &Arc<ConnectionBuffers>, bytes: Bytes) -> Result<Bytes, Problem> {
        if !buffers.counts(bytes.len()) {
            return Ok(bytes);
        }
        let mut held = Self::nothing(buffers);
        held.grow_to(bytes.len(), Class::Answer)?;
        Ok(held.attach(bytes))
    }

    /// Bytes that keep their place in the budgets until the last copy of them is dropped.
    #[must_use]
    pub fn attach(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(HeldBytes { bytes, _held: self })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.buffers.all().iter().for_each(|budget| budget.give_back(self.bytes));
        }
    }
}

struct HeldBytes {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn full(bytes: usize, class: Class) -> Problem {
    let message = match class {
        Class::Answer => format!(
            "the answer of {bytes} bytes was dropped: the gateway holds too many bytes for clients that have not read \
             theirs (max_buffered)"
        ),
        Class::Upload | Class::Large | Class::Small => {
            "the gateway holds too many bytes of requests and answers (max_buffered)".to_owned()
        }
    };
    Problem::new(Code::Overloaded, message).retry_after(RETRY).closing()
}
