//! The format of a data folder as a whole: `<data_dir>/format` has one line, `metagate-data <format> <version of the
//! gateway that wrote it>`. A folder without the file has format 1. A change that an earlier gateway would misread gets
//! a new number, and that gateway then refuses the folder.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use crate::registry::durable;

/// The format that this gateway writes, and the latest that it reads.
const FORMAT: u32 = 1;
const WORD: &str = "metagate-data";
const FILE: &str = "format";
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Largest file, in bytes.
const SIZE_LIMIT: u64 = 4 << 10;

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadFormat {
    /// A later gateway wrote it.
    #[error(
        "metagate {version} wrote it in format {format}, and this is metagate {VERSION}, which reads format {FORMAT}: \
         run metagate {version} or a later one, or use a backup from before the upgrade as data_dir"
    )]
    Newer {
        /// The folder's format.
        format: u32,
        /// The version of the gateway that wrote it.
        version: String,
    },
    /// The file is not one of a gateway's.
    #[error("{0} is damaged: if the folder is of this version, remove that file")]
    Damaged(String),
    /// The file cannot be read or written.
    #[error("{0}: {1}")]
    Disk(String, io::Error),
}

/// Checks that this gateway can read a data folder. Changes nothing.
///
/// # Errors
///
/// A later gateway wrote it, or the file that says so cannot be read.
pub fn check(data_dir: &Path) -> Result<(), BadFormat> {
    let path = data_dir.join(FILE);
    let name = || path.display().to_string();
    let Some(text) = read(&path).map_err(|error| BadFormat::Disk(name(), error))? else { return Ok(()) };
    match parse(&text) {
        Some((format, version)) if format > FORMAT => Err(BadFormat::Newer { format, version: version.to_owned() }),
        Some(_) => Ok(()),
        None => Err(BadFormat::Damaged(name())),
    }
}

/// Writes this gateway's format and version into a data folder, unless they are there. Blocks.
///
/// # Errors
///
/// The file cannot be written.
pub fn mark(data_dir: &Path) -> Result<(), BadFormat> {
    let (path, line) = (data_dir.join(FILE), format!("{WORD} {FORMAT} {VERSION}\n"));
    if fs::read(&path).is_ok_and(|found| found == line.as_bytes()) {
        return Ok(());
    }
    durable::write(&path, line.as_bytes()).map_err(|error| BadFormat::Disk(path.display().to_string(), error))
}

fn read(path: &Path) -> io::Result<Option<String>> {
    let mut text = String::new();
    match File::open(path).and_then(|file| file.take(SIZE_LIMIT).read_to_string(&mut text)) {
        Ok(_) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Some(String::new())),
        Err(error) => Err(error),
    }
}

fn parse(text: &str) -> Option<(u32, &str)> {
    // A later format may say more after these.
    let mut words = text.split_whitespace();
    let word = words.next()?;
    let (format, version) = (words.next()?.parse().ok()?, words.next()?);
    (word == WORD).then_some((format, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_read_if_its_format_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        check(folder.path()).unwrap();
        mark(folder.path()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("metagate-data 1 {VERSION}\n"));
        check(folder.path()).unwrap();
        fs::write(&path, "metagate-data 2 0.9.0 more\n").unwrap();
        let refused = check(folder.path()).unwrap_err().to_string();
        assert!(refused.contains("run metagate 0.9.0 or a later one, or use a backup"), "{refused}");
        for damaged in ["", "metagate-data", "metagate-data x 1.0.0", "other 1 1.0.0"] {
            fs::write(&path, damaged).unwrap();
            assert!(matches!(check(folder.path()), Err(BadFormat::Damaged(_))), "{damaged}");
        }
    }
}
