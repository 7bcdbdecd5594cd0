//! A log file that is rotated by its size. Someone else may rotate it as well: a file that was renamed or removed is
//! left, and the next line goes to a new one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often the file is looked at for a rotation by someone else.
const LOOK: Duration = Duration::from_secs(1);

/// A file that begins anew when it has a certain size. Each write is one line or more.
#[derive(Debug)]
pub struct RotatingFile {
    path: PathBuf,
    max_size: u64,
    keep: u32,
    open: Option<(File, u64)>,
    looked: Instant,
}

impl RotatingFile {
    /// Opens a file, which is made for its owner alone if it is missing. Of those that it replaces, `keep` are kept, as
    /// `<path>.1`, the newest, to `<path>.<keep>`.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, or is none.
    pub fn open(path: &Path, max_size: u64, keep: u32) -> io::Result<Self> {
        let open = Some(open_regular(path)?);
        Ok(Self { path: path.to_owned(), max_size, keep, open, looked: Instant::now() })
    }

    /// Renames the file and those before it, each to the next number.
    fn rotate(&mut self) -> io::Result<()> {
        self.open = None;
        if self.keep == 0 {
            return fs::remove_file(&self.path);
        }
        let numbered = |number: u32| self.path.with_added_extension(number.to_string());
        for number in (1..self.keep).rev() {
            match fs::rename(numbered(number), numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, numbered(1))
    }
}

/// Whether a path no longer leads to a file that was opened there.
fn was_moved(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(there)) = (file.metadata(), fs::metadata(path)) else { return true };
    (open.dev(), open.ino()) != (there.dev(), there.ino())
}

impl Write for RotatingFile {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let mut open = self.open.take();
        if let Some((file, size)) = &open {
            let is_full = *size > 0 && size + text.len() as u64 > self.max_size;
            if is_full || self.looked.elapsed() >= LOOK {
                self.looked = Instant::now();
                // Where someone else has rotated, another file may be there already, which is not full.
                let was_moved = was_moved(file, &self.path);
                if is_full && !was_moved {
                    self.rotate()?;
                }
                if is_full || was_moved {
                    open = None;
                }
            }
        }
        let (mut file, size) = match open {
            Some(open) => open,
            None => open_regular(&self.path)?,
        };
        // After a failed write the file is opened again: the disk may have room then.
        let written = file.write(text)?;
        self.open = Some((file, size + written as u64));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open_regular(path: &Path) -> io::Result<(File, u64)> {
    // Opening a named pipe that nobody reads would block without this flag.
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = OpenOptions::new().create(true).append(true).mode(0o600).custom_flags(nonblocking).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
    }
    Ok((file, metadata.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<(String, u64)> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len())
        });
        let mut names: Vec<_> = entries.collect();
        names.sort();
        names
    }

    #[test]
    fn a_full_file_is_renamed_and_so_many_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = RotatingFile::open(&folder.path().join("a.log"), 10, 2).unwrap();
        for line in ["1234567\n", "a\n", "b\n", "c\n", "7654321\n", "last\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        let expected = [("a.log", 5), ("a.log.1", 8), ("a.log.2", 4)].map(|(name, size)| (name.to_owned(), size));
        assert_eq!(names(folder.path()), expected);
        let mut none = RotatingFile::open(&folder.path().join("b.log"), 3, 0).unwrap();
        for _ in 0..3 {
            none.write_all(b"ab\n").unwrap();
        }
        assert_eq!(names(folder.path()).len(), 4);
    }

    #[test]
    fn a_file_that_someone_else_has_renamed_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut log = RotatingFile::open(&path, 1000, 2).unwrap();
        log.write_all(b"first\n").unwrap();
        fs::rename(&path, folder.path().join("old")).unwrap();
        log.looked = Instant::now().checked_sub(LOOK).unwrap();
        log.write_all(b"second\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "second\n");
        // Full, and moved away a moment ago: the line is not lost, and the new file is not renamed.
        log.max_size = 10;
        fs::rename(&path, folder.path().join("older")).unwrap();
        fs::write(&path, "").unwrap();
        log.write_all(b"third\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "third\n");
        assert!(!folder.path().join("a.log.1").exists());
        assert!(RotatingFile::open(folder.path(), 1000, 2).is_err());
    }
}
