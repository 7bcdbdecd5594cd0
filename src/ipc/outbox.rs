//! Lines that wait to be written to a worker, and the right to write them. It does no input or output: `client` keeps
//! it under its lock and writes what it hands out.
//!
//! One writer at a time owns the right to write, so lines are never interleaved:
//!
//! ```text
//! idle (no lines) ── claim ──▶ writing ── next_batch ──▶ writing (batch with the writer; new lines queue up)
//!      ▲                                                    │
//!      └──────── next_batch or finish_direct: no lines ─────┘
//! ```

use crate::ipc::message::Call;

/// Bytes of waiting lines beyond which a call is refused. A single call into an empty outbox may be larger.
pub(super) const LIMIT: usize = 8 * 1024 * 1024;
/// A buffer with a larger capacity is freed after it was written, so that one large call does not hold memory for ever.
const KEPT_CAPACITY: usize = 64 * 1024;

/// How writing to a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteEnd {
    /// The worker closed its end of the channel.
    Closed,
    /// The worker has not read for too long.
    Stalled,
}

/// Waiting lines.
///
/// # Invariant of `first_unwritten`
///
/// A call gets its id and its line in the outbox under one lock, so lines stand in the order of ids and the calls that
/// are not written are always a *suffix* of the ids. While `lines` is not empty, the calls from `first_unwritten` on
/// are those of which the kernel has not accepted a byte: all of `lines`, except for the rest of a line whose start is
/// written. While a [`Batch`] is with the writer, its own `first_call` takes this role for the batch, and
/// `first_unwritten` describes what has queued up since. Calls of that suffix may be sent to another worker when this
/// one is gone. All earlier ones may have run already, and sending them again could run a function twice.
#[derive(Debug)]
pub(super) struct Outbox {
    lines: Vec<u8>,
    first_unwritten: u64,
    /// Whether a caller or the writer task owns the right to write. While it is false, `lines` is empty.
    writing: bool,
}

/// Lines handed to the writer, to be written as a whole.
#[derive(Debug)]
pub(super) struct Batch {
    /// The lines.
    pub(super) bytes: Vec<u8>,
    /// The id of the first call in it that has no byte written.
    pub(super) first_call: u64,
}

impl Outbox {
    /// An empty outbox. Ids of calls start at 1.
    pub(super) fn new() -> Self {
        Self { lines: Vec::new(), first_unwritten: 1, writing: false }
    }

    /// Whether a call with this many bytes of arguments may queue up.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.lines.is_empty() || self.lines.len() + bytes <= LIMIT
    }

    /// Appends a call.
    pub(super) fn push_call(&mut self, call: &Call<'_>, id: u64) {
        if self.lines.is_empty() {
            self.first_unwritten = id;
        }
        call.write(&mut self.lines, id);
    }

    /// Appends a line that is not a call; the next call will have the id `next_id`.
    pub(super) fn push_line(&mut self, line: &[u8], next_id: u64) {
        if self.lines.is_empty() {
            self.first_unwritten = next_id;
        }
        self.lines.extend_from_slice(line);
    }

    /// Claims the right to write; false if another writer owns it.
    pub(super) fn claim(&mut self) -> bool {
        !std::mem::replace(&mut self.writing, true)
    }

    /// Hands all waiting lines to the owner of the right to write. Without lines it takes the right back.
    pub(super) fn next_batch(&mut self) -> Option<Batch> {
        if self.lines.is_empty() {
            self.writing = false;
            return None;
        }
        Some(Batch { bytes: std::mem::take(&mut self.lines), first_call: self.first_unwritten })
    }

    /// Ends the direct write of a batch with one call, of which the kernel accepted `written` bytes. Returns true if
    /// nothing is left and the right to write was taken back; else the writer task has to go on.
    pub(super) fn finish_direct(&mut self, mut batch: Batch, written: usize) -> bool {
        if written == batch.bytes.len() {
            if !self.lines.is_empty() {
                return false;
            }
            self.recycle(batch.bytes);
            self.writing = false;
            return true;
        }
        batch.bytes.drain(..written);
        batch.bytes.append(&mut self.lines);
        self.lines = batch.bytes;
        self.first_unwritten = if written > 0 { batch.first_call + 1 } else { batch.first_call };
        false
    }

    /// Takes back the buffer of a written batch for the lines to come, unless it is large or lines have queued up.
    pub(super) fn recycle(&mut self, mut buffer: Vec<u8>) {
        if self.lines.is_empty() && buffer.capacity() <= KEPT_CAPACITY {
            buffer.clear();
            self.lines = buffer;
        }
    }

    /// The first call that waits in the outbox; `next_id` if none does.
    pub(super) fn first_waiting(&self, next_id: u64) -> u64 {
        if self.lines.is_empty() { next_id } else { self.first_unwritten }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: Call<'static> = Call {
        name: "\"f\"",
        arguments: b"[]",
        names: None,
        text: false,
        timeout: None,
        request: None,
        body: None,
        cancellable: false,
    };

    /// An outbox whose first call is with a direct writer.
    fn with_direct_writer() -> (Outbox, Batch) {
        let mut outbox = Outbox::new();
        outbox.push_call(&CALL, 1);
        assert!(outbox.claim());
        let batch = outbox.next_batch().unwrap();
        (outbox, batch)
    }

    #[test]
    fn one_writer_at_a_time_has_the_right_to_write() {
        let (mut outbox, batch) = with_direct_writer();
        outbox.push_call(&CALL, 2);
        assert!(!outbox.claim());
        let length = batch.bytes.len();
        assert!(!outbox.finish_direct(batch, length), "the second call waits for the writer task");
        assert_eq!(outbox.next_batch().unwrap().first_call, 2);
        assert!(outbox.next_batch().is_none());
        assert!(outbox.claim());
    }

    #[test]
    fn a_call_of_which_a_byte_is_written_counts_as_written() {
        for (written, first_unwritten) in [(0, 1), (1, 2)] {
            let (mut outbox, batch) = with_direct_writer();
            outbox.push_call(&CALL, 2);
            assert!(!outbox.finish_direct(batch, written));
            assert_eq!(outbox.first_waiting(3), first_unwritten);
            assert_eq!(outbox.next_batch().unwrap().first_call, first_unwritten);
        }
    }

    #[test]
    fn lines_that_are_not_calls_leave_the_ids_alone() {
        let mut outbox = Outbox::new();
        outbox.push_line(b"probe\n", 5);
        outbox.push_call(&CALL, 5);
        assert_eq!(outbox.first_waiting(6), 5);
        let batch = outbox.next_batch().unwrap();
        assert!(batch.bytes.starts_with(b"probe\n{"));
        assert_eq!(outbox.first_waiting(6), 6);
    }

    #[test]
    fn a_large_buffer_is_not_kept() {
        let mut outbox = Outbox::new();
        outbox.recycle(Vec::with_capacity(KEPT_CAPACITY + 1));
        assert_eq!(outbox.lines.capacity(), 0);
        outbox.recycle(Vec::with_capacity(100));
        assert!(outbox.lines.capacity() >= 100);
    }
}
