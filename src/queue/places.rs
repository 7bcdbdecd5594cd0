//! Where the queue is in a data folder.

use std::path::{Path, PathBuf};

/// The file, in the folder of the queue.
pub(super) const FILE: &str = "calls.sqlite";
/// The folder of large bodies, beside it.
pub(super) const BODIES: &str = "bodies";

/// The folder of the queue in a data folder.
#[must_use]
pub(super) fn of_data_folder(data_dir: &Path) -> PathBuf {
    data_dir.join("async")
}
