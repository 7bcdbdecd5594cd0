//! The record that ends a zip, and its 64-bit variant: the number of entries and the place of their directory.

use std::fs::File;

use crate::source::archive::error::{ArchiveError, refused};
use crate::source::archive::record::{Fields, read_at};

const END: &[u8] = b"PK\x05\x06";
const END_SIZE: usize = 22;
const COMMENT_LIMIT: usize = 0xFFFF;
const LOCATOR: &[u8] = b"PK\x06\x07";
const LOCATOR_SIZE: usize = 20;
const END64: &[u8] = b"PK\x06\x06";
const END64_SIZE: usize = 56;
/// The value of the record's own length field, which counts the bytes after itself.
const END64_COUNTED: u64 = END64_SIZE as u64 - 12;

/// Where the directory of an archive is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct End {
    /// The number of its entries.
    pub(super) entries: u64,
    /// The place of its first byte.
    pub(super) start: u64,
    /// Its length in bytes.
    pub(super) size: u64,
}

/// The fields of one of the two records.
#[derive(Debug)]
struct Record {
    disks: [u64; 2],
    entries_here: u64,
    entries: u64,
    size: u64,
    start: u64,
}

/// Reads the end of an archive. Nothing may follow it, and the directory must be directly in front of it.
pub(super) fn read(archive: &File) -> Result<End, ArchiveError> {
    let length = archive.metadata()?.len();
    let (end_at, record) = find_end(archive, length)?;
    let (record, directory_end) = match find_end64(archive, end_at)? {
        None => (record, end_at),
        Some((end64_at, record64)) => {
            agree(&record, &record64)?;
            (record64, end64_at)
        }
    };
    if record.disks != [0, 0] || record.entries_here != record.entries {
        return Err(refused("the archive is one part of several".to_owned()));
    }
    if record.start.checked_add(record.size) != Some(directory_end) {
        return Err(refused(format!(
            "the end record declares a directory of {} bytes at byte {}, but it ends at byte {directory_end}",
            record.size, record.start
        )));
    }
    Ok(End { entries: record.entries, start: record.start, size: record.size })
}

fn find_end(archive: &File, length: u64) -> Result<(u64, Record), ArchiveError> {
    let no_zip = || refused("not a zip archive, or a truncated one: it has no end record".to_owned());
    let tail_at = length.saturating_sub((END_SIZE + COMMENT_LIMIT) as u64);
    let mut tail = vec![0; usize::try_from(length - tail_at).unwrap_or(0)];
    read_at(archive, &mut tail, tail_at)?;
    let last_start = tail.len().checked_sub(END_SIZE).ok_or_else(no_zip)?;
    let at = memchr::memmem::rfind(&tail[..last_start + END.len()], END).ok_or_else(no_zip)?;
    let mut fields = Fields(&tail[at + END.len()..]);
    let (record, comment) = end_fields(&mut fields).ok_or_else(no_zip)?;
    if fields.0.len() != usize::from(comment) {
        return Err(refused(format!("{} bytes follow the end record, which declares {comment}", fields.0.len())));
    }
    Ok((tail_at + at as u64, record))
}

fn end_fields(fields: &mut Fields<'_>) -> Option<(Record, u16)> {
    let record = Record {
        disks: [fields.u16()?.into(), fields.u16()?.into()],
        entries_here: fields.u16()?.into(),
        entries: fields.u16()?.into(),
        size: fields.u32()?.into(),
        start: fields.u32()?.into(),
    };
    Some((record, fields.u16()?))
}

/// The 64-bit record, if there is one: directly in front of a locator, which is directly in front of the end record.
fn find_end64(archive: &File, end_at: u64) -> Result<Option<(u64, Record)>, ArchiveError> {
    let Some(locator_at) = end_at.checked_sub(LOCATOR_SIZE as u64) else { return Ok(None) };
    let mut locator = [0; LOCATOR_SIZE];
    read_at(archive, &mut locator, locator_at)?;
    let Some(fields) = locator.strip_prefix(LOCATOR) else { return Ok(None) };
    let wrong = || refused("the 64-bit end record is malformed".to_owned());
    let mut fields = Fields(fields);
    let (Some(0), Some(at), Some(0 | 1)) = (fields.u32(), fields.u64(), fields.u32()) else { return Err(wrong()) };
    if at.checked_add(END64_SIZE as u64) != Some(locator_at) {
        return Err(wrong());
    }
    let mut record = [0; END64_SIZE];
    read_at(archive, &mut record, at)?;
    let fields = record.strip_prefix(END64).ok_or_else(wrong)?;
    let record = end64_fields(Fields(fields)).ok_or_else(wrong)?;
    Ok(Some((at, record)))
}

fn end64_fields(mut fields: Fields<'_>) -> Option<Record> {
    if fields.u64()? != END64_COUNTED {
        return None;
    }
    let _versions = fields.u32()?;
    Some(Record {
        disks: [fields.u32()?.into(), fields.u32()?.into()],
        entries_here: fields.u64()?,
        entries: fields.u64()?,
        size: fields.u64()?,
        start: fields.u64()?,
    })
}

/// Whether both records agree, except for numbers that are too large for the short one.
fn agree(short: &Record, long: &Record) -> Result<(), ArchiveError> {
    let same16 = |short: u64, long: u64| short == long || short == 0xFFFF;
    let same32 = |short: u64, long: u64| short == long || short == 0xFFFF_FFFF;
    let agreed = same16(short.disks[0], long.disks[0])
        && same16(short.disks[1], long.disks[1])
        && same16(short.entries_here, long.entries_here)
        && same16(short.entries, long.entries)
        && same32(short.size, long.size)
        && same32(short.start, long.start);
    if agreed { Ok(()) } else { Err(refused("the two end records differ".to_owned())) }
}
