//! The messages of the worker channel, `{"type": T, "data": D}` on one line each. Source of the format: the worker
//! protocol of MetaCall FaaS, with `FunctionInvokeError`, `Probe` and `ProbeResult` as metagate's own additions; see
//! `docs/worker-protocol.md`.

use std::borrow::Cow;
use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::deployment::MetaCallJson;
use crate::invocation::FunctionError;
use crate::json;

/// A line that Node's own channel takes for a handle without a handle, and answers with `NODE_HANDLE_NACK`; metagate's
/// workers answer its type with `ProbeResult`, others ignore it. So it tells whether a worker still reads.
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
    /// The scripts by language.
    pub jsons: &'a [MetaCallJson],
    /// Dependency installers; always empty here because installation comes before the spawn.
    pub runners: [&'a str; 0],
}

impl Load<'_> {
    /// The whole message as a line.
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

/// A call on its way to a worker; its texts are JSON without a line break.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The function's name with its quotes.
    pub name: &'a str,
    /// An array of the arguments.
    pub arguments: &'a [u8],
    /// An array of their names, for a worker that accepts them.
    pub names: Option<&'a str>,
    /// How long the caller waits, for a worker that accepts it.
    pub timeout: Option<Duration>,
}

impl<'a> Call<'a> {
    /// A call of which the worker is told nothing else.
    #[must_use]
    pub fn new(name: &'a str, arguments: &'a [u8]) -> Self {
        Self { name, arguments, names: None, timeout: None }
    }

    /// Appends it as a `CallFunction` line.
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
        if let Some(timeout) = self.timeout {
            line.extend_from_slice(b",\"timeout\":");
            line.extend_from_slice(itoa::Buffer::new().format(timeout.as_millis().max(1)).as_bytes());
        }
        line.extend_from_slice(b"}}\n");
    }
}

/// A message from a worker. Values stay where they are in the line: a range of its bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum FromWorker {
    /// `FunctionInvokeResult`; without a value for `undefined`.
    Result {
        /// The call's id, if it is one of ours.
        id: Option<u64>,
        /// Where the value stands in the line.
        value: Option<Range<usize>>,
    },
    /// `FunctionInvokeError`.
    Error {
        /// The call's id, if it is one of ours.
        id: Option<u64>,
        /// What the function raised.
        error: FunctionError,
    },
    /// A result or payload with more levels than JSON readers take; only its call is lost, framing is not.
    TooDeep {
        /// The call's id, if it is one of ours.
        id: Option<u64>,
    },
    /// `GetApplicationMetadata`; where its data stands in the line.
    MetaData(Range<usize>),
    /// An answer to [`PROBE`].
    ProbeResult,
    /// A type that nobody knows, or one of Node's own `cmd` messages; by name.
    Unknown(String),
}

/// Why a line is not a message.
#[derive(Debug, thiserror::Error)]
pub enum BadMessage {
    /// Not JSON, or without the fields that its type needs.
    #[error("not a message: {0}")]
    Json(#[from] serde_json::Error),
    /// JSON, but too deep.
    #[error("the answer has {0}")]
    Excess(#[from] json::Excess),
    /// A type without the data that it needs.
    #[error("{0} without data")]
    NoData(String),
}

/// Reads a line, without its line break.
pub fn parse(line: &[u8]) -> Result<FromWorker, BadMessage> {
    match parse_plain_result(line) {
        Some(message) => message,
        None => parse_any(line),
    }
}

/// The result line as metagate's own workers write it: one pass over the value and none over the rest.
fn parse_plain_result(line: &[u8]) -> Option<Result<FromWorker, BadMessage>> {
    let rest = line.strip_prefix(RESULT_START)?;
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let id = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    let value_start = RESULT_START.len() + digits + RESULT_VALUE.len();
    let value = rest[digits..].strip_prefix(RESULT_VALUE)?.strip_suffix(b"}}")?;
    // What follows the value must be nothing but the two braces: otherwise the general way decides.
    let _: &RawValue = serde_json::from_slice(value).ok()?;
    Some(match json::check_depth(value) {
        Ok(()) => Ok(FromWorker::Result { id: Some(id), value: Some(value_start..value_start + value.len()) }),
        Err(_) => Ok(FromWorker::TooDeep { id: Some(id) }),
    })
}

fn parse_any(line: &[u8]) -> Result<FromWorker, BadMessage> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow, default)]
        r#type: Option<Cow<'a, str>>,
        #[serde(borrow, default)]
        cmd: Option<Cow<'a, str>>,
        #[serde(borrow, default)]
        data: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        id: Cow<'a, str>,
        #[serde(borrow, default, deserialize_with = "present")]
        result: Option<&'a RawValue>,
        #[serde(default)]
        error: Option<FunctionError>,
    }

    if !line.trim_ascii_start().starts_with(b"{") {
        // JSON all the same: what user code sends on Node's own channel, for example.
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
        "FunctionInvokeResult" => {
            let answer: Answer<'_> = serde_json::from_str(data()?.get())?;
            let id = answer.id.parse().ok();
            if answer.result.is_some_and(|value| json::check_depth(value.get().as_bytes()).is_err()) {
                return Ok(FromWorker::TooDeep { id });
            }
            Ok(FromWorker::Result { id, value: answer.result.map(|value| range_in(line, value)) })
        }
        "FunctionInvokeError" => {
            let answer: Answer<'_> = serde_json::from_str(data()?.get())?;
            let error = answer.error.ok_or_else(|| BadMessage::NoData(kind.into_owned()))?;
            let id = answer.id.parse().ok();
            if error.payload.as_deref().is_some_and(|payload| json::check_depth(payload).is_err()) {
                return Ok(FromWorker::TooDeep { id });
            }
            Ok(FromWorker::Error { id, error })
        }
        "GetApplicationMetadata" => {
            let data = data()?;
            json::check_depth(data.get().as_bytes())?;
            Ok(FromWorker::MetaData(range_in(line, data)))
        }
        "ProbeResult" => Ok(FromWorker::ProbeResult),
        _ => Ok(FromWorker::Unknown(kind.into_owned())),
    }
}

/// A value that is there, `null` too.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Where a value that was borrowed from a line stands in it.
fn range_in(line: &[u8], value: &RawValue) -> Range<usize> {
    let start = value.get().as_ptr() as usize - line.as_ptr() as usize;
    start..start + value.get().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value_of(line: &str) -> Option<&str> {
        match parse(line.as_bytes()).unwrap() {
            FromWorker::Result { value, .. } => value.map(|range| &line[range]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_call_is_one_line_with_its_arguments_as_they_are() {
        let mut line = Vec::new();
        Call::new("\"sum\"", b"[1,9007199254740993]").write(&mut line, 17);
        let text = String::from_utf8(line).unwrap();
        assert_eq!(
            text,
            "{\"type\":\"CallFunction\",\"data\":{\"id\":\"17\",\"name\":\"sum\",\"args\":[1,9007199254740993]}}\n"
        );
    }

    #[test]
    fn a_worker_that_accepts_them_is_told_names_and_time() {
        let mut line = Vec::new();
        let call = Call::new("\"sum\"", b"[2,1]");
        let names = Some(r#"["b","a"]"#);
        Call { names, timeout: Some(Duration::from_micros(29_987_600)), ..call }.write(&mut line, 17);
        Call { timeout: Some(Duration::ZERO), ..call }.write(&mut line, 18);
        let expected = concat!(
            r#"{"type":"CallFunction","data":{"id":"17","name":"sum","args":[2,1],"names":["b","a"],"timeout":29987}}"#,
            "\n",
            r#"{"type":"CallFunction","data":{"id":"18","name":"sum","args":[2,1],"timeout":1}}"#,
            "\n"
        );
        assert_eq!(String::from_utf8(line).unwrap(), expected);
    }

    #[test]
    fn a_payload_with_too_many_levels_loses_its_call_alone() {
        let payload = "[".repeat(200) + &"]".repeat(200);
        let line = format!(
            r#"{{"type":"FunctionInvokeError","data":{{"id":"1","error":{{"message":"m","payload":{payload}}}}}}}"#
        );
        assert_eq!(parse(line.as_bytes()).unwrap(), FromWorker::TooDeep { id: Some(1) });
    }

    #[test]
    fn a_result_keeps_its_text() {
        let plain = r#"{"type":"FunctionInvokeResult","data":{"id":"7","result":{"b":1e2,"a":9007199254740993}}}"#;
        assert_eq!(value_of(plain), Some(r#"{"b":1e2,"a":9007199254740993}"#));
        let other = r#"{ "data" : {"result": [1.0], "id":"7"}, "type":"FunctionInvokeResult" }"#;
        assert_eq!(value_of(other), Some("[1.0]"));
        assert_eq!(value_of(r#"{"type":"FunctionInvokeResult","data":{"id":"7"}}"#), None);
    }

    #[test]
    fn a_null_result_is_a_value_in_either_way() {
        let plain = r#"{"type":"FunctionInvokeResult","data":{"id":"7","result":null}}"#;
        assert_eq!(value_of(plain), Some("null"));
        let other = r#"{"type": "FunctionInvokeResult", "data": {"id": "7", "result": null}}"#;
        assert_eq!(value_of(other), Some("null"));
    }

    #[test]
    fn fields_behind_the_result_do_not_become_part_of_it() {
        let line = r#"{"type":"FunctionInvokeResult","data":{"id":"7","result":{"a":1},"more":{"b":2}}}"#;
        assert_eq!(value_of(line), Some(r#"{"a":1}"#));
    }

    #[test]
    fn garbage_is_refused() {
        for line in ["", "hello", "{\"type\":", "{\"type\":\"FunctionInvokeResult\"}", "[1]x"] {
            assert!(parse(line.as_bytes()).is_err(), "{line}");
        }
        assert!(parse(b"{\"type\":\"FunctionInvokeResult\",\"data\":{\"id\":\"1\",\"result\":1}}}").is_err());
        let deep = format!(
            "{{\"type\":\"FunctionInvokeResult\",\"data\":{{\"id\":\"1\",\"result\":{}1{}}}}}",
            "[".repeat(200),
            "]".repeat(200)
        );
        assert_eq!(parse(deep.as_bytes()).unwrap(), FromWorker::TooDeep { id: Some(1) });
    }

    #[test]
    fn json_that_is_no_object_is_unknown() {
        assert_eq!(parse(b"\"ready\"").unwrap(), FromWorker::Unknown("\"ready\"".into()));
    }

    #[test]
    fn unknown_types_and_nodes_own_messages_are_named() {
        assert_eq!(parse(b"{\"type\":\"Huh\"}").unwrap(), FromWorker::Unknown("Huh".into()));
        assert_eq!(parse(b"{\"cmd\":\"NODE_X\"}").unwrap(), FromWorker::Unknown("NODE_X".into()));
        assert_eq!(parse(b"{\"cmd\":\"NODE_HANDLE_NACK\"}").unwrap(), FromWorker::ProbeResult);
    }
}
