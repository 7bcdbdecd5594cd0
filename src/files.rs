//! Files that a deployment's functions may have changed: what is read of them is bounded, whatever they have become.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// Most bytes of a file that describes a project: `metacall.json`, `package.json`, `.gitignore`.
pub const SMALL: u64 = 1 << 20;

/// Reads a regular file of at most [`SMALL`] bytes. Does not wait for the writer of a pipe.
///
/// # Errors
///
/// `InvalidData` for another kind of file or a larger one, or the system's error.
pub fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let invalid = |why: String| Err(io::Error::new(ErrorKind::InvalidData, why));
    if !file.metadata()?.is_file() {
        return invalid("not a regular file".to_owned());
    }
    let mut text = Vec::new();
    file.take(SMALL + 1).read_to_end(&mut text)?;
    if text.len() as u64 > SMALL {
        return invalid(format!("larger than {SMALL} bytes"));
    }
    Ok(text)
}

/// A folder with these files, as paths and texts, for tests.
#[cfg(test)]
pub fn folder_with(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_small_regular_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("small"), "text").unwrap();
        assert_eq!(read_small(&path("small")).unwrap(), b"text");
        File::create(path("large")).unwrap().set_len(SMALL + 1).unwrap();
        std::os::unix::fs::symlink("/dev/zero", path("endless")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, path("pipe"), Mode::RWXU).unwrap();
        for name in ["large", "endless", "pipe"] {
            assert_eq!(read_small(&path(name)).unwrap_err().kind(), ErrorKind::InvalidData, "{name}");
        }
        assert_eq!(read_small(&path("none")).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
