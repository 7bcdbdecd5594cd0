//! A package: a zip that is checked as a whole before its first file is written, then unpacked below one folder. Which
//! files make a release is left to `folder`.
//!
//! The directory is read here and not by the `zip` crate. That crate keeps one of two entries with the same name, finds
//! archives inside other data, and trusts the directory where the headers in front of the data contradict it. Steps:
//!
//! ```text
//! end (number and place of the entries) → directory (name, kind and size of each entry)
//!   → tree (names against each other) → ranges (headers in front of the data, no overlaps, no gaps)
//!   → links (copies of what links point to) → below + unpack (the files)
//! ```

mod below;
mod budget;
#[cfg(test)]
mod crafted;
mod directory;
mod end;
mod error;
mod limits;
mod links;
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

/// The result of unpacking an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extracted {
    /// The number of files.
    pub files: u64,
    /// The bytes of all files, unpacked.
    pub bytes: u64,
}

/// Checks an archive and writes its files below `into`, an empty folder. Blocks. Files get the mode 0644, or 0755 if
/// the archive lets their owner execute them; folders get 0755.
///
/// # Errors
/// The archive breaks a rule, or a file cannot be read or written. Some files may be left in `into`.
pub fn extract(archive: &File, into: &Path, links: Links, limits: &Limits) -> Result<Extracted, ArchiveError> {
    let budget = Budget::start(limits.cpu);
    let end = end::read(archive)?;
    if end.entries > limits.entries {
        return Err(refused(format!("{} entries, limit {}", end.entries, limits.entries)));
    }
    let mut entries = directory::read(archive, &end, links, limits)?;
    let mut extracted = check_sizes(&entries, limits)?;
    check_names(&entries, limits, &budget)?;
    ranges::check(archive, &mut entries, end.start)?;
    if links == Links::Follow && entries.iter().any(|entry| entry.link) {
        entries = links::follow(archive, entries, limits.entries, &budget)?;
        extracted = check_sizes(&entries, limits)?;
        check_names(&entries, limits, &budget)?;
    }
    let below = Below::open(into)?;
    for entry in &entries {
        write(archive, entry, &below, &budget)?;
    }
    Ok(extracted)
}

/// Checks the names of the entries against each other.
fn check_names(entries: &[Entry], limits: &Limits, budget: &Budget) -> Result<(), ArchiveError> {
    let mut tree = Tree::new(limits.entries);
    for entry in entries {
        tree.add(&entry.path, entry.kind == Kind::Folder)
            .map_err(|fault| refused(format!("{}: {fault}", quote(&entry.path))))?;
        budget.check(&entry.path)?;
    }
    Ok(())
}

/// Checks the sizes in the directory against the limits. Unpacking checks each entry against its size, so the written
/// files keep to the limits as well.
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
            return Err(refused(format!(
                "{}: the archive exceeds the limit ({} bytes unpacked) with this entry",
                name(),
                limits.total
            )));
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
            refused(format!("{}: the file system has a file of this name already", quote(&entry.path)))
        }
        _ => ArchiveError::Disk(error),
    })?;
    unpack::unpack(archive, entry, &file, budget)
}
