//! Errors of changes as answers: which code each failure of a deploy, an upload or the disk gets.

use std::time::Duration;

use http::StatusCode;

use crate::gateway::deploy_error::DeployError;
use crate::http::disk_fault::{from_disk, read_only};
use crate::http::problem::{Code, Problem};
use crate::registry::shared::SharedError;
use crate::registry::store::StorageError;
use crate::source::SourceError;
use crate::source::archive::ArchiveError;
use crate::source::dependencies::InstallError;
use crate::source::repository::RepositoryError;
use crate::worker::failure::LoadFailureKind;

/// `Retry-After` of shortages that pass by themselves.
const SOON: Duration = Duration::from_secs(1);

/// The code of a release that did not load.
#[must_use]
pub fn code_of_load(kind: LoadFailureKind) -> Code {
    match kind {
        LoadFailureKind::Refused => Code::RefusedByPlugin,
        LoadFailureKind::Timeout => Code::LoadTimeout,
        LoadFailureKind::Install => Code::InstallFailed,
        LoadFailureKind::Spawn | LoadFailureKind::Load | LoadFailureKind::Died => Code::LoadFailed,
    }
}

/// The answer to a deploy, rollback or delete that changed nothing. The message has the last output of a worker or
/// tool.
#[must_use]
pub fn from_deploy(error: &DeployError) -> Problem {
    let message = error.to_string();
    let code = match error {
        DeployError::AlreadyDeployed(_) => Code::AlreadyDeployed,
        DeployError::OfConfiguration(_)
        | DeployError::NotPermitted(_)
        | DeployError::NotPermittedOfConfiguration(_) => Code::Forbidden,
        DeployError::UnknownId(_) => Code::BadRequest,
        DeployError::NotFound(_) | DeployError::NotInService(_) => Code::DeploymentNotFound,
        DeployError::Incompatible { .. } | DeployError::NotComparable(_) => Code::Incompatible,
        DeployError::NoRelease { .. } => Code::NotFound,
        DeployError::InProgress(_) => Code::DeployInProgress,
        DeployError::GivenUp(_) => return Problem::new(Code::Deleted, message).with_status(StatusCode::CONFLICT),
        DeployError::Archive(error) => return from_archive(error),
        DeployError::Source(SourceError::Folder { cause, .. }) => return from_disk(cause, "reading the release"),
        DeployError::Source(_) => Code::BadArchive,
        DeployError::Repository(error) => return from_repository(error),
        DeployError::Install(error) => return from_install(error),
        DeployError::EnvFile(_) => Code::LoadFailed,
        DeployError::Load(failure) => {
            return Problem::new(code_of_load(failure.kind), with_last_output(&message, &failure.stderr));
        }
        DeployError::Storage(StorageError::ReadOnly(_) | StorageError::Held(_)) => return read_only(message),
        DeployError::Storage(StorageError::Disk { act, cause }) => {
            return from_disk(cause, act);
        }
        DeployError::Shared(error) => return from_shared(error, message),
        DeployError::Incomplete { .. } => Code::ClusterIncomplete,
        DeployError::Unshared(_) => Code::ChangedElsewhere,
        DeployError::NotShared { .. } => Code::NotFound,
        DeployError::Overloaded => {
            return Problem::new(Code::Overloaded, message).retry_after(SOON);
        }
        DeployError::Stopping => return Problem::new(Code::Draining, message).retry_after(SOON),
        DeployError::Internal => Code::Internal,
    };
    Problem::new(code, message)
}

fn from_shared(error: &SharedError, message: String) -> Problem {
    let code = match error {
        SharedError::Conflict(_) => Code::ChangedElsewhere,
        SharedError::Unavailable(_) => return Problem::new(Code::ClusterUnavailable, message).retry_after(SOON),
        SharedError::Missing(_) => Code::NotFound,
        SharedError::TooLarge { .. } => Code::PayloadTooLarge,
        SharedError::Damaged(_) | SharedError::Storage(_) => Code::StorageError,
        SharedError::Internal => Code::Internal,
    };
    Problem::new(code, message)
}

fn from_repository(error: &RepositoryError) -> Problem {
    let code = match error {
        RepositoryError::BadUrl(_) => Code::BadUrl,
        RepositoryError::BadBranch(_) => Code::BadBranch,
        RepositoryError::TimedOut { .. } => Code::CloneTimeout,
        RepositoryError::Disk(error) => return from_disk(error, "fetching a repository"),
        RepositoryError::NoSuchBranch(_)
        | RepositoryError::Empty
        | RepositoryError::Failed { .. }
        | RepositoryError::TooLarge { .. }
        | RepositoryError::NoGit => Code::CloneFailed,
    };
    Problem::new(code, error.to_string())
}

fn from_install(error: &InstallError) -> Problem {
    let code = match error {
        InstallError::TimedOut { .. } => Code::InstallTimeout,
        InstallError::Failed { .. } | InstallError::TooLarge { .. } | InstallError::NotThere { .. } => {
            Code::InstallFailed
        }
        InstallError::Disk(error) => return from_disk(error, "installing dependencies"),
    };
    Problem::new(code, with_last_output(&error.to_string(), error.output()))
}

fn with_last_output(message: &str, output: &str) -> String {
    match output.trim_end() {
        "" => message.to_owned(),
        output => format!("{message}\n{output}"),
    }
}

/// The answer to a package that was not unpacked.
#[must_use]
pub fn from_archive(error: &ArchiveError) -> Problem {
    match error {
        ArchiveError::Bad(fault) => Problem::new(Code::BadArchive, fault),
        ArchiveError::Disk(error) => from_disk(error, "unpacking the package"),
    }
}
