//! The one table from what went wrong to a status and a code, and the one shape in which callers are told.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use rustix::io::Errno;

use crate::answer;
pub use crate::answer::code::Code;
use crate::gateway::deploy_error::DeployError;
use crate::http::body::ReplyBody;
use crate::registry::store::StorageError;
use crate::source::SourceError;
use crate::source::archive::ArchiveError;
use crate::source::dependencies::InstallError;
use crate::source::repository::RepositoryError;
use crate::worker::failure::LoadFailureKind;

/// The header that carries an error's code.
pub const ERROR_HEADER: HeaderName = HeaderName::from_static("x-metagate-error");

/// When a disk that cannot be written to is worth another try.
const READ_ONLY_WAIT: Duration = Duration::from_secs(30);

/// An answer of the gateway's own to a request that it could not serve.
#[derive(Debug)]
pub struct Problem {
    code: Code,
    message: String,
    payload: Option<Bytes>,
    retry_after: Option<Duration>,
    allow: Option<&'static str>,
    close: bool,
    status: Option<StatusCode>,
    in_words: bool,
}

impl Problem {
    /// A problem with its words.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            payload: None,
            retry_after: None,
            allow: None,
            close: false,
            status: None,
            in_words: false,
        }
    }

    /// Also ends the connection: what follows on it cannot be told from the rest of this request.
    #[must_use]
    pub fn closing(self) -> Self {
        Self { close: true, ..self }
    }

    /// With another status than its code's, where a protocol fixes it.
    #[must_use]
    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status: Some(status), ..self }
    }

    /// Answered as plain text instead of JSON: the message and nothing else.
    #[must_use]
    pub fn in_words(self) -> Self {
        Self { in_words: true, ..self }
    }

    /// With the function's own value of its error.
    #[must_use]
    pub fn with_payload(self, payload: Option<Bytes>) -> Self {
        Self { payload, ..self }
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status.unwrap_or(self.code.status())
    }

    /// Names the methods that are allowed.
    #[must_use]
    pub fn allowing(self, methods: &'static str) -> Self {
        Self { allow: Some(methods), ..self }
    }

    /// Tells when to try again.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// What went wrong.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// The body that callers see.
    #[must_use]
    pub fn body(&self, request_id: &str) -> Bytes {
        answer::error_body(self.code.as_str(), &self.message, self.payload.as_deref(), request_id)
    }

    /// The whole answer; the request id's header is left to the service.
    #[must_use]
    pub fn into_response(self, request_id: &str) -> Response<ReplyBody> {
        let (kind, body) = if self.in_words {
            ("text/plain; charset=utf-8", Bytes::from(self.message.clone()))
        } else {
            ("application/json", self.body(request_id))
        };
        let mut response = Response::new(ReplyBody::full(body));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(ERROR_HEADER, HeaderValue::from_static(self.code.as_str()));
        if let Some(wait) = self.retry_after {
            headers.insert(RETRY_AFTER, answer::retry_after(wait));
        }
        if let Some(methods) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(methods));
        }
        if self.code == Code::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// The code of a release that is not served.
#[must_use]
pub fn of_load(kind: LoadFailureKind) -> Code {
    match kind {
        LoadFailureKind::Refused => Code::RefusedByPlugin,
        LoadFailureKind::Timeout => Code::LoadTimeout,
        LoadFailureKind::Install => Code::InstallFailed,
        LoadFailureKind::Spawn | LoadFailureKind::Load | LoadFailureKind::Died => Code::LoadFailed,
    }
}

/// What who deploys is told of a deployment that was not changed: also the last words of workers and tools.
#[must_use]
pub fn from_deploy(error: &DeployError) -> Problem {
    let message = error.to_string();
    let code = match error {
        DeployError::AlreadyDeployed(_) => Code::AlreadyDeployed,
        DeployError::OfConfiguration(_) => Code::Forbidden,
        DeployError::UnknownId(_) => Code::BadRequest,
        DeployError::NotFound(_) => Code::DeploymentNotFound,
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
            return Problem::new(of_load(failure.kind), with_last_words(&message, &failure.stderr));
        }
        DeployError::Storage(StorageError::ReadOnly(_)) => {
            return Problem::new(Code::ReadOnly, message).retry_after(READ_ONLY_WAIT);
        }
        DeployError::Storage(StorageError::Disk { act, cause }) => {
            return from_disk(cause, act);
        }
        DeployError::Overloaded => {
            return Problem::new(Code::Overloaded, message).retry_after(Duration::from_secs(1));
        }
        DeployError::Stopping => return Problem::new(Code::Draining, message).retry_after(Duration::from_secs(1)),
        DeployError::Internal => Code::Internal,
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
    Problem::new(code, with_last_words(&error.to_string(), error.output()))
}

fn with_last_words(message: &str, words: &str) -> String {
    match words.trim_end() {
        "" => message.to_owned(),
        words => format!("{message}\n{words}"),
    }
}

/// Nothing is deployed under a name.
#[must_use]
pub fn deployment_not_found(name: &str) -> Problem {
    Problem::new(Code::DeploymentNotFound, format!("no deployment {name:?}"))
}

/// What callers are told when the disk failed during `act`, a phrase such as "unpacking the package"; the log has the cause.
#[must_use]
pub fn from_disk(error: &io::Error, act: &str) -> Problem {
    tracing::error!(%error, act, "storage failed");
    match Errno::from_io_error(error) {
        Some(Errno::NOSPC | Errno::DQUOT) => {
            Problem::new(Code::InsufficientStorage, format!("no room is left on the disk: {act} failed"))
        }
        Some(Errno::MFILE | Errno::NFILE) => {
            let message = format!("too many files are open: {act} failed");
            Problem::new(Code::Overloaded, message).retry_after(Duration::from_secs(1))
        }
        Some(Errno::ROFS) => {
            let message = format!("the disk cannot be written to: {act} failed");
            Problem::new(Code::ReadOnly, message).retry_after(READ_ONLY_WAIT)
        }
        _ => Problem::new(Code::StorageError, format!("the disk failed: {act} failed")),
    }
}

/// What callers are told when a package was not unpacked.
#[must_use]
pub fn from_archive(error: &ArchiveError) -> Problem {
    match error {
        ArchiveError::Bad(words) => Problem::new(Code::BadArchive, words),
        ArchiveError::Disk(error) => from_disk(error, "unpacking the package"),
    }
}
