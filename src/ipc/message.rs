//! The messages of the worker channel, `{"type": T, "data": D}` on one line each. Source of the format: the worker
//! protocol of MetaCall FaaS, with `FunctionInvokeError`, `Probe` and `ProbeResult` as metagate's own additions; see
//! `docs/worker-protocol.md`.

use std::borrow::Cow;
use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::deployment::MetaCallJson;
use crate::invocation::{BodyForm, FunctionError};
use crate::json;

pub mod body;
mod range;
mod retire;
pub mod stream;
#[cfg(test)]
mod tests;

use range::{present, range_in};
use retire::reason_of;
use stream::StreamMessage;

/// Asks whether a worker still reads its channel. Node's own channel takes the line for a handle whose descriptor is
/// missing and answers with `NODE_HANDLE_NACK`; metagate's workers answer its type with `ProbeResult`; others ignore
/// it.
pub const PROBE: &[u8] = b"{\"cmd\":\"NODE_HANDLE\",\"type\":\"Probe\"}\n";

const RESULT_START: &[u8] = b"{\"type\":\"FunctionInvokeResult\",\"data\":{\"id\":\"";
const RESULT_VALUE: &[u8] = b"\",\"result\":";

/// `data` of `LoadFunctions`, for example
/// `{"id":"math","path":"/srv/math","jsons":[{"language_id":"node","path":".","scripts":["index.js"]}],"runners":[]}`.
#[derive(Debug, Clone, Serialize)]
pub struct Load<'a> {
    /// The deployment's name.
    pub id: &'a str,
    /// Folder of the release, absolute.
    pub path: &'a str,
    /// The contents of the release's metacall.json files: scripts by language.
    pub jsons: &'a [MetaCallJson],
    /// Installers of dependencies, as MetaCall's worker runs them; always empty, because the gateway has installed them
    /// before it starts a worker.
    pub runners: [&'a str; 0],
    /// The web app to serve, `main:app`; none if the configuration names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<&'a str>,
    /// `lambda` for a function that takes events of AWS Lambda.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handler: Option<&'a str>,
}

impl Load<'_> {
    /// The whole message as a line, with its line break.
    #[must_use]
    pub fn to_line(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Message<'a> {
            r#type: &'static str,
            data: &'a Load<'a>,
        }
        let message = Message { r#type: "LoadFunctions", data: self };
        let mut line = serde_json::to_vec(&message).expect("texts and lists always render as JSON");
        line.push(b'\n');
        line
    }
}

/// A call to be sent to a worker. Its texts are JSON without a line break.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The function's name as a JSON string, with its quotes.
    pub name: &'a str,
    /// The arguments, a JSON array.
    pub arguments: &'a [u8],
    /// The names of the arguments, a JSON array; only for a worker that accepts `names`.
    pub names: Option<&'a str>,
    /// Whether the arguments come from a query or a form, where every value is text; only for a worker that accepts
    /// `names`.
    pub text: bool,
    /// The time until the caller's deadline; only for a worker that accepts `timeout`.
    pub timeout: Option<Duration>,
    /// The head of the HTTP request, a JSON object; only for a worker that accepts `request`.
    pub request: Option<&'a str>,
    /// The form of arguments that came as bytes or with files; only for a worker that accepts `files`.
    pub body: Option<BodyForm>,
    /// Whether the worker is to know when the caller leaves or the time is over. It is not sent.
    pub cancellable: bool,
}

impl<'a> Call<'a> {
    /// A call without names, timeout and request.
    #[must_use]
    pub fn new(name: &'a str, arguments: &'a [u8]) -> Self {
        Self { name, arguments, names: None, text: false, timeout: None, request: None, body: None, cancellable: false }
    }

    /// Appends a `CallFunction` line with this id. It concatenates texts instead of serializing: this runs once a call.
    pub fn write(&self, line: &mut Vec<u8>, id: u64) {
        line.extend_from_slice(b"{\"type\":\"CallFunction\",\"data\":{\"id\":\"");
        line.extend_from_slice(itoa::Buffer::new().format(id).as_bytes());
        line.extend_from_slice(b"\",\"name\":");
        line.extend_from_slice(self.name.as_bytes());
        line.extend_from_slice(b",\"args\":");
        line.extend_from_slice(self.arguments);
        if let Some(names) = self.names {
            line.extend_from_slice(b",\"names\":");
            line.extend_from_slice(names.as_bytes());
        }
        if self.text {
            line.extend_from_slice(b",\"text\":true");
        }
        if let Some(timeout) = self.timeout {
            line.extend_from_slice(b",\"timeout\":");
            line.extend_from_slice(itoa::Buffer::new().format(timeout.as_millis().max(1)).as_bytes());
        }
        if let Some(request) = self.request {
            line.extend_from_slice(b",\"request\":");
            line.extend_from_slice(request.as_bytes());
        }
        if let Some(body) = self.body {
            line.extend_from_slice(b",\"body\":\"");
            line.extend_from_slice(body.as_str().as_bytes());
            line.push(b'"');
        }
        line.extend_from_slice(b"}}\n");
    }
}

/// A message from a worker. A value is a range of the line's bytes, so that its text reaches the caller unchanged and
/// uncopied.
#[derive(Debug, PartialEq, Eq)]
pub enum FromWorker {
    /// `FunctionInvokeResult`; no value stands for JavaScript's `undefined`.
    Result {
        /// The call's id; `None` if it cannot be one of the gateway's.
        id: Option<u64>,
        /// The place of the value in the line.
        value: Option<Range<usize>>,
    },
    /// `FunctionInvokeResult` with a `response` in place of a result.
    Response {
        /// The call's id; `None` if it cannot be one of the gateway's.
        id: Option<u64>,
        /// The place of the response's envelope in the line.
        envelope: Range<usize>,
    },
    /// `FunctionInvokeError`.
    Error {
        /// The call's id; `None` if it cannot be one of the gateway's.
        id: Option<u64>,
        /// What the function raised.
        error: FunctionError,
    },
    /// A result or payload that nests deeper than [`json::MAX_DEPTH`]. Only its call fails, because the line is whole.
    TooDeep {
        /// The call's id; `None` if it cannot be one of the gateway's.
        id: Option<u64>,
    },
    /// A message of a stream.
    Stream {
        /// The call's id; `None` if it cannot be one of the gateway's.
        id: Option<u64>,
        /// What it says.
        message: StreamMessage,
    },
    /// `BodyCredit`: the worker has taken so many bytes of a request's body.
    BodyCredit {
        /// The call's id; `None` if it cannot be one of the gateway's.
        id: Option<u64>,
        /// Bytes.
        bytes: usize,
    },
    /// `GetApplicationMetadata`; the place of its data in the line.
    MetaData(Range<usize>),
    /// The answer to [`PROBE`].
    ProbeResult,
    /// `Retire`: the worker asks to be replaced; its reason.
    Retire(String),
    /// An unknown type, or one of Node's own `cmd` messages; its name. For JSON that is no object, the start of it.
    Unknown(String),
}

/// Why a line is not a message.
#[derive(Debug, thiserror::Error)]
pub enum BadMessage {
    /// Not JSON, or a member that its type needs is missing or of the wrong kind.
    #[error("not a message: {0}")]
    Json(#[from] serde_json::Error),
    /// Metadata that nests too deeply.
    #[error("the message has {0}")]
    Excess(#[from] json::Excess),
    /// The message has no `data`, or an error message no `error`.
    #[error("{0} without data")]
    NoData(String),
}

/// Parses a line without its line break.
///
/// # Errors
/// The line is not a message, so framing may be lost: the worker cannot be trusted any more.
pub fn parse(line: &[u8]) -> Result<FromWorker, BadMessage> {
    match parse_plain_result(line) {
        Some(message) => message,
        None => parse_any(line),
    }
}

/// Parses a result line as metagate's own workers write it: one pass over the value and none over the rest.
fn parse_plain_result(line: &[u8]) -> Option<Result<FromWorker, BadMessage>> {
    let rest = line.strip_prefix(RESULT_START)?;
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let id = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    let value_start = RESULT_START.len() + digits + RESULT_VALUE.len();
    let value = rest[digits..].strip_prefix(RESULT_VALUE)?.strip_suffix(b"}}")?;
    // The value must be one JSON value: text such as `1},"x":{"y":2` also lies between the prefix and the braces, and
    // then the general parser decides.
    let _: &RawValue = serde_json::from_slice(value).ok()?;
    Some(match json::check_depth(value) {
        Ok(()) => Ok(FromWorker::Result { id: Some(id), value: Some(value_start..value_start + value.len()) }),
        Err(_) => Ok(FromWorker::TooDeep { id: Some(id) }),
    })
}

/// The members of a message that its kind depends on.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    r#type: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    cmd: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

/// `data` of the messages that end a call.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    response: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<FunctionError>,
}

fn parse_any(line: &[u8]) -> Result<FromWorker, BadMessage> {
    if !line.trim_ascii_start().starts_with(b"{") {
        // JSON that is not an object is not an error: user code may send it with Node's own `process.send`.
        let value: &RawValue = serde_json::from_slice(line)?;
        return Ok(FromWorker::Unknown(value.get().chars().take(40).collect()));
    }
    let envelope: Envelope<'_> = serde_json::from_slice(line)?;
    if let Some(cmd) = envelope.cmd {
        return Ok(match cmd.as_ref() {
            "NODE_HANDLE_NACK" => FromWorker::ProbeResult,
            _ => FromWorker::Unknown(cmd.into_owned()),
        });
    }
    let kind = envelope.r#type.unwrap_or_default();
    let data = || envelope.data.ok_or_else(|| BadMessage::NoData(kind.clone().into_owned()));
    match kind.as_ref() {
        "FunctionInvokeResult" => parse_result(line, data()?),
        "FunctionInvokeError" => parse_error(data()?),
        "GetApplicationMetadata" => {
            let data = data()?;
            json::check_depth(data.get().as_bytes())?;
            Ok(FromWorker::MetaData(range_in(line, data)))
        }
        "ProbeResult" => Ok(FromWorker::ProbeResult),
        "Retire" => Ok(FromWorker::Retire(reason_of(data()?)?)),
        "BodyCredit" => {
            let (id, bytes) = body::parse_credit(data()?)?;
            Ok(FromWorker::BodyCredit { id, bytes })
        }
        other => match envelope.data.and_then(|data| stream::parse(other, line, data)) {
            Some(parsed) => {
                let (id, message) = parsed?;
                Ok(FromWorker::Stream { id, message })
            }
            None => Ok(FromWorker::Unknown(kind.into_owned())),
        },
    }
}

fn parse_result(line: &[u8], data: &RawValue) -> Result<FromWorker, BadMessage> {
    let answer: Answer<'_> = serde_json::from_str(data.get())?;
    let id = answer.id.parse().ok();
    if let Some(envelope) = answer.response {
        return Ok(FromWorker::Response { id, envelope: range_in(line, envelope) });
    }
    if answer.result.is_some_and(|value| json::check_depth(value.get().as_bytes()).is_err()) {
        return Ok(FromWorker::TooDeep { id });
    }
    Ok(FromWorker::Result { id, value: answer.result.map(|value| range_in(line, value)) })
}

fn parse_error(data: &RawValue) -> Result<FromWorker, BadMessage> {
    let answer: Answer<'_> = serde_json::from_str(data.get())?;
    let error = answer.error.ok_or_else(|| BadMessage::NoData("FunctionInvokeError".to_owned()))?;
    let id = answer.id.parse().ok();
    if error.payload.as_deref().is_some_and(|payload| json::check_depth(payload).is_err()) {
        return Ok(FromWorker::TooDeep { id });
    }
    Ok(FromWorker::Error { id, error })
}
