//! Framing: bytes from a worker become lines of bounded length. Their meaning is left to `message`.

use bytes::{Bytes, BytesMut};

/// Bytes of free room to which the buffer grows for a read.
const READ_SIZE: usize = 64 * 1024;
/// From this length on the buffer grows by [`Lines::space`]'s own rule.
const LARGE: usize = 1024 * 1024;

/// A line is longer than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line of more than {limit} bytes")]
pub struct LineTooLong {
    /// The limit in bytes, without the line break.
    pub limit: usize,
}

/// Splits what a worker writes into lines.
#[derive(Debug)]
pub struct Lines {
    buffer: BytesMut,
    /// How many bytes at the start of the buffer are known to hold no line break. Without it, a line of 16 MiB that
    /// arrives in pieces would be searched from its start for each piece.
    searched: usize,
    limit: usize,
}

impl Lines {
    /// An empty buffer for lines of at most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), searched: 0, limit }
    }

    /// The buffer to append the next bytes to; it always has room.
    pub fn space(&mut self) -> &mut BytesMut {
        if self.buffer.capacity() - self.buffer.len() < READ_SIZE / 4 {
            if self.buffer.len() < LARGE {
                self.buffer.reserve(READ_SIZE);
            } else {
                // `reserve` doubles the capacity, at the end to twice the limit. Beyond the limit the line is refused
                // anyway, so the buffer stops there.
                let room = (2 * self.buffer.len()).min(self.limit + 1).max(self.buffer.len()) + READ_SIZE;
                let mut larger = BytesMut::with_capacity(room);
                larger.extend_from_slice(&self.buffer);
                self.buffer = larger;
            }
        }
        &mut self.buffer
    }

    /// The next whole line without its line break, or `None` until more bytes arrive.
    ///
    /// # Errors
    /// The line is longer than the limit, whether or not its end has arrived.
    pub fn next_line(&mut self) -> Result<Option<Bytes>, LineTooLong> {
        let Some(found) = memchr::memchr(b'\n', &self.buffer[self.searched..]) else {
            self.searched = self.buffer.len();
            return if self.searched > self.limit { Err(LineTooLong { limit: self.limit }) } else { Ok(None) };
        };
        let length = self.searched + found;
        if length > self.limit {
            return Err(LineTooLong { limit: self.limit });
        }
        let line = self.buffer.split_to(length + 1).freeze();
        self.searched = 0;
        Ok(Some(line.slice(..length)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_however_the_bytes_are_cut() {
        let text = b"one\n\ntwo and a bit\nhalf";
        for cut in 1..text.len() {
            let mut lines = Lines::new(100);
            let mut found = Vec::new();
            for chunk in text.chunks(cut) {
                lines.space().extend_from_slice(chunk);
                while let Some(line) = lines.next_line().unwrap() {
                    found.push(line);
                }
            }
            assert_eq!(found, ["one", "", "two and a bit"], "cut {cut}");
        }
    }

    #[test]
    fn a_line_beyond_the_limit_is_refused_with_and_without_its_end() {
        for text in [&b"12345"[..], b"12345\n"] {
            let mut lines = Lines::new(4);
            lines.space().extend_from_slice(text);
            assert_eq!(lines.next_line(), Err(LineTooLong { limit: 4 }));
        }
        let mut lines = Lines::new(4);
        lines.space().extend_from_slice(b"1234\n");
        assert_eq!(lines.next_line().unwrap().unwrap(), "1234");
    }
}
