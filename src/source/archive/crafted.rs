//! Zips written field by field, so that each field may lie. Used by the tests here and by those over HTTP.

use std::io::Write;

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

/// One entry. The header before the data says what the directory says, unless `local` is set.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) name: Vec<u8>,
    pub(crate) data: Vec<u8>,
    pub(crate) system: u8,
    pub(crate) attributes: u32,
    pub(crate) flags: u16,
    pub(crate) method: u16,
    pub(crate) crc: u32,
    pub(crate) packed: u32,
    pub(crate) size: u32,
    pub(crate) disk: u16,
    pub(crate) extra: Vec<u8>,
    /// Instead of where the header is.
    pub(crate) header: Option<u32>,
    /// What the header says instead; its own `local`, `before` and `after` do not count.
    pub(crate) local: Option<Box<Self>>,
    /// Bytes before the header and after the data.
    pub(crate) before: Vec<u8>,
    pub(crate) after: Vec<u8>,
}

/// An archive. `None` stands for the truth.
#[derive(Debug, Clone, Default)]
pub(crate) struct Zip {
    pub(crate) parts: Vec<Part>,
    pub(crate) entries: Option<u16>,
    pub(crate) size: Option<u32>,
    pub(crate) start: Option<u32>,
    pub(crate) disk: u16,
    pub(crate) comment: Vec<u8>,
    /// Bytes before the end record: a 64-bit record and its locator, or stray ones.
    pub(crate) before_end: Vec<u8>,
    pub(crate) tail: Vec<u8>,
}

impl Part {
    /// A file of Unix with the mode 0644, stored.
    pub(crate) fn file(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        let content = content.as_ref();
        let mut crc = Crc::new();
        crc.update(content);
        let length = u32::try_from(content.len()).unwrap();
        Self {
            name: name.as_ref().to_vec(),
            data: content.to_vec(),
            system: 3,
            attributes: 0o100_644 << 16,
            flags: 0,
            method: 0,
            crc: crc.sum(),
            packed: length,
            size: length,
            disk: 0,
            extra: Vec::new(),
            header: None,
            local: None,
            before: Vec::new(),
            after: Vec::new(),
        }
    }

    /// A file, packed by deflate.
    pub(crate) fn deflated(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        let content = content.as_ref();
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(content).unwrap();
        let data = encoder.finish().unwrap();
        let packed = u32::try_from(data.len()).unwrap();
        Self { data, packed, method: 8, ..Self::file(name, content) }
    }

    /// A folder; the name's last letter is to be `/`.
    pub(crate) fn folder(name: impl AsRef<[u8]>) -> Self {
        Self::file(name, "").mode(0o040_755)
    }

    /// The same with another mode.
    pub(crate) fn mode(self, mode: u32) -> Self {
        Self { attributes: mode << 16, ..self }
    }

    /// The same with changes.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// The same with a header that tells something else.
    pub(crate) fn with_local(mut self, change: impl FnOnce(&mut Self)) -> Self {
        let mut local = self.clone();
        change(&mut local);
        self.local = Some(Box::new(local));
        self
    }

    fn sizes(&self, out: &mut Vec<u8>) {
        out.extend(self.crc.to_le_bytes());
        out.extend(self.packed.to_le_bytes());
        out.extend(self.size.to_le_bytes());
        out.extend(short(&self.name));
        out.extend(short(&self.extra));
    }

    fn write_local(&self, out: &mut Vec<u8>) {
        let local = self.local.as_deref().unwrap_or(self);
        out.extend(b"PK\x03\x04\x14\x00");
        out.extend(local.flags.to_le_bytes());
        out.extend(local.method.to_le_bytes());
        out.extend([0; 4]);
        local.sizes(out);
        out.extend(&local.name);
        out.extend(&local.extra);
        out.extend(&self.data);
    }

    fn write_directory(&self, header: u32, out: &mut Vec<u8>) {
        out.extend([b'P', b'K', 1, 2, 30, self.system, 20, 0]);
        out.extend(self.flags.to_le_bytes());
        out.extend(self.method.to_le_bytes());
        out.extend([0; 4]);
        self.sizes(out);
        out.extend([0; 2]);
        out.extend(self.disk.to_le_bytes());
        out.extend([0; 2]);
        out.extend(self.attributes.to_le_bytes());
        out.extend(self.header.unwrap_or(header).to_le_bytes());
        out.extend(&self.name);
        out.extend(&self.extra);
    }
}

impl Zip {
    /// An archive of these entries, without a lie.
    pub(crate) fn of(parts: impl IntoIterator<Item = Part>) -> Self {
        Self { parts: parts.into_iter().collect(), ..Self::default() }
    }

    /// The same with changes.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// The bytes of the archive.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let (mut out, mut directory) = (Vec::new(), Vec::new());
        for part in &self.parts {
            out.extend(&part.before);
            part.write_directory(u32::try_from(out.len()).unwrap(), &mut directory);
            part.write_local(&mut out);
            out.extend(&part.after);
        }
        let start = u32::try_from(out.len()).unwrap();
        let entries = self.entries.unwrap_or_else(|| u16::try_from(self.parts.len()).unwrap());
        out.extend(&directory);
        out.extend(&self.before_end);
        out.extend(b"PK\x05\x06");
        out.extend([self.disk.to_le_bytes(), self.disk.to_le_bytes()].concat());
        out.extend([entries.to_le_bytes(), entries.to_le_bytes()].concat());
        out.extend(self.size.unwrap_or_else(|| u32::try_from(directory.len()).unwrap()).to_le_bytes());
        out.extend(self.start.unwrap_or(start).to_le_bytes());
        out.extend(short(&self.comment));
        out.extend(&self.comment);
        out.extend(&self.tail);
        out
    }
}

/// A 64-bit end record that stands at `record_at`, and its locator.
pub(crate) fn end64(record_at: u64, entries: u64, size: u64, start: u64) -> Vec<u8> {
    let mut record = b"PK\x06\x06".to_vec();
    record.extend(44_u64.to_le_bytes());
    record.extend([45, 3, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for number in [entries, entries, size, start] {
        record.extend(number.to_le_bytes());
    }
    record.extend(b"PK\x06\x07\0\0\0\0");
    record.extend(record_at.to_le_bytes());
    record.extend(1_u32.to_le_bytes());
    record
}

fn short(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).unwrap().to_le_bytes()
}
