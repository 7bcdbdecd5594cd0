//! A package: a zip that is checked as a whole before its first file is written, then unpacked below one folder. Which
//! files make a release is left to `folder`.
//!
//! The directory is read here and not by the `zip` crate, which keeps one of two entries of the same name, finds archives
//! inside other data, and believes the directory where the headers beside the data say something else. Order of the work:
//!
//! ```text
//! end (how many, where) → directory (each entry: names, kinds, sizes) → tree (names against each other)
//!                       → ranges (headers beside the data, nothing overlaps, nothing between) → below + unpack (the files)
//! ```

mod below;
mod budget;
#[cfg(test)]
mod crafted;
mod directory;
mod end;
mod name;
mod ranges;
mod record;
#[cfg(test)]
mod tests;
mod tree;
mod unpack;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use self::below::Below;
use self::budget::Budget;
use self::directory::{Entry, Kind};
use self::tree::Tree;

/// How many characters of a name are told.
const TOLD_NAME: usize = 200;

/// What becomes of the symbolic links in an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// An archive with one is refused.
    Refuse,
    /// Each becomes a small file that holds its target, as git does without `core.symlinks`.
    AsText,
}

/// How much an archive may hold and cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Files and folders, those counted too that only paths name.
    pub entries: u64,
    /// Bytes of all files, unpacked.
    pub total: u64,
    /// Bytes of a file, unpacked.
    pub file: u64,
    /// Unpacked bytes for each packed one, of a file and of all, from 1 MiB on.
    pub ratio: u64,
    /// Parts of a path.
    pub depth: usize,
    /// Bytes of a part of a path.
    pub name: usize,
    /// Bytes of a path.
    pub path: usize,
    /// Time on a processor.
    pub cpu: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 10_000,
            total: 256 << 20,
            file: 64 << 20,
            ratio: 200,
            depth: 32,
            name: 255,
            path: 1024,
            cpu: Duration::from_secs(5),
        }
    }
}

/// What an archive gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extracted {
    /// How many files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Why an archive gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is refused; the words name the entry where there is one.
    #[error("{0}")]
    Bad(String),
    /// It cannot be read, or its files cannot be written.
    #[error(transparent)]
    Disk(#[from] io::Error),
}

/// Checks an archive and writes its files below `into`, an empty folder. Blocks. Files get the mode 0644, or 0755 where
/// the archive says that their owner may run them, folders 0755. A failure may leave some of them in `into`.
pub fn extract(archive: &File, into: &Path, links: Links, limits: &Limits) -> Result<Extracted, ArchiveError> {
    let budget = Budget::start(limits.cpu);
    let end = end::read(archive)?;
    if end.entries > limits.entries {
        return Err(bad(format!("{} entries, limit {}", end.entries, limits.entries)));
    }
    let mut entries = directory::read(archive, &end, links, limits)?;
    let extracted = check_sizes(&entries, limits)?;
    let mut tree = Tree::new(limits.entries);
    for entry in &entries {
        tree.add(&entry.path, entry.kind == Kind::Folder)
            .map_err(|fault| bad(format!("{}: {fault}", told(&entry.path))))?;
        budget.check(&entry.path)?;
    }
    ranges::check(archive, &mut entries, end.start)?;
    let below = Below::open(into)?;
    for entry in &entries {
        write(archive, entry, &below, &budget)?;
    }
    Ok(extracted)
}

/// Holds the sizes of the directory to the limits. Unpacking holds each entry to its sizes, so what is written is within
/// them too.
fn check_sizes(entries: &[Entry], limits: &Limits) -> Result<Extracted, ArchiveError> {
    let (mut files, mut bytes, mut packed) = (0, 0_u64, 0_u64);
    for entry in entries {
        let name = || told(&entry.path);
        if entry.size > limits.file {
            return Err(bad(format!("{}: {} bytes, limit {}", name(), entry.size, limits.file)));
        }
        if is_bomb(entry.size, entry.packed, limits.ratio) {
            return Err(bad(format!("{}: packed by more than {} to 1", name(), limits.ratio)));
        }
        files += u64::from(entry.kind == Kind::File);
        bytes = bytes.saturating_add(entry.size);
        packed = packed.saturating_add(entry.packed);
        if bytes > limits.total {
            return Err(bad(format!("{}: with it more than {} bytes in all", name(), limits.total)));
        }
    }
    if is_bomb(bytes, packed, limits.ratio) {
        return Err(bad(format!("{bytes} bytes in {packed}: packed by more than {} to 1", limits.ratio)));
    }
    if files == 0 {
        return Err(bad("the archive holds no file".to_owned()));
    }
    Ok(Extracted { files, bytes })
}

fn is_bomb(size: u64, packed: u64, ratio: u64) -> bool {
    size > 1 << 20 && size > packed.saturating_mul(ratio)
}

fn write(archive: &File, entry: &Entry, below: &Below, budget: &Budget) -> Result<(), ArchiveError> {
    budget.check(&entry.path)?;
    if entry.kind == Kind::Folder {
        below.make_folder(&entry.path)?;
        return Ok(());
    }
    let file = below.make_file(&entry.path, entry.executable).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => bad(format!("{}: the file system has such a name already", told(&entry.path))),
        _ => ArchiveError::Disk(error),
    })?;
    unpack::unpack(archive, entry, &file, budget)
}

fn bad(words: String) -> ArchiveError {
    ArchiveError::Bad(words)
}

/// A name as messages have it: quoted, and not all of it where it is long.
fn told(name: &str) -> String {
    match name.char_indices().nth(TOLD_NAME) {
        None => format!("{name:?}"),
        Some((end, _)) => format!("{:?}…", &name[..end]),
    }
}

/// Fills the buffer from a place in the archive.
fn read_at(archive: &File, buffer: &mut [u8], at: u64) -> Result<(), ArchiveError> {
    archive.read_exact_at(buffer, at).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => bad("the archive ends too early".to_owned()),
        _ => ArchiveError::Disk(error),
    })
}
