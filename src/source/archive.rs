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
mod error;
mod limits;
mod name;
mod ranges;
mod record;
#[cfg(test)]
mod tests;
mod tree;
mod unpack;

use std::fs::File;
use std::io;
use std::path::Path;

use crate::source::archive::below::Below;
use crate::source::archive::budget::Budget;
use crate::source::archive::directory::{Entry, Kind};
use crate::source::archive::error::{quote, refused};
use crate::source::archive::tree::Tree;

pub use error::ArchiveError;
pub use limits::{Limits, Links};

/// What an archive gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extracted {
    /// How many files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Checks an archive and writes its files below `into`, an empty folder. Blocks. Files get the mode 0644, or 0755 where
/// the archive says that their owner may run them, folders 0755. A failure may leave some of them in `into`.
pub fn extract(archive: &File, into: &Path, links: Links, limits: &Limits) -> Result<Extracted, ArchiveError> {
    let budget = Budget::start(limits.cpu);
    let end = end::read(archive)?;
    if end.entries > limits.entries {
        return Err(refused(format!("{} entries, limit {}", end.entries, limits.entries)));
    }
    let mut entries = directory::read(archive, &end, links, limits)?;
    let extracted = check_sizes(&entries, limits)?;
    let mut tree = Tree::new(limits.entries);
    for entry in &entries {
        tree.add(&entry.path, entry.kind == Kind::Folder)
            .map_err(|fault| refused(format!("{}: {fault}", quote(&entry.path))))?;
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
        let name = || quote(&entry.path);
        if entry.size > limits.file {
            return Err(refused(format!("{}: {} bytes, limit {}", name(), entry.size, limits.file)));
        }
        if is_bomb(entry.size, entry.packed, limits.ratio) {
            return Err(refused(format!("{}: packed by more than {} to 1", name(), limits.ratio)));
        }
        files += u64::from(entry.kind == Kind::File);
        bytes = bytes.saturating_add(entry.size);
        packed = packed.saturating_add(entry.packed);
        if bytes > limits.total {
            return Err(refused(format!("{}: with it more than {} bytes in all", name(), limits.total)));
        }
    }
    if is_bomb(bytes, packed, limits.ratio) {
        return Err(refused(format!("{bytes} bytes in {packed}: packed by more than {} to 1", limits.ratio)));
    }
    if files == 0 {
        return Err(refused("the archive holds no file".to_owned()));
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
        io::ErrorKind::AlreadyExists => {
            refused(format!("{}: the file system has such a name already", quote(&entry.path)))
        }
        _ => ArchiveError::Disk(error),
    })?;
    unpack::unpack(archive, entry, &file, budget)
}
