//! Failures as callers see them: status, code and message, and the one JSON shape of all errors.

pub mod code;

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::answer::code::Code;

/// An error answer to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The HTTP status, 400 to 599.
    pub status: u16,
    /// An error code: `function_error`, or one that a plugin chose.
    pub code: Cow<'static, str>,
    /// One sentence for people.
    pub message: String,
    /// The error's own value, as JSON.
    pub payload: Option<Bytes>,
    /// Further headers, such as `retry-after` and `www-authenticate`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Failure {
    /// A failure with a code of the table and the status of that code, without a payload and headers.
    pub fn of_code(code: Code, message: impl Into<String>) -> Self {
        Self::new(code.status().as_u16(), code.as_str(), message)
    }

    /// A failure without a payload and headers.
    pub fn new(status: u16, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into(), payload: None, headers: Vec::new() }
    }
}

/// The value of `retry-after`: whole seconds, rounded up, at least one.
#[must_use]
pub fn retry_after(wait: Duration) -> HeaderValue {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    HeaderValue::from(seconds.max(1))
}

#[derive(Serialize)]
struct Shape<'a> {
    error: Inner<'a>,
}

#[derive(Serialize)]
struct Inner<'a> {
    code: &'a str,
    message: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a RawValue>,
}

/// The body of an error answer: `{"error":{"code":"…","message":"…","request_id":"…"}}`, with `"payload":…` as the last
/// field of `error` if there is a payload.
#[must_use]
pub fn error_body(code: &str, message: &str, payload: Option<&[u8]>, request_id: &str) -> Bytes {
    let payload = payload.and_then(|payload| serde_json::from_slice(payload).ok());
    let shape = Shape { error: Inner { code, message, request_id, payload } };
    serde_json::to_vec(&shape).expect("texts always render as JSON").into()
}
