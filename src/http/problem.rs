//! The answer of the gateway itself to a request that it did not serve: one shape for all errors.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};

pub use crate::answer::code::Code;
use crate::answer::{self, Detail};
use crate::http::reply_body::ReplyBody;

/// The header that carries an error's code.
pub const ERROR_HEADER: HeaderName = HeaderName::from_static("x-metagate-error");
/// The header with the times of an answer's parts.
pub const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// An error answer: `{"error":{"code":…,"message":…,"request_id":…}}` with the status of its code.
#[derive(Debug)]
pub struct Problem {
    code: Code,
    message: String,
    detail: Option<Detail>,
    retry_after: Option<Duration>,
    allow: Option<Box<str>>,
    close: bool,
    status: Option<StatusCode>,
    as_text: bool,
    // Boxed: results with it would be larger.
    server_timing: Option<Box<HeaderValue>>,
}

impl Problem {
    /// A problem with a message for the caller.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            detail: None,
            retry_after: None,
            allow: None,
            close: false,
            status: None,
            as_text: false,
            server_timing: None,
        }
    }

    /// Also closes the connection, where the end of this request is not known.
    #[must_use]
    pub fn closing(self) -> Self {
        Self { close: true, ..self }
    }

    /// With another status than its code's, where a protocol fixes it.
    #[must_use]
    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status: Some(status), ..self }
    }

    /// With another text in place of the message.
    #[must_use]
    pub fn map_message(self, change: impl FnOnce(&str) -> String) -> Self {
        Self { message: change(&self.message), ..self }
    }

    /// Adds `Server-Timing`.
    #[must_use]
    pub fn timed(self, timing: HeaderValue) -> Self {
        Self { server_timing: Some(Box::new(timing)), ..self }
    }

    /// Answers with the message as plain text instead of JSON.
    #[must_use]
    pub fn as_text(self) -> Self {
        Self { as_text: true, ..self }
    }

    /// With the error value of the function, as JSON.
    #[must_use]
    pub fn with_payload(self, payload: Option<Bytes>) -> Self {
        Self { detail: payload.map(Detail::Payload), ..self }
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status.unwrap_or(self.code.status())
    }

    /// Adds `Allow` with these methods.
    #[must_use]
    pub fn allowing(self, methods: &str) -> Self {
        Self { allow: Some(methods.into()), ..self }
    }

    /// Adds `Retry-After`.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// The message for the caller.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The code of the error.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// The body, as JSON.
    #[must_use]
    pub fn body(&self, request_id: &str) -> Bytes {
        answer::error_body(self.code.as_str(), &self.message, self.detail.as_ref(), request_id)
    }

    /// The whole answer, without the header of the request id, which the service adds.
    #[must_use]
    pub fn into_response(self, request_id: &str) -> Response<ReplyBody> {
        let (kind, body) = if self.as_text {
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
        if let Some(methods) = self.allow.and_then(|methods| HeaderValue::from_str(&methods).ok()) {
            headers.insert(ALLOW, methods);
        }
        if self.code == Code::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(timing) = self.server_timing {
            headers.insert(SERVER_TIMING, *timing);
        }
        if self.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// The answer to a request whose head has not arrived in time.
#[must_use]
pub fn too_slow() -> Problem {
    Problem::new(Code::RequestTimeout, "the request came too slowly")
}

/// The answer while the gateway stops.
#[must_use]
pub fn draining() -> Problem {
    Problem::new(Code::Draining, "the gateway is stopping").retry_after(Duration::from_secs(1)).closing()
}

/// The answer to a question for the methods of an address (OPTIONS).
#[must_use]
pub fn methods(methods: &str) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::Full(None));
    *response.status_mut() = StatusCode::NO_CONTENT;
    if let Ok(methods) = HeaderValue::from_str(methods) {
        response.headers_mut().insert(ALLOW, methods);
    }
    response
}

/// The answer when no deployment has this name.
#[must_use]
pub fn deployment_not_found(name: &str) -> Problem {
    Problem::new(Code::DeploymentNotFound, format!("no deployment {name:?}"))
}
