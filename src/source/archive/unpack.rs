//! Unpacks the data of one entry into its file. The number of packed and unpacked bytes and the checksum must be those
//! of the directory.

use std::fs::File;
use std::io::Write;

use flate2::{Crc, Decompress, FlushDecompress, Status};

use crate::source::archive::budget::Budget;
use crate::source::archive::directory::{Entry, Method};
use crate::source::archive::error::{ArchiveError, quote, refused};
use crate::source::archive::record::read_at;

const BUFFER: usize = 64 * 1024;

/// Writes the data of an entry to its file.
pub(super) fn unpack(archive: &File, entry: &Entry, file: &File, budget: &Budget) -> Result<(), ArchiveError> {
    let mut output = Output { entry, file, budget, crc: Crc::new(), written: 0 };
    let mut input = Input { archive, at: entry.data, left: entry.packed };
    match entry.method {
        Method::Stored => copy(&mut input, &mut output)?,
        Method::Deflated => inflate(&mut input, &mut output)?,
    }
    output.finish()
}

fn copy(input: &mut Input<'_>, output: &mut Output<'_>) -> Result<(), ArchiveError> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match input.read(&mut buffer)? {
            [] => return Ok(()),
            data => output.write(data)?,
        }
    }
}

fn inflate(input: &mut Input<'_>, output: &mut Output<'_>) -> Result<(), ArchiveError> {
    let broken = |words: &str| refused(format!("{}: {words}", quote(&output.entry.path)));
    let (broken_off, rest) =
        (broken("its packed data is corrupt"), broken("packed data follows the end of its stream"));
    let mut stream = Decompress::new(false);
    let (mut packed, mut unpacked) = (vec![0; BUFFER], vec![0; BUFFER]);
    let mut waiting: &[u8] = &[];
    loop {
        if waiting.is_empty() {
            waiting = input.read(&mut packed)?;
        }
        let before = (stream.total_in(), stream.total_out());
        let Ok(status) = stream.decompress(waiting, &mut unpacked, FlushDecompress::None) else {
            return Err(broken_off);
        };
        let taken = usize::try_from(stream.total_in() - before.0).unwrap_or(usize::MAX);
        let given = usize::try_from(stream.total_out() - before.1).unwrap_or(usize::MAX);
        waiting = waiting.get(taken..).unwrap_or_default();
        output.write(unpacked.get(..given).unwrap_or_default())?;
        match status {
            Status::StreamEnd if waiting.is_empty() && input.left == 0 => return Ok(()),
            Status::StreamEnd => return Err(rest),
            Status::Ok | Status::BufError if taken == 0 && given == 0 => return Err(broken_off),
            Status::Ok | Status::BufError => {}
        }
    }
}

/// The packed bytes that are left to read.
struct Input<'a> {
    archive: &'a File,
    at: u64,
    left: u64,
}

impl Input<'_> {
    /// The next bytes, or none at the end.
    fn read<'b>(&mut self, buffer: &'b mut [u8]) -> Result<&'b [u8], ArchiveError> {
        let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = &mut buffer[..count];
        read_at(self.archive, buffer, self.at)?;
        self.at += count as u64;
        self.left -= count as u64;
        Ok(buffer)
    }
}

/// The file, with the size and checksum of what is written so far.
struct Output<'a> {
    entry: &'a Entry,
    file: &'a File,
    budget: &'a Budget,
    crc: Crc,
    written: u64,
}

impl Output<'_> {
    fn write(&mut self, data: &[u8]) -> Result<(), ArchiveError> {
        self.budget.check(&self.entry.path)?;
        self.written += data.len() as u64;
        if self.written > self.entry.size {
            return Err(self.fault(&format!("more than {} bytes, the size in the directory", self.entry.size)));
        }
        self.crc.update(data);
        self.file.write_all(data)?;
        Ok(())
    }

    fn finish(self) -> Result<(), ArchiveError> {
        if self.written != self.entry.size {
            return Err(self.fault(&format!("{} bytes, but {} in the directory", self.written, self.entry.size)));
        }
        if self.crc.sum() != self.entry.crc {
            return Err(self.fault("its checksum is wrong"));
        }
        Ok(())
    }

    fn fault(&self, words: &str) -> ArchiveError {
        refused(format!("{}: {words}", quote(&self.entry.path)))
    }
}
