//! The little-endian fields of a zip's records, one after another. Source of all records: PKWARE's APPNOTE 6.3.10.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::source::archive::error::{ArchiveError, refused};

/// The rest of a record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    /// The next bytes, or `None` if fewer are left.
    pub(super) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    /// The next two bytes as a number.
    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// The next four bytes as a number.
    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// The next eight bytes as a number.
    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }
}

/// Fills the buffer from a place in the archive.
pub(super) fn read_at(archive: &File, buffer: &mut [u8], at: u64) -> Result<(), ArchiveError> {
    archive.read_exact_at(buffer, at).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => refused("the archive ends too early".to_owned()),
        _ => ArchiveError::Disk(error),
    })
}
