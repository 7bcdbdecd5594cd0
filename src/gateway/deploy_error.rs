//! Why a deployment was not changed.

use std::io;
use std::sync::Arc;

use crate::registry::store::StorageError;
use crate::source::SourceError;
use crate::source::archive::ArchiveError;
use crate::source::dependencies::InstallError;
use crate::source::env_file::EnvFileError;
use crate::source::repository::RepositoryError;
use crate::worker::outcome::{LoadFailure, LoadFailureKind};

/// Why a deployment was not changed. What served before goes on.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The name is taken, and nobody said that it is to be replaced.
    #[error("There is an application with name '{0}' already deployed, delete it first.")]
    AlreadyDeployed(String),
    /// The name belongs to the configuration.
    #[error("{0:?} is a deployment of the configuration file: change it there")]
    OfConfiguration(String),
    /// Nothing was uploaded under the name.
    #[error("Invalid deployment id: {0}")]
    UnknownId(String),
    /// Nothing is deployed under the name.
    #[error("no deployment {0:?}")]
    NotFound(String),
    /// The release is not kept.
    #[error("{name:?} has no {wanted} to go back to: {kept}")]
    NoRelease {
        /// The deployment.
        name: String,
        /// What was asked for, in words.
        wanted: String,
        /// What there is, in words.
        kept: String,
    },
    /// Too many changes of the deployment wait already.
    #[error("too many changes of {0:?} wait already: try again when they are done")]
    InProgress(String),
    /// The archive is not one that can be taken.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Its metacall files are not what they should be.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The repository was not fetched.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// What it depends on was not installed.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// Its `.env` cannot be used.
    #[error(".env: {0}")]
    EnvFile(#[from] EnvFileError),
    /// It did not load.
    #[error("{}", .0.message)]
    Load(Arc<LoadFailure>),
    /// The disk did not take it.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Too much is being fetched already.
    #[error("as many repositories as the gateway takes at once are being fetched already")]
    Overloaded,
    /// The gateway is stopping.
    #[error("the gateway is stopping: nothing was changed")]
    Stopping,
    /// The deployment was deleted meanwhile.
    #[error("{0:?} was deleted meanwhile")]
    GivenUp(String),
    /// A part of the gateway failed.
    #[error("the gateway failed at it: see its log")]
    Internal,
}

impl DeployError {
    /// Names what was being done on disk.
    pub(super) fn disk(act: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Storage(StorageError::Disk { act, cause })
    }

    /// What is remembered and shown of a deploy that failed; nothing if it says nothing about the release itself.
    pub(super) fn as_load_failure(&self) -> Option<Arc<LoadFailure>> {
        let failure = |kind, stderr: &str| {
            Some(Arc::new(LoadFailure { kind, message: self.to_string(), stderr: stderr.to_owned() }))
        };
        match self {
            Self::Load(failure) => Some(Arc::clone(failure)),
            Self::Install(error) => failure(LoadFailureKind::Install, error.output()),
            Self::Archive(_) | Self::Source(_) | Self::EnvFile(_) => failure(LoadFailureKind::Load, ""),
            Self::AlreadyDeployed(_)
            | Self::OfConfiguration(_)
            | Self::UnknownId(_)
            | Self::NotFound(_)
            | Self::NoRelease { .. }
            | Self::InProgress(_)
            | Self::Repository(_)
            | Self::Storage(_)
            | Self::Overloaded
            | Self::Stopping
            | Self::GivenUp(_)
            | Self::Internal => None,
        }
    }
}
