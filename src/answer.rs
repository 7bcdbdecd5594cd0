//! Failures as callers see them: status, code and message, and the one JSON shape of all errors.

pub mod code;

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::Value;
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
    /// What it says beyond the message.
    pub detail: Option<Detail>,
    /// Further headers, such as `retry-after` and `www-authenticate`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Failure {
    /// A failure with a code of the table and the status of that code, without detail and headers.
    pub fn of_code(code: Code, message: impl Into<String>) -> Self {
        Self::new(code.status().as_u16(), code.as_str(), message)
    }

    /// A failure without detail and headers.
    pub fn new(status: u16, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into(), detail: None, headers: Vec::new() }
    }
}

/// What an error says beyond its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detail {
    /// The function's own value, as JSON: `error.payload`.
    Payload(Bytes),
    /// The argument that does not fit: `error.argument`, `error.path` and `error.expected`.
    Argument(Box<ArgumentFault>),
}

/// The argument that does not fit a function. Every part is optional.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArgumentFault {
    /// Its name, or its position from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub argument: Option<Value>,
    /// The place inside its value, such as `.items[2].price`; empty for the value itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The type that was expected there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
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
    #[serde(flatten)]
    fault: Option<&'a ArgumentFault>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a RawValue>,
}

/// The body of an error answer: `{"error":{"code":"…","message":"…","request_id":"…"}}`, followed by the fields of the
/// detail, if there is one.
#[must_use]
pub fn error_body(code: &str, message: &str, detail: Option<&Detail>, request_id: &str) -> Bytes {
    let (fault, payload) = match detail {
        Some(Detail::Argument(fault)) => (Some(&**fault), None),
        Some(Detail::Payload(payload)) => (None, serde_json::from_slice(payload).ok()),
        None => (None, None),
    };
    let shape = Shape { error: Inner { code, message, request_id, fault, payload } };
    serde_json::to_vec(&shape).expect("texts always render as JSON").into()
}
