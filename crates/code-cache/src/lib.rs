//! Keeps compiled code in files: `<folder>/modules/<compiler>-<version>/<digest of what was compiled>`.

use std::fs;
use std::hash::{Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Where code is kept.
#[derive(Debug, Clone, Default)]
pub struct CacheConfig {
    folder: PathBuf,
}

impl CacheConfig {
    /// No folder yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the folder.
    pub fn with_directory(&mut self, folder: impl Into<PathBuf>) -> &mut Self {
        self.folder = folder.into();
        self
    }

    /// For wasmtime's own cache, which would otherwise write files again in a denser form. Nothing does here.
    pub fn with_optimized_compression_usage_counter_threshold(&mut self, _uses: u64) -> &mut Self {
        self
    }
}

/// A folder of compiled code.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// The cache in the folder of `config`.
    ///
    /// # Errors
    ///
    /// The configuration has no folder.
    pub fn new(config: CacheConfig) -> io::Result<Self> {
        let CacheConfig { folder } = config;
        if folder.as_os_str().is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the cache of compiled code has no folder"));
        }
        Ok(Self { folder })
    }
}

/// The entries of one compiler.
#[derive(Debug)]
pub struct ModuleCacheEntry(Option<PathBuf>);

impl ModuleCacheEntry {
    /// The entries of `compiler` in `cache`; without one, nothing is kept.
    #[must_use]
    pub fn new(compiler: &str, cache: Option<&Cache>) -> Self {
        let name = format!("{compiler}-{}", env!("CARGO_PKG_VERSION"));
        Self(cache.map(|cache| cache.folder.join("modules").join(name)))
    }

    /// What was kept for `state`, or else what `compute` makes of it, which is kept from now on. Code that cannot be
    /// read or kept only costs time.
    ///
    /// # Errors
    ///
    /// Those of `compute`.
    pub fn get_data_raw<T: Hash, U, E>(
        &self,
        state: &T,
        compute: fn(&T) -> Result<U, E>,
        serialize: fn(&T, &U) -> Option<Vec<u8>>,
        deserialize: fn(&T, Vec<u8>) -> Option<U>,
    ) -> Result<U, E> {
        let Some(folder) = &self.0 else { return compute(state) };
        let path = folder.join(name(state));
        if let Some(kept) = fs::read(&path).ok().and_then(|bytes| deserialize(state, bytes)) {
            return Ok(kept);
        }
        let computed = compute(state)?;
        if let Some(bytes) = serialize(state, &computed) {
            let _not_kept = replace(&path, &bytes);
        }
        Ok(computed)
    }
}

/// Readers see the old file or the new one, whole.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    let part = path.with_extension(format!("part-{}", std::process::id()));
    let written = fs::write(&part, bytes).and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        let _left = fs::remove_file(&part);
    }
    written
}

fn name(state: &impl Hash) -> String {
    let mut hasher = Sha256Hasher(Sha256::new());
    state.hash(&mut hasher);
    hasher.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All 256 bits go into the name: other code under the same name would be run.
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        unreachable!("the digest is read instead")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: &str = "compiled again";

    fn get(entry: &ModuleCacheEntry, state: &u8) -> Result<Vec<u8>, &'static str> {
        entry.get_data_raw(state, |_| Err(FAILED), |_, code: &Vec<u8>| Some(code.clone()), |_, code| Some(code))
    }

    #[test]
    fn what_was_computed_once_is_read_from_its_file() {
        let folder = std::env::temp_dir().join(format!("code-cache-{}", std::process::id()));
        let cache = Cache::new(CacheConfig::new().with_directory(&folder).clone()).unwrap();
        let entry = ModuleCacheEntry::new("test", Some(&cache));
        assert_eq!(get(&entry, &1), Err(FAILED));
        let computed: Result<_, &str> =
            entry.get_data_raw(&1, |state| Ok(vec![*state]), |_, code| Some(code.clone()), |_, code| Some(code));
        assert_eq!(computed, Ok(vec![1]));
        assert_eq!((get(&entry, &1), get(&entry, &2)), (Ok(vec![1]), Err(FAILED)));
        fs::remove_dir_all(folder).unwrap();
    }
}
