//! What is known of the folder of a deployment of the configuration: in which state its files were loaded, and which
//! later state did not load.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::clock;
use crate::deployment::Fingerprint;
use crate::worker::failure::LoadFailure;

/// How long a state of the files that did not load is not tried again. The cause may lie outside of the folder.
const RETRY: Duration = Duration::from_secs(25);

/// The folder of one release of a deployment of the configuration.
#[derive(Debug)]
pub struct LoadedFolder {
    path: PathBuf,
    loaded: Mutex<Loaded>,
    rejected: Mutex<Option<Rejected>>,
}

/// The files of the release.
#[derive(Debug)]
struct Loaded {
    fingerprint: Fingerprint,
    /// A worker has loaded them. Until then the release is what the next worker starts from.
    is_confirmed: bool,
}

/// A later state of the files that did not load.
#[derive(Debug)]
struct Rejected {
    fingerprint: Fingerprint,
    failure: Arc<LoadFailure>,
    at: Instant,
}

impl LoadedFolder {
    /// A folder whose files will be loaded in this state.
    #[must_use]
    pub fn new(path: PathBuf, loaded: Fingerprint) -> Self {
        Self {
            path,
            loaded: Mutex::new(Loaded { fingerprint: loaded, is_confirmed: false }),
            rejected: Mutex::new(None),
        }
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The state in which the files were loaded.
    #[must_use]
    pub fn loaded(&self) -> Fingerprint {
        self.loaded.lock().fingerprint
    }

    /// Whether a worker may start from the files in this state: no worker has loaded another one.
    #[must_use]
    pub fn may_start(&self, fingerprint: Fingerprint) -> bool {
        let mut loaded = self.loaded.lock();
        if !loaded.is_confirmed {
            loaded.fingerprint = fingerprint;
        }
        loaded.fingerprint == fingerprint
    }

    /// A worker has loaded the files in this state, or in an unknown one. Returns false if another worker has loaded
    /// another state.
    #[must_use]
    pub fn confirm(&self, fingerprint: Option<Fingerprint>) -> bool {
        let mut loaded = self.loaded.lock();
        let fingerprint = fingerprint.unwrap_or(loaded.fingerprint);
        if !loaded.is_confirmed {
            *loaded = Loaded { fingerprint, is_confirmed: true };
        }
        loaded.fingerprint == fingerprint
    }

    /// Files in this state did not load; none if the files are as they were loaded.
    pub fn set_rejected(&self, rejected: Option<(Fingerprint, Arc<LoadFailure>)>) {
        let at = clock::now();
        *self.rejected.lock() = rejected.map(|(fingerprint, failure)| Rejected { fingerprint, failure, at });
    }

    /// Why files in this state did not load a short time ago.
    #[must_use]
    pub fn rejection_of(&self, fingerprint: Fingerprint) -> Option<Arc<LoadFailure>> {
        let rejected = self.rejected.lock();
        let recent = rejected.as_ref().filter(|one| one.fingerprint == fingerprint && clock::since(one.at) < RETRY);
        recent.map(|one| Arc::clone(&one.failure))
    }

    /// Why the folder's changed files do not serve, if a load of them has failed.
    #[must_use]
    pub fn rejection(&self) -> Option<Arc<LoadFailure>> {
        self.rejected.lock().as_ref().map(|one| Arc::clone(&one.failure))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_worker_that_loads_decides_which_files_are_the_release() {
        let [before, after] = [1, 2].map(Fingerprint);
        let folder = LoadedFolder::new("/srv/math".into(), before);
        assert!(folder.may_start(before) && folder.may_start(after), "no worker has loaded yet");
        assert!(folder.confirm(Some(before)));
        assert!(!folder.confirm(Some(after)), "it started after the files had changed");
        assert!(folder.may_start(before) && !folder.may_start(after));
    }
}
