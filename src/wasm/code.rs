//! Compiled code on disk: which entries can be trusted, and how many are kept. The engine reads the files; the gateway,
//! `check` and the plugin commands share them.
//!
//! Code runs unchecked once it is loaded. So an entry counts only if a mark names its file and the file's digest, both
//! belong to this user or root, and nobody else can write to them.

use std::fs::{self, File, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wasmtime::Engine;

use crate::hex;

/// Bytes of all entries; those that were used least recently are evicted first.
const SIZE_LIMIT: u64 = 1 << 30;
/// The folders of a cache: code, as the engine names it; marks; code that is being compiled.
const CODE: &str = "modules";
const MARKS: &str = "known";
const FRESH: &str = "fresh-";
/// Largest mark, in bytes.
const MARK_LIMIT: u64 = 4 << 10;

/// The SHA-256 of the bytes that were compiled.
pub(super) type Source = [u8; 32];

/// Compiled code for one engine.
pub(super) struct CodeFolder {
    folder: PathBuf,
    marks: PathBuf,
}

/// A mark: the entry that was made of some bytes.
#[derive(Serialize, Deserialize)]
struct Mark {
    /// Below the cache's folder.
    file: PathBuf,
    sha256: String,
}

impl CodeFolder {
    /// The code for `engine` in a cache.
    pub(super) fn new(folder: &Path, engine: &Engine) -> Self {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Self { folder: folder.to_owned(), marks: folder.join(MARKS).join(format!("{:016x}", hasher.finish())) }
    }

    /// Whether the folder has code for these bytes that can be trusted. What cannot be trusted is removed.
    pub(super) fn has(&self, source: &Source) -> bool {
        let mark = self.mark(source);
        let Some(Mark { file, sha256 }) = read_mark(&mark) else {
            let _absent = fs::remove_file(&mark);
            return false;
        };
        let path = self.folder.join(file);
        let checked = open_trusted(&path).and_then(|file| {
            let is_intact = path.starts_with(self.folder.join(CODE)) && digest(&file)? == sha256;
            // The time of the last use, for evictions.
            let _unknown = file.set_modified(SystemTime::now());
            Ok(is_intact)
        });
        match checked {
            Ok(true) => return true,
            // It was evicted.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Ok(false) | Err(_) => {
                tracing::warn!(path = %path.display(), "compiled code is damaged or of another user: compiling again");
                let _left = fs::remove_file(&path);
            }
        }
        let _left = fs::remove_file(&mark);
        false
    }

    /// A folder for a compiler's output, within the cache so that files can be renamed.
    pub(super) fn fresh(&self) -> Fresh {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Fresh(self.folder.join(format!("{FRESH}{}-{number}", std::process::id())))
    }

    /// Takes in what a compiler has left in `fresh` for these bytes.
    pub(super) fn take_in(&self, source: &Source, fresh: &Fresh) -> io::Result<()> {
        let found = entries(&fresh.0.join(CODE)).next();
        let found = found.ok_or_else(|| io::Error::other("the compiler left no code"))?;
        make_private(&found)?;
        let sha256 = digest(&open_trusted(&found)?)?;
        let file = found.strip_prefix(&fresh.0).map_err(io::Error::other)?.to_owned();
        let path = self.folder.join(&file);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::rename(&found, &path)?;
        let mark = serde_json::to_vec(&Mark { file, sha256 })?;
        fs::create_dir_all(&self.marks)?;
        let part = fresh.0.join("mark");
        fs::write(&part, mark)?;
        make_private(&part)?;
        fs::rename(part, self.mark(source))?;
        self.evict(&path);
        Ok(())
    }

    fn mark(&self, source: &Source) -> PathBuf {
        self.marks.join(hex::text(source))
    }

    /// Removes the entries that were used least recently until the rest fits, but never `keep`.
    fn evict(&self, keep: &Path) {
        let mut found: Vec<(SystemTime, u64, PathBuf)> = entries(&self.folder.join(CODE))
            .filter_map(|path| {
                let metadata = fs::symlink_metadata(&path).ok()?;
                Some((metadata.modified().ok()?, metadata.len(), path))
            })
            .collect();
        let mut size: u64 = found.iter().map(|(_, size, _)| size).sum();
        found.sort();
        for (_, bytes, path) in found.iter().filter(|(_, _, path)| path != keep) {
            if size <= SIZE_LIMIT {
                return;
            }
            // Its mark goes when it is asked for.
            if fs::remove_file(path).is_ok() {
                size -= bytes;
            }
        }
    }
}

/// A folder for one compilation. Dropping it removes what is left in it.
pub(super) struct Fresh(PathBuf);

impl Fresh {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        let _left = fs::remove_dir_all(&self.0);
    }
}

/// The SHA-256 of a file or of WebAssembly.
pub(super) fn source_of(bytes: &[u8]) -> Source {
    Sha256::digest(bytes).into()
}

fn read_mark(path: &Path) -> Option<Mark> {
    let mut text = Vec::new();
    open_trusted(path).ok()?.take(MARK_LIMIT).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Opens a file that only this user and root can have written.
fn open_trusted(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;

    // Not through a link, and without waiting for the other end of a pipe.
    let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits();
    let file = File::options().read(true).custom_flags(flags.cast_signed()).open(path)?;
    if is_trusted(&file.metadata()?) { Ok(file) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

/// Whatever the umask is.
fn make_private(file: &Path) -> io::Result<()> {
    fs::set_permissions(file, fs::Permissions::from_mode(0o600))
}

fn is_trusted(metadata: &Metadata) -> bool {
    let is_own = metadata.uid() == 0 || metadata.uid() == rustix::process::getuid().as_raw();
    metadata.is_file() && is_own && metadata.mode() & 0o022 == 0
}

fn digest(mut file: &File) -> io::Result<String> {
    let mut digest = Sha256::new();
    io::copy(&mut file, &mut digest)?;
    Ok(hex::text(&digest.finalize()))
}

/// The files of code below a folder, one folder deep: `modules/<compiler>/<name>`. Files with an extension are the
/// engine's notes.
fn entries(code: &Path) -> impl Iterator<Item = PathBuf> {
    let inside = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let compilers: Vec<_> = inside(code).collect();
    compilers.into_iter().flat_map(move |compiler| inside(&compiler)).filter(|path| path.extension().is_none())
}
