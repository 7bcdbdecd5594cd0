//! The one table from what went wrong to a status and a code, and the one shape in which callers are told.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use rustix::io::Errno;

use crate::answer::{self, Failure};
use crate::http::body::ReplyBody;
use crate::source::ArchiveError;
use crate::worker::outcome::CallError;

/// The header that carries an error's code.
pub const ERROR_HEADER: HeaderName = HeaderName::from_static("x-metagate-error");

/// When a disk that cannot be written to is worth another try.
const READ_ONLY_WAIT: Duration = Duration::from_secs(30);

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $status:ident;)*) => {
        /// A stable name of what went wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code {
            $($(#[$doc])* $variant,)*
        }

        impl Code {
            /// The code as callers see it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Its status.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }
        }
    };
}

codes! {
    /// A request that cannot be understood.
    BadRequest = "bad_request", BAD_REQUEST;
    /// A body that is not the JSON it should be.
    InvalidJson = "invalid_json", BAD_REQUEST;
    /// A part of the address that is not a name.
    BadName = "bad_name", BAD_REQUEST;
    /// No token, or not the right one.
    Unauthorized = "unauthorized", UNAUTHORIZED;
    /// Not from there.
    Forbidden = "forbidden", FORBIDDEN;
    /// Nothing is deployed under the name.
    DeploymentNotFound = "deployment_not_found", NOT_FOUND;
    /// The deployment has no such function.
    FunctionNotFound = "function_not_found", NOT_FOUND;
    /// Nothing is at the address.
    NotFound = "not_found", NOT_FOUND;
    /// Not with this method.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED;
    /// The request came too slowly.
    RequestTimeout = "request_timeout", REQUEST_TIMEOUT;
    /// The file is not the one that the request's conditions name.
    PreconditionFailed = "precondition_failed", PRECONDITION_FAILED;
    /// The body is too large.
    PayloadTooLarge = "payload_too_large", PAYLOAD_TOO_LARGE;
    /// The address is too long.
    UriTooLong = "uri_too_long", URI_TOO_LONG;
    /// A body of a kind that cannot be read.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE;
    /// No byte of the file is in the range.
    RangeNotSatisfiable = "range_not_satisfiable", RANGE_NOT_SATISFIABLE;
    /// Too many or too long headers.
    HeadersTooLarge = "headers_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE;
    /// The function raised an error.
    FunctionError = "function_error", INTERNAL_SERVER_ERROR;
    /// The gateway's own fault.
    Internal = "internal", INTERNAL_SERVER_ERROR;
    /// The worker ended during the call.
    WorkerCrashed = "worker_crashed", BAD_GATEWAY;
    /// The worker broke the protocol during the call.
    WorkerProtocolError = "worker_protocol_error", BAD_GATEWAY;
    /// Too many calls.
    Overloaded = "overloaded", SERVICE_UNAVAILABLE;
    /// Workers end right after their start.
    CrashLoop = "crash_loop", SERVICE_UNAVAILABLE;
    /// The worker's program cannot be run.
    SpawnFailed = "spawn_failed", SERVICE_UNAVAILABLE;
    /// No worker is ready yet.
    Starting = "starting", SERVICE_UNAVAILABLE;
    /// The gateway is stopping.
    Draining = "draining", SERVICE_UNAVAILABLE;
    /// A plugin refuses to let the release be served.
    RefusedByPlugin = "refused_by_plugin", UNPROCESSABLE_ENTITY;
    /// A plugin could not be loaded.
    BadPlugin = "bad_plugin", UNPROCESSABLE_ENTITY;
    /// The configuration cannot be used.
    BadConfig = "bad_config", UNPROCESSABLE_ENTITY;
    /// A package that is not unpacked.
    BadArchive = "bad_archive", UNPROCESSABLE_ENTITY;
    /// A release did not load.
    LoadFailed = "load_failed", UNPROCESSABLE_ENTITY;
    /// A release took too long to load.
    LoadTimeout = "load_timeout", GATEWAY_TIMEOUT;
    /// The call took too long.
    CallTimeout = "call_timeout", GATEWAY_TIMEOUT;
    /// The disk is full, or what may be used of it.
    InsufficientStorage = "insufficient_storage", INSUFFICIENT_STORAGE;
    /// The disk cannot be written to at all.
    ReadOnly = "read_only", SERVICE_UNAVAILABLE;
    /// The disk failed.
    StorageError = "storage_error", INTERNAL_SERVER_ERROR;
}

/// An answer of the gateway's own to a request that it could not serve.
#[derive(Debug)]
pub struct Problem {
    code: Code,
    message: String,
    retry_after: Option<Duration>,
    allow: Option<&'static str>,
    close: bool,
}

impl Problem {
    /// A problem with its words.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None, allow: None, close: false }
    }

    /// Also ends the connection: what follows on it cannot be told from the rest of this request.
    #[must_use]
    pub fn closing(self) -> Self {
        Self { close: true, ..self }
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
        answer::error_body(self.code.as_str(), &self.message, request_id)
    }

    /// The whole answer; the request id's header is left to the service.
    #[must_use]
    pub fn into_response(self, request_id: &str) -> Response<ReplyBody> {
        let mut response = Response::new(ReplyBody::full(self.body(request_id)));
        *response.status_mut() = self.code.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
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

/// Nothing is deployed under a name.
#[must_use]
pub fn deployment_not_found(name: &str) -> Problem {
    Problem::new(Code::DeploymentNotFound, format!("no deployment {name:?}"))
}

/// What callers are told when a call of `function` of the deployment `name` gave no result.
#[must_use]
pub fn from_call(error: CallError, name: &str, function: &str) -> Problem {
    match error {
        CallError::FunctionNotFound => {
            Problem::new(Code::FunctionNotFound, format!("deployment {name:?} has no function {function:?}"))
        }
        CallError::Function(error) => Problem::new(Code::FunctionError, error.to_string()),
        CallError::Crashed(how) => {
            Problem::new(Code::WorkerCrashed, format!("worker of {name:?} {how} during the call"))
        }
        CallError::Protocol(how) => {
            Problem::new(Code::WorkerProtocolError, format!("worker of {name:?} {how} during the call"))
        }
        CallError::TimedOut(limit) => Problem::new(
            Code::CallTimeout,
            format!("function {function:?} of {name:?} gave no answer within {limit:?}"),
        ),
        CallError::Overloaded(wait) => {
            Problem::new(Code::Overloaded, format!("too many calls of {name:?} wait already")).retry_after(wait)
        }
        CallError::Starting => {
            let message = format!("no worker of {name:?} is ready yet");
            Problem::new(Code::Starting, message).retry_after(Duration::from_secs(1))
        }
        CallError::CrashLoop(wait) => {
            let message = format!("no worker of {name:?} can be started or stays: its log and /readyz say why");
            Problem::new(Code::CrashLoop, message).retry_after(wait)
        }
        CallError::SpawnFailed(wait, message) => Problem::new(Code::SpawnFailed, message).retry_after(wait),
        CallError::Stopping => {
            Problem::new(Code::Draining, "the gateway is stopping").retry_after(Duration::from_secs(1))
        }
    }
}

/// What callers are told when the disk failed during `act`, a phrase such as "unpacking the package"; the log has the cause.
#[must_use]
pub fn from_disk(error: &io::Error, act: &str) -> Problem {
    tracing::error!(%error, act, "storage failed");
    match Errno::from_io_error(error) {
        Some(Errno::NOSPC | Errno::DQUOT) => {
            Problem::new(Code::InsufficientStorage, format!("no room is left on the disk: {act} failed"))
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

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let mut failure = Self::new(problem.code.status().as_u16(), problem.code.as_str(), problem.message);
        failure.headers.extend(problem.retry_after.map(|wait| (RETRY_AFTER, answer::retry_after(wait))));
        failure
    }
}
