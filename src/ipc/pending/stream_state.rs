//! How far a stream is that has a reader: what its worker may send next.

use crate::invocation::stream::{FIRST_CREDIT, Piece, StreamFeed};

/// A stream that has a reader.
#[derive(Debug)]
pub struct StreamState {
    /// Its reader.
    pub feed: StreamFeed,
    /// Bytes that the worker may send.
    pub credit: usize,
    /// It is the body of a response, not a list of items.
    is_body: bool,
    /// The last part of an item has not come yet.
    pub is_inside: bool,
}

impl StreamState {
    /// A stream that begins: the body of a response, or items.
    #[must_use]
    pub fn new(feed: StreamFeed, is_body: bool) -> Self {
        Self { feed, credit: FIRST_CREDIT, is_body, is_inside: false }
    }

    /// Counts a piece.
    ///
    /// # Errors
    ///
    /// How the worker has broken the protocol with it.
    pub fn take(&mut self, piece: &Piece) -> Result<(), &'static str> {
        match (piece, self.is_body) {
            (Piece::Item(_) | Piece::Part(..), true) => return Err("sent an item in a stream of bytes"),
            (Piece::Data(_), false) => return Err("sent bytes in a stream of items"),
            (Piece::Item(_), false) if self.is_inside => return Err("sent an item inside another"),
            (Piece::Item(_) | Piece::Data(_), _) => {}
            (Piece::Part(_, is_last), false) => self.is_inside = !is_last,
        }
        let credit = self.credit.checked_sub(piece.size());
        self.credit = credit.ok_or("sent more of a stream than it may")?;
        Ok(())
    }
}
