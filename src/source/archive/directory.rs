//! The directory of a zip: one record for each entry, read as a stream and checked one at a time.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;

use crate::source::archive::end::End;
use crate::source::archive::error::{ArchiveError, quote, refused};
use crate::source::archive::limits::{Limits, Links};
use crate::source::archive::name;
use crate::source::archive::record::Fields;

const ENTRY: &[u8] = b"PK\x01\x02";
const ENTRY_SIZE: usize = 46;
const BUFFER: usize = 64 * 1024;

/// The file type of Unix in the upper half of an entry's attributes.
const TYPE_BITS: u32 = 0o170_000;
const TYPE_FOLDER: u32 = 0o040_000;
const TYPE_FILE: u32 = 0o100_000;
const TYPE_LINK: u32 = 0o120_000;
const SPECIAL_BITS: u32 = 0o7_000;
const OWNER_RUNS: u32 = 0o100;
/// Systems whose archives hold these bits: Unix, and the number that Apple's tools write.
const UNIX_SYSTEMS: [u16; 2] = [3, 19];

/// Bits 1 and 2 are the packer's effort, bit 11 says that names are UTF-8.
const FLAGS_IGNORED: u16 = 0b1000_0000_0110;
/// Bits 0, 6 and 13: encryption of the contents, strong encryption, encryption of the directory.
const FLAGS_ENCRYPTED: u16 = 0b0010_0000_0100_0001;
/// Bit 3: checksum and sizes follow the data.
pub(super) const FLAG_DESCRIPTOR: u16 = 0b1000;

const EXTRA_ZIP64: u16 = 0x0001;
/// PKWARE's and Acorn's fields for Unix, with the lengths beyond which they carry the target of a link.
const EXTRA_LINKS: [(u16, usize); 2] = [(0x000D, 12), (0x756E, 14)];

/// The longest target of a link.
const LINK_LIMIT: u64 = 4096;

/// The kind of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file, or a link that becomes a file.
    File,
    /// A folder.
    Folder,
}

/// How an entry is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// Not compressed.
    Stored,
    /// Compressed by deflate.
    Deflated,
}

/// One checked entry.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The path relative to the folder that the archive is unpacked into.
    pub(super) path: Box<str>,
    pub(super) kind: Kind,
    /// Whether it is a link, whose data is its target.
    pub(super) link: bool,
    /// Whether its owner may execute it.
    pub(super) executable: bool,
    pub(super) flags: u16,
    pub(super) method: Method,
    pub(super) crc: u32,
    /// Bytes of its data in the archive.
    pub(super) packed: u64,
    /// Bytes of its data, unpacked.
    pub(super) size: u64,
    /// The place of its header in the archive.
    pub(super) header: u64,
    /// The place of its data; `ranges` fills it in from the header.
    pub(super) data: u64,
}

/// The fixed part of a record.
struct Record {
    system: u16,
    flags: u16,
    method: u16,
    crc: u32,
    packed: u32,
    size: u32,
    name: u16,
    extra: u16,
    comment: u16,
    disk: u16,
    attributes: u32,
    header: u32,
}

/// Reads every record of the directory. Their number must be the one in the end record.
pub(super) fn read(archive: &File, end: &End, links: Links, limits: &Limits) -> Result<Vec<Entry>, ArchiveError> {
    let bytes = Bytes { archive, at: end.start }.take(end.size);
    let mut directory = BufReader::with_capacity(BUFFER, bytes);
    let mut entries = Vec::new();
    for _ in 0..end.entries {
        entries.push(read_entry(&mut directory, links, limits)?);
    }
    if !directory.fill_buf()?.is_empty() {
        return Err(refused(format!("the directory has more entries than the end record says ({})", end.entries)));
    }
    Ok(entries)
}

fn read_entry(directory: &mut impl BufRead, links: Links, limits: &Limits) -> Result<Entry, ArchiveError> {
    let mut fixed = [0; ENTRY_SIZE];
    fill(directory, &mut fixed)?;
    let record = fixed.strip_prefix(ENTRY).and_then(|fields| Record::read(Fields(fields)));
    let record = record.ok_or_else(|| refused("the directory has a record that is not an entry".to_owned()))?;
    let mut raw = vec![0; usize::from(record.name)];
    fill(directory, &mut raw)?;
    let mut extra = vec![0; usize::from(record.extra)];
    fill(directory, &mut extra)?;
    let comment = u64::from(record.comment);
    if io::copy(&mut directory.take(comment), &mut io::sink())? != comment {
        return Err(cut_off());
    }
    check(&record, &raw, &extra, links, limits).map_err(|fault| {
        let name = String::from_utf8_lossy(&raw);
        refused(format!("{}: {fault}", quote(&name)))
    })
}

fn check(record: &Record, raw: &[u8], extra: &[u8], links: Links, limits: &Limits) -> Result<Entry, String> {
    let checked = name::check(raw, limits)?;
    let fault = |words: &str| Err(words.to_owned());
    if record.flags & FLAGS_ENCRYPTED != 0 {
        return fault("encrypted");
    }
    let unknown = record.flags & !FLAGS_IGNORED & !FLAG_DESCRIPTOR;
    if unknown != 0 {
        return Err(format!("unsupported flags {unknown:#06x}"));
    }
    let method = match record.method {
        0 => Method::Stored,
        8 => Method::Deflated,
        other => return Err(format!("packed by method {other}: only 0 (stored) and 8 (deflate) are supported")),
    };
    let extras = Extras::read(extra, record)?;
    if record.disk != 0 && record.disk != 0xFFFF {
        return fault("in another part of the archive");
    }
    let mode = record.attributes >> 16;
    let (folder, link) = kind(mode, checked.folder, links)?;
    if !folder && mode & SPECIAL_BITS != 0 {
        return fault("a file with a setuid, setgid or sticky bit");
    }
    if folder && extras.size != 0 {
        return fault("a folder with contents");
    }
    if link && extras.size > LINK_LIMIT {
        return Err(format!("a link to a target of {} bytes, limit {LINK_LIMIT}", extras.size));
    }
    if method == Method::Stored && extras.packed != extras.size {
        return Err(format!("{} bytes stored as {}", extras.size, extras.packed));
    }
    Ok(Entry {
        path: checked.path.into(),
        kind: if folder { Kind::Folder } else { Kind::File },
        link,
        executable: !link && UNIX_SYSTEMS.contains(&record.system) && mode & OWNER_RUNS != 0,
        flags: record.flags,
        method,
        crc: record.crc,
        packed: extras.packed,
        size: extras.size,
        header: extras.header,
        data: 0,
    })
}

/// Whether an entry is a folder, and whether it is a link; its name and its mode must not contradict each other.
fn kind(mode: u32, named_folder: bool, links: Links) -> Result<(bool, bool), String> {
    match (mode & TYPE_BITS, named_folder) {
        (0, folder) => Ok((folder, false)),
        (TYPE_FOLDER, true) => Ok((true, false)),
        (TYPE_FILE, false) => Ok((false, false)),
        (TYPE_LINK, false) if links != Links::Refuse => Ok((false, true)),
        (TYPE_LINK, _) => Err("a symbolic link".to_owned()),
        (TYPE_FOLDER, false) => Err("a folder by its mode, a file by its name".to_owned()),
        (TYPE_FILE, true) => Err("a file by its mode, a folder by its name".to_owned()),
        _ => Err(format!("neither file nor folder: mode {mode:o}")),
    }
}

impl Record {
    fn read(mut fields: Fields<'_>) -> Option<Self> {
        let system = fields.u16()? >> 8;
        let _needed = fields.u16()?;
        let (flags, method) = (fields.u16()?, fields.u16()?);
        let _modified = fields.u32()?;
        let (crc, packed, size) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let (name, extra, comment) = (fields.u16()?, fields.u16()?, fields.u16()?);
        let disk = fields.u16()?;
        let _internal = fields.u16()?;
        let (attributes, header) = (fields.u32()?, fields.u32()?);
        Some(Self { system, flags, method, crc, packed, size, name, extra, comment, disk, attributes, header })
    }
}

/// The numbers of a record that may need more than its 32 bits.
struct Extras {
    size: u64,
    packed: u64,
    header: u64,
}

impl Extras {
    fn read(extra: &[u8], record: &Record) -> Result<Self, String> {
        let malformed = || "malformed extra fields".to_owned();
        let mut fields = Fields(extra);
        let mut zip64 = None;
        // Some tools pad with zeros to align the data; a rest shorter than the head of a field is padding.
        while fields.0.len() >= 4 {
            let (Some(id), Some(length)) = (fields.u16(), fields.u16()) else { return Err(malformed()) };
            let data = fields.bytes(length.into()).ok_or_else(malformed)?;
            if id == EXTRA_ZIP64 && zip64.replace(data).is_some() {
                return Err(malformed());
            }
            if EXTRA_LINKS.iter().any(|(link, limit)| *link == id && data.len() > *limit) {
                return Err("a link".to_owned());
            }
        }
        let mut zip64 = Fields(zip64.unwrap_or_default());
        let mut long = |short: u32| match short {
            u32::MAX => zip64.u64().ok_or_else(|| "missing 64-bit sizes".to_owned()),
            short => Ok(short.into()),
        };
        Ok(Self { size: long(record.size)?, packed: long(record.packed)?, header: long(record.header)? })
    }
}

/// Reads an archive from a place on without moving the file's own position.
struct Bytes<'a> {
    archive: &'a File,
    at: u64,
}

impl Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.archive.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

fn fill(directory: &mut impl Read, buffer: &mut [u8]) -> Result<(), ArchiveError> {
    directory.read_exact(buffer).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => cut_off(),
        _ => ArchiveError::Disk(error),
    })
}

fn cut_off() -> ArchiveError {
    refused("the directory ends before its last entry".to_owned())
}
