//! What a caller gets in place of a result: a failure with its code, and the one JSON shape in which it is told.

pub mod code;

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::value::RawValue;

/// A call that gave no result, as its caller will be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The HTTP status, 400 to 599.
    pub status: u16,
    /// A stable name of what went wrong: `function_error`.
    pub code: Cow<'static, str>,
    /// One sentence, for people.
    pub message: String,
    /// The function's own value of its error, as JSON.
    pub payload: Option<Bytes>,
    /// `retry-after`, `www-authenticate` and the like.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Failure {
    /// A failure without payload and headers.
    pub fn new(status: u16, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into(), payload: None, headers: Vec::new() }
    }
}

/// The value of `retry-after`: whole seconds, at least one.
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

/// The body of an answer that is an error: `{"error":{"code":…,"message":…,"request_id":…}}`, and `"payload":…` last where
/// there is one.
#[must_use]
pub fn error_body(code: &str, message: &str, payload: Option<&[u8]>, request_id: &str) -> Bytes {
    let payload = payload.and_then(|payload| serde_json::from_slice(payload).ok());
    let shape = Shape { error: Inner { code, message, request_id, payload } };
    serde_json::to_vec(&shape).expect("texts always render as JSON").into()
}
