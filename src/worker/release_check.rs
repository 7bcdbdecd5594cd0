//! The check before each start of a worker: whether the files are still those of the release that the pool serves. The
//! layers above supply it; this module knows no folders.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::worker::failure::LoadFailure;

/// Whether the pool has loaded its release once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loaded {
    /// It has: a worker that starts now must load the same files.
    Yes,
    /// Not yet: whatever the first worker loads is the release.
    No,
}

/// Keeps a pool from loading files that are not those of its release.
pub trait CheckRelease: Send + Sync {
    /// Returns when a worker may start. If the pool is replaced because of the check, it does not return.
    ///
    /// # Errors
    ///
    /// The files have changed, and a new release of them does not load.
    fn check(&self, loaded: Loaded) -> Pin<Box<dyn Future<Output = Result<(), Arc<LoadFailure>>> + Send + '_>>;
}

/// The check for files that never change.
#[derive(Debug)]
pub struct Immutable;

impl CheckRelease for Immutable {
    fn check(&self, _: Loaded) -> Pin<Box<dyn Future<Output = Result<(), Arc<LoadFailure>>> + Send + '_>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
