//! Why a deployment was not changed.

use std::io;
use std::sync::Arc;

use crate::describe::difference::{Effect, FunctionChange};
use crate::registry::shared::SharedError;
use crate::registry::store::StorageError;
use crate::source::SourceError;
use crate::source::archive::ArchiveError;
use crate::source::dependencies::InstallError;
use crate::source::env_file::EnvFileError;
use crate::source::repository::RepositoryError;
use crate::worker::failure::{LoadFailure, LoadFailureKind};

/// Why a deployment was not changed. The release that served before keeps serving.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The name is in use, and the upload does not replace. The text is the one that MetaCall's clients expect.
    #[error("There is an application with name '{0}' already deployed, delete it first.")]
    AlreadyDeployed(String),
    /// The configuration defines the deployment.
    #[error("{0:?} is a deployment of the configuration file: change it there")]
    OfConfiguration(String),
    /// There is no upload under the name. The text is the one that MetaCall's clients expect.
    #[error("Invalid deployment id: {0}")]
    UnknownId(String),
    /// There is no deployment of the name.
    #[error("no deployment {0:?}")]
    NotFound(String),
    /// The release is not kept.
    #[error("{name:?} has no {wanted} to go back to: {kept}")]
    NoRelease {
        /// The deployment.
        name: String,
        /// The release asked for, in words.
        wanted: String,
        /// The releases that are kept, in words.
        kept: String,
    },
    /// The caller may not change the deployment.
    #[error("the token is not for the deployment {0:?}")]
    NotPermitted(String),
    /// The caller may not have other code run with the settings of a deployment of the configuration.
    #[error(
        "{0:?} is a deployment of the configuration file, whose variables and permissions the package would have: this \
         needs a token that may \"admin\""
    )]
    NotPermittedOfConfiguration(String),
    /// Too many changes of the deployment wait.
    #[error("too many changes of {0:?} wait already: try again when they are done")]
    InProgress(String),
    /// The package is unusable.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The release's folder or its metacall files are unusable.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The repository was not fetched.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The dependencies were not installed.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The release's `.env` is unusable.
    #[error(".env: {0}")]
    EnvFile(#[from] EnvFileError),
    /// The release did not load.
    #[error("{}", .0.message)]
    Load(Arc<LoadFailure>),
    /// No release of the deployment is in service.
    #[error("no release of {0:?} is in service: there is nothing to compare with")]
    NotInService(String),
    /// The functions of the release in service, or of the new one, are not known.
    #[error(
        "the functions of {0:?} cannot be compared while its release in service, or the new one, is not loaded: deploy \
         without the check, or with \"force\""
    )]
    NotComparable(String),
    /// The release breaks callers of the one in service, and was to be refused then.
    #[error("the release would break callers of {name:?}: {}", in_words(changes))]
    Incompatible {
        /// The deployment.
        name: String,
        /// What differs.
        changes: Vec<FunctionChange>,
    },
    /// What gateways share could not be read or changed.
    #[error(transparent)]
    Shared(SharedError),
    /// The release serves here, but not on as many gateways of the cluster as asked for.
    #[error("release {release} of {name:?} serves here, but not on every gateway: {others}")]
    Incomplete {
        /// The deployment.
        name: String,
        /// The release.
        release: u64,
        /// The gateways where it does not serve, with the reasons.
        others: String,
    },
    /// The files of the release are on another gateway only.
    #[error("release {release} of {name:?} was made before its gateway was part of the cluster: deploy it again")]
    NotShared {
        /// The deployment.
        name: String,
        /// The release.
        release: u64,
    },
    /// The cluster has a deployment of the name, and so had this gateway before it was part of the cluster.
    #[error(
        "{0:?} was deployed to this gateway before it was part of the cluster, which has another deployment of this \
         name: delete it at this gateway, which then takes that over"
    )]
    Unshared(String),
    /// The change could not be stored.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The gateway fetches as many repositories as it may.
    #[error("too many repositories are being fetched: try again later")]
    Overloaded,
    /// The gateway is stopping.
    #[error("the gateway is stopping: nothing was changed")]
    Stopping,
    /// The deployment was deleted during the change.
    #[error("{0:?} was deleted meanwhile")]
    GivenUp(String),
    /// A task of the gateway panicked.
    #[error("the gateway failed: see its log")]
    Internal,
}

impl DeployError {
    /// Makes an error of an I/O error. `act` names the operation: "unpacking the package".
    pub(super) fn disk(act: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Storage(StorageError::Disk { act, cause })
    }

    /// The failure to record for the deployment; none if the error says nothing about the release itself.
    pub(super) fn as_load_failure(&self) -> Option<Arc<LoadFailure>> {
        let failure = |kind, stderr: &str| {
            Some(Arc::new(LoadFailure { kind, message: self.to_string(), public: None, stderr: stderr.to_owned() }))
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
            | Self::NotPermitted(_)
            | Self::NotPermittedOfConfiguration(_)
            | Self::NotInService(_)
            | Self::NotComparable(_)
            | Self::Incompatible { .. }
            | Self::InProgress(_)
            | Self::Repository(_)
            | Self::Shared(_)
            | Self::Incomplete { .. }
            | Self::NotShared { .. }
            | Self::Unshared(_)
            | Self::Storage(_)
            | Self::Overloaded
            | Self::Stopping
            | Self::GivenUp(_)
            | Self::Internal => None,
        }
    }
}

impl From<SharedError> for DeployError {
    fn from(error: SharedError) -> Self {
        match error {
            SharedError::Storage(error) => Self::Storage(error),
            SharedError::Internal => Self::Internal,
            error => Self::Shared(error),
        }
    }
}

/// The changes that break callers, of which the first are named.
fn in_words(changes: &[FunctionChange]) -> String {
    const NAMED: usize = 5;
    let mut breaking = changes.iter().filter(|change| change.effect == Effect::Breaks);
    let mut words: Vec<String> = breaking.by_ref().take(NAMED).map(ToString::to_string).collect();
    let more = breaking.count();
    if more > 0 {
        words.push(format!("and {more} more"));
    }
    words.join("; ")
}
