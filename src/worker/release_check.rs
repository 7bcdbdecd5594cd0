//! The checks at each start of a worker: whether the files are still those of the release that the pool serves, and
//! whether what the worker has loaded is. The layers above supply them; this module knows no folders.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::deployment::Fingerprint;
use crate::worker::failure::LoadFailure;

/// The state of the files that a worker loads; none if it cannot change or could not be read.
pub type Files = Option<Fingerprint>;

/// Keeps a pool from loading files that are not those of its release.
pub trait CheckRelease: Send + Sync {
    /// Returns when a worker may start, with the files that it will load. If the pool is replaced because of the check,
    /// it does not return.
    ///
    /// # Errors
    ///
    /// The files have changed, and a new release of them does not load.
    fn check(&self) -> Pin<Box<dyn Future<Output = Result<Files, Arc<LoadFailure>>> + Send + '_>>;

    /// Notes that a worker has loaded these files. The first worker of a pool decides which files are its release:
    /// returns false if they are others, so that this worker must not serve.
    fn confirm(&self, files: Files) -> bool;
}

/// The check for files that never change.
#[derive(Debug)]
pub struct Immutable;

impl CheckRelease for Immutable {
    fn check(&self) -> Pin<Box<dyn Future<Output = Result<Files, Arc<LoadFailure>>> + Send + '_>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn confirm(&self, _: Files) -> bool {
        true
    }
}
