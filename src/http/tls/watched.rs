//! What is made of files, and made again when they change: a certificate with its key, authorities of clients.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The state of a file: device, number, size, and the times of its last changes. None if there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp(Option<[i64; 5]>);

impl Stamp {
    fn of(path: &Path) -> Self {
        let found = fs::metadata(path).ok();
        Self(found.map(|found| {
            let numbers = [found.dev(), found.ino(), found.size()].map(u64::cast_signed);
            let [device, number, size] = numbers;
            [device, number, size, found.mtime() << 30 | found.mtime_nsec(), found.ctime() << 30 | found.ctime_nsec()]
        }))
    }
}

/// A value with the files that it was made of.
#[derive(Debug)]
pub(super) struct Watched<T> {
    pub(super) value: T,
    /// The files as they were when they were last read.
    read: Vec<Stamp>,
    /// Files that are at fault, as they were when that was noticed; not reported yet, since they may be in the middle
    /// of being replaced.
    suspected: Option<Vec<Stamp>>,
}

/// What a look at the files has found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// The value is still that of the files, or they may be in the middle of being replaced.
    Same,
    /// There is a new value.
    Replaced,
    /// No value can be made of the files: why. The one before stays.
    Fault(String),
}

impl<T: PartialEq> Watched<T> {
    /// Makes the value.
    ///
    /// # Errors
    ///
    /// Those of `make`.
    pub(super) fn new(files: &[&Path], make: impl FnOnce() -> Result<T, String>) -> Result<Self, String> {
        // Before they are read: a change meanwhile is noticed later.
        let read = stamps(files);
        Ok(Self { value: make()?, read, suspected: None })
    }

    /// Makes the value again if the files have changed. Files at fault are reported once, when they stay the same
    /// between two looks. With `at_once` they are read, and reported, in any case.
    pub(super) fn look(&mut self, at_once: bool, files: &[&Path], make: impl FnOnce() -> Result<T, String>) -> Look {
        let now = stamps(files);
        if now == self.read && !at_once {
            // What was suspected meanwhile has been put back.
            self.suspected = None;
            return Look::Same;
        }
        match make() {
            Ok(value) => {
                let is_new = value != self.value;
                (self.value, self.read, self.suspected) = (value, now, None);
                if is_new { Look::Replaced } else { Look::Same }
            }
            Err(reason) if at_once || self.suspected.as_ref() == Some(&now) => {
                (self.read, self.suspected) = (now, None);
                Look::Fault(reason)
            }
            Err(_) => {
                self.suspected = Some(now);
                Look::Same
            }
        }
    }
}

fn stamps(files: &[&Path]) -> Vec<Stamp> {
    files.iter().map(|file| Stamp::of(file)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_follows_its_file_and_faults_are_reported_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("number");
        let make = || fs::read_to_string(&file).unwrap().parse::<u32>().map_err(|error| error.to_string());
        fs::write(&file, "7").unwrap();
        let mut watched = Watched::new(&[&file], make).unwrap();
        let mut look = |text: Option<&str>, at_once| {
            if let Some(text) = text {
                fs::write(&file, text).unwrap();
            }
            (watched.look(at_once, &[&file], make), watched.value)
        };
        assert_eq!(look(None, false), (Look::Same, 7));
        assert_eq!(look(Some("18"), false), (Look::Replaced, 18));
        assert_eq!(look(None, true), (Look::Same, 18));
        let fault = || Look::Fault("invalid digit found in string".to_owned());
        assert_eq!(look(Some("none"), false), (Look::Same, 18), "it may be in the middle of being written");
        assert_eq!(look(None, false), (fault(), 18));
        assert_eq!(look(None, false), (Look::Same, 18));
        assert_eq!(look(None, true), (fault(), 18));
        assert_eq!(look(Some("1"), false), (Look::Replaced, 1));
    }
}
