//! Where commands that are not the gateway keep compiled plugins: in the user's cache, never in a gateway's data folder.

use std::path::PathBuf;

/// The folder; made by whoever compiles.
pub(super) fn folder() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    match cache.or_else(home) {
        Some(cache) => cache.join("metagate").join("compiled"),
        None => std::env::temp_dir().join(format!("metagate-compiled-{}", rustix::process::getuid().as_raw())),
    }
}
