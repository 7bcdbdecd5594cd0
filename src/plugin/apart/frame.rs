//! Frames of the channel between the gateway and the process of a plugin: a message as JSON, and bytes that belong to
//! it.
//!
//! ```text
//! ┌──────────────────┬───────────────────┬──────┬───────┐
//! │ length of JSON   │ length of bytes   │ JSON │ bytes │
//! │ u32, little end  │ u32, little end   │      │       │
//! └──────────────────┴───────────────────┴──────┴───────┘
//! ```

use std::io;

use bytes::{Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};

/// Frames that are longer, in bytes, are made and read on other threads in the gateway.
pub(super) const LARGE: usize = 64 << 10;
/// Bytes of the two lengths.
pub(crate) const LENGTHS: usize = 8;

/// The lengths at the start of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lengths {
    message: usize,
    bytes: usize,
}

/// Why a frame cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadFrame {
    /// It is longer than the limit.
    #[error("a frame of {0} bytes exceeds the limit of {1}")]
    TooLong(usize, usize),
    /// Its message is not one of those that are expected.
    #[error("a message that cannot be read: {0}")]
    Message(#[from] serde_json::Error),
}

impl Lengths {
    /// Reads the lengths of a frame of at most `limit` bytes.
    pub(crate) fn read(start: [u8; LENGTHS], limit: usize) -> Result<Self, BadFrame> {
        let [a, b, c, d, rest @ ..] = start;
        let length = |bytes| u32::from_le_bytes(bytes) as usize;
        let lengths = Self { message: length([a, b, c, d]), bytes: length(rest) };
        let whole = lengths.whole();
        if whole > limit { Err(BadFrame::TooLong(whole, limit)) } else { Ok(lengths) }
    }

    /// Bytes after the lengths.
    pub(crate) fn whole(self) -> usize {
        self.message.saturating_add(self.bytes)
    }

    /// The message and the bytes of a frame, of what follows its lengths.
    pub(crate) fn cut<M: DeserializeOwned>(self, frame: Vec<u8>) -> Result<(M, Bytes), BadFrame> {
        let mut message = Bytes::from(frame);
        let bytes = message.split_off(self.message.min(message.len()));
        Ok((serde_json::from_slice(&message)?, bytes))
    }
}

/// A frame with this message and these bytes.
pub(crate) fn frame(message: &impl Serialize, bytes: &[&[u8]]) -> io::Result<Bytes> {
    let mut frame = vec![0; LENGTHS];
    serde_json::to_writer(&mut frame, message)?;
    let length = |length: usize| u32::try_from(length).map_err(|_| io::Error::other("a frame is too long"));
    let message = length(frame.len() - LENGTHS)?.to_le_bytes();
    let rest = length(bytes.iter().map(|part| part.len()).sum())?.to_le_bytes();
    frame[..LENGTHS].copy_from_slice(&[message, rest].concat());
    let mut frame = BytesMut::from(Bytes::from(frame));
    bytes.iter().for_each(|part| frame.extend_from_slice(part));
    Ok(frame.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start_of(frame: &[u8]) -> [u8; LENGTHS] {
        frame[..LENGTHS].try_into().unwrap()
    }

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let written = frame(&vec!["a", "b"], &[b"\n", b"", b"\xff"]).unwrap();
        let lengths = Lengths::read(start_of(&written), 11).unwrap();
        let (message, bytes): (Vec<String>, Bytes) = lengths.cut(written[LENGTHS..].to_vec()).unwrap();
        assert_eq!((message, &bytes[..]), (vec!["a".to_owned(), "b".to_owned()], &b"\n\xff"[..]));
    }

    #[test]
    fn a_frame_beyond_the_limit_is_refused_by_its_lengths() {
        let written = frame(&0, &[b"abc"]).unwrap();
        assert!(Lengths::read(start_of(&written), 3).is_err());
        assert!(Lengths::read([0xff; LENGTHS], 1 << 30).is_err());
    }
}
