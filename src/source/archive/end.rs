//! The record that ends a zip, and its 64-bit twin: how many entries there are, and where their directory is.

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
/// The record's own length field counts what follows it.
const END64_COUNTED: u64 = END64_SIZE as u64 - 12;

/// Where the directory of an archive is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct End {
    /// How many entries it has.
    pub(super) entries: u64,
    /// Its first byte.
    pub(super) start: u64,
    /// Its length.
    pub(super) size: u64,
}

/// What one of the two records tells.
#[derive(Debug)]
struct Told {
    disks: [u64; 2],
    entries_here: u64,
    entries: u64,
    size: u64,
    start: u64,
}

/// Reads how an archive ends; nothing may follow, and the directory must come right before.
pub(super) fn read(archive: &File) -> Result<End, ArchiveError> {
    let length = archive.metadata()?.len();
    let (end_at, told) = find_end(archive, length)?;
    let (told, directory_end) = match find_end64(archive, end_at)? {
        None => (told, end_at),
        Some((end64_at, told64)) => {
            agree(&told, &told64)?;
            (told64, end64_at)
        }
    };
    if told.disks != [0, 0] || told.entries_here != told.entries {
        return Err(refused("the archive is one part of several".to_owned()));
    }
    if told.start.checked_add(told.size) != Some(directory_end) {
        return Err(refused(format!(
            "the directory should have {} bytes from byte {} on, and ends at byte {directory_end}",
            told.size, told.start
        )));
    }
    Ok(End { entries: told.entries, start: told.start, size: told.size })
}

fn find_end(archive: &File, length: u64) -> Result<(u64, Told), ArchiveError> {
    let no_zip = || refused("no zip archive, or one that is cut off: it does not end as one".to_owned());
    let tail_at = length.saturating_sub((END_SIZE + COMMENT_LIMIT) as u64);
    let mut tail = vec![0; usize::try_from(length - tail_at).unwrap_or(0)];
    read_at(archive, &mut tail, tail_at)?;
    let last_start = tail.len().checked_sub(END_SIZE).ok_or_else(no_zip)?;
    let at = memchr::memmem::rfind(&tail[..last_start + END.len()], END).ok_or_else(no_zip)?;
    let mut fields = Fields(&tail[at + END.len()..]);
    let (told, comment) = end_fields(&mut fields).ok_or_else(no_zip)?;
    if fields.0.len() != usize::from(comment) {
        return Err(refused(format!("{} bytes follow the end, where {comment} are said to", fields.0.len())));
    }
    Ok((tail_at + at as u64, told))
}

fn end_fields(fields: &mut Fields<'_>) -> Option<(Told, u16)> {
    let told = Told {
        disks: [fields.u16()?.into(), fields.u16()?.into()],
        entries_here: fields.u16()?.into(),
        entries: fields.u16()?.into(),
        size: fields.u32()?.into(),
        start: fields.u32()?.into(),
    };
    Some((told, fields.u16()?))
}

/// The 64-bit record, if there is one: a locator stands right before the end, the record right before the locator.
fn find_end64(archive: &File, end_at: u64) -> Result<Option<(u64, Told)>, ArchiveError> {
    let Some(locator_at) = end_at.checked_sub(LOCATOR_SIZE as u64) else { return Ok(None) };
    let mut locator = [0; LOCATOR_SIZE];
    read_at(archive, &mut locator, locator_at)?;
    let Some(fields) = locator.strip_prefix(LOCATOR) else { return Ok(None) };
    let wrong = || refused("the 64-bit end record is not what it should be".to_owned());
    let mut fields = Fields(fields);
    let (Some(0), Some(at), Some(0 | 1)) = (fields.u32(), fields.u64(), fields.u32()) else { return Err(wrong()) };
    if at.checked_add(END64_SIZE as u64) != Some(locator_at) {
        return Err(wrong());
    }
    let mut record = [0; END64_SIZE];
    read_at(archive, &mut record, at)?;
    let fields = record.strip_prefix(END64).ok_or_else(wrong)?;
    let told = end64_fields(Fields(fields)).ok_or_else(wrong)?;
    Ok(Some((at, told)))
}

fn end64_fields(mut fields: Fields<'_>) -> Option<Told> {
    if fields.u64()? != END64_COUNTED {
        return None;
    }
    let _versions = fields.u32()?;
    Some(Told {
        disks: [fields.u32()?.into(), fields.u32()?.into()],
        entries_here: fields.u64()?,
        entries: fields.u64()?,
        size: fields.u64()?,
        start: fields.u64()?,
    })
}

/// Whether both records say the same, where the short one can.
fn agree(short: &Told, long: &Told) -> Result<(), ArchiveError> {
    let same16 = |short: u64, long: u64| short == long || short == 0xFFFF;
    let same32 = |short: u64, long: u64| short == long || short == 0xFFFF_FFFF;
    let agreed = same16(short.disks[0], long.disks[0])
        && same16(short.disks[1], long.disks[1])
        && same16(short.entries_here, long.entries_here)
        && same16(short.entries, long.entries)
        && same32(short.size, long.size)
        && same32(short.start, long.start);
    if agreed { Ok(()) } else { Err(refused("the two end records tell different things".to_owned())) }
}
