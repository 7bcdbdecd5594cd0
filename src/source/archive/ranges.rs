//! The places of the entries' data. Each entry has a header in front of its data that agrees with the directory, no two
//! entries share a byte, and every byte in front of the directory belongs to an entry.

use std::fs::File;

use crate::source::archive::directory::{Entry, FLAG_DESCRIPTOR, Kind, Method};
use crate::source::archive::error::{ArchiveError, quote, refused};
use crate::source::archive::record::{Fields, read_at};

const HEADER: &[u8] = b"PK\x03\x04";
const HEADER_SIZE: usize = 30;
/// Sizes of the record that may follow data: a checksum and two sizes of 4 or 8 bytes, with or without a signature.
const DESCRIPTOR_SIZES: [u64; 4] = [12, 16, 20, 24];

/// The fixed part of the header in front of an entry's data.
struct Header {
    flags: u16,
    method: u16,
    crc: u32,
    packed: u32,
    size: u32,
    name: u16,
    extra: u16,
}

/// Checks the headers, sorts the entries by the place of their data, and fills in that place.
pub(super) fn check(archive: &File, entries: &mut [Entry], directory: u64) -> Result<(), ArchiveError> {
    entries.sort_by_key(|entry| entry.header);
    let mut at = 0;
    let mut descriptor = false;
    for entry in &mut *entries {
        check_gap(at, entry.header, descriptor).map_err(|fault| refused(format!("{}: {fault}", quote(&entry.path))))?;
        entry.data = check_header(archive, entry, directory)?;
        at = entry
            .data
            .checked_add(entry.packed)
            .filter(|end| *end <= directory)
            .ok_or_else(|| refused(format!("{}: its data lies outside of the archive", quote(&entry.path))))?;
        descriptor = entry.flags & FLAG_DESCRIPTOR != 0;
    }
    check_gap(at, directory, descriptor).map_err(|fault| refused(format!("the directory: {fault}")))
}

/// Checks the bytes between the end of one entry and the start of the next.
fn check_gap(end: u64, next: u64, descriptor: bool) -> Result<(), String> {
    match next.checked_sub(end) {
        None => Err("its bytes overlap with another entry's".to_owned()),
        Some(gap) if descriptor && DESCRIPTOR_SIZES.contains(&gap) => Ok(()),
        Some(0) if !descriptor => Ok(()),
        Some(gap) => Err(format!("{gap} bytes in front of it belong to no entry")),
    }
}

/// Checks a header against the directory and returns the place of the data after it.
fn check_header(archive: &File, entry: &Entry, directory: u64) -> Result<u64, ArchiveError> {
    let fault = |words: &str| refused(format!("{}: {words}", quote(&entry.path)));
    if entry.header.checked_add(HEADER_SIZE as u64).is_none_or(|end| end > directory) {
        return Err(fault("its header lies outside of the archive"));
    }
    let mut fixed = [0; HEADER_SIZE];
    read_at(archive, &mut fixed, entry.header)?;
    let header = fixed.strip_prefix(HEADER).and_then(|fields| Header::read(Fields(fields)));
    let header = header.ok_or_else(|| fault("no header where the directory says"))?;
    if !header.agrees(entry) {
        return Err(fault("its header and the directory differ"));
    }
    let name_at = entry.header + HEADER_SIZE as u64;
    let mut name = vec![0; usize::from(header.name)];
    if name_at + u64::from(header.name) > directory {
        return Err(fault("its header lies outside of the archive"));
    }
    read_at(archive, &mut name, name_at)?;
    let name = match entry.kind {
        Kind::Folder => name.strip_suffix(b"/").unwrap_or_default(),
        Kind::File => &name,
    };
    if name != entry.path.as_bytes() {
        return Err(fault("another name in its header"));
    }
    Ok(name_at + u64::from(header.name) + u64::from(header.extra))
}

impl Header {
    fn read(mut fields: Fields<'_>) -> Option<Self> {
        let _needed = fields.u16()?;
        let (flags, method) = (fields.u16()?, fields.u16()?);
        let _modified = fields.u32()?;
        let (crc, packed, size) = (fields.u32()?, fields.u32()?, fields.u32()?);
        Some(Self { flags, method, crc, packed, size, name: fields.u16()?, extra: fields.u16()? })
    }

    /// Whether the directory has the same values for the entry.
    fn agrees(&self, entry: &Entry) -> bool {
        let method = match entry.method {
            Method::Stored => 0,
            Method::Deflated => 8,
        };
        // A size of all ones refers to an extra field. Unpacking checks the size in the directory, so that one
        // suffices.
        let same = |short: u32, long: u64| short == u32::MAX || u64::from(short) == long;
        let sizes = self.crc == entry.crc && same(self.packed, entry.packed) && same(self.size, entry.size);
        self.flags == entry.flags && self.method == method && (sizes || entry.flags & FLAG_DESCRIPTOR != 0)
    }
}
