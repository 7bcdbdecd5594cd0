//! What the gateways of a cluster share about deployments: records, and the packages that releases are made of. A
//! gateway that is alone has both on its own disk: `local`.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;

use crate::config::Sha256;
use crate::deployment::DeploymentName;
use crate::registry::record::Record;
use crate::registry::store::StorageError;

/// The future of a trait's method.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The records of deployments, each with a revision that changes whenever it is replaced.
pub trait Records: Send + Sync {
    /// The newest record of a deployment; none if there has never been one. One that is marked as deleted counts as
    /// none, but a new record has to replace its revision.
    ///
    /// # Errors
    ///
    /// What keeps the records cannot be reached.
    fn newest(&self, name: &DeploymentName) -> Boxed<'_, Result<Option<Record>, SharedError>>;

    /// Replaces the record of the same name, which still has the revision of this one; without a revision, there is no
    /// record yet. Returns the record with its new revision.
    ///
    /// # Errors
    ///
    /// Somebody else has replaced it, or it cannot be stored.
    fn replace(&self, record: Record) -> Boxed<'_, Result<Record, SharedError>>;
}

/// The packages of releases, by their digests.
pub trait Artefacts: Send + Sync {
    /// Whether a package is kept as long as a release is that was made of it. Otherwise it is kept until it is
    /// deployed.
    fn keeps(&self) -> bool;

    /// Keeps the package in this file, which is moved.
    ///
    /// # Errors
    ///
    /// It cannot be stored.
    fn put(&self, name: &DeploymentName, sha256: Sha256, file: PathBuf) -> Boxed<'_, Result<(), SharedError>>;

    /// The file of a package on this gateway's disk.
    ///
    /// # Errors
    ///
    /// There is no such package, or it cannot be reached.
    fn fetch(&self, name: &DeploymentName, sha256: Sha256) -> Boxed<'_, Result<PathBuf, SharedError>>;
}

/// Why something that gateways share was neither read nor changed.
#[derive(Debug, thiserror::Error)]
pub enum SharedError {
    /// Somebody else has changed the deployment in the meantime.
    #[error("{0:?} was changed at another place at the same time: nothing was changed here, try again")]
    Conflict(String),
    /// What keeps the state of the cluster cannot be reached.
    #[error("the state of the cluster cannot be reached: {0}")]
    Unavailable(String),
    /// The package is not there.
    #[error("the package {0} is missing: deploy it again")]
    Missing(Sha256),
    /// The package is not the one that was deployed.
    #[error("the package {0} was damaged on its way")]
    Damaged(Sha256),
    /// The record or package is larger than the cluster takes.
    #[error("{what} has {size} bytes; a cluster takes {limit}")]
    TooLarge {
        /// "the package", "the record".
        what: &'static str,
        /// Its size.
        size: u64,
        /// The largest size.
        limit: u64,
    },
    /// The disk of this gateway failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A task of the gateway panicked.
    #[error("the gateway failed: see its log")]
    Internal,
}

/// Reads or writes the disk, off the thread that serves calls.
///
/// # Errors
///
/// As `work` does.
pub async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SharedError> + Send + 'static,
) -> Result<T, SharedError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(SharedError::Internal))
}
