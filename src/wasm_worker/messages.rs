//! The messages between the gateway and the wasm worker. Source of the format: `docs/worker-protocol.md`.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::de::Error as _;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::deployment::MetaCallJson;
use crate::invocation::ArgumentFault;
use crate::wasm_worker::value::Given;

/// The start of a call's line, exactly as this gateway writes it.
pub(super) const CALL_START: &[u8] = b"{\"type\":\"CallFunction\",\"data\":";

/// A message from the gateway.
#[derive(Debug)]
pub(super) enum FromGateway<'a> {
    /// `LoadFunctions`.
    Load(Load),
    /// `CallFunction`.
    Call(Call<'a>),
    /// `Probe`.
    Probe,
    /// A message about the call with this id.
    OfCall(Cow<'a, str>, CallMessage),
    /// A message of another type, which is ignored.
    Other,
}

/// A message about a call that runs.
#[derive(Debug)]
pub(super) enum CallMessage {
    /// `CancelCall`.
    Cancel,
    /// `StreamCredit`: so many more bytes of the answer.
    Credit(u64),
    /// `BodyData`.
    BodyPiece(Bytes),
    /// `BodyEnd`, or `BodyError` with its message.
    BodyEnd(Result<(), String>),
}

/// `data` of `LoadFunctions`.
#[derive(Debug, Deserialize)]
pub(super) struct Load {
    /// The deployment's name.
    pub(super) id: String,
    /// The release's folder.
    pub(super) path: String,
    /// The files by language.
    pub(super) jsons: Vec<MetaCallJson>,
}

/// `data` of `CallFunction`.
#[derive(Debug, Deserialize)]
pub(super) struct Call<'a> {
    /// The call's id, repeated in the answer.
    #[serde(borrow)]
    pub(super) id: Cow<'a, str>,
    /// The function's name.
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    /// The arguments: the text of a JSON array.
    #[serde(borrow)]
    pub(super) args: &'a RawValue,
    /// The keys of the caller's object, in the order of `args`.
    #[serde(borrow, default)]
    pub(super) names: Option<Vec<Cow<'a, str>>>,
    /// Whether the arguments come from a query or a form, where every value is text.
    #[serde(default)]
    pub(super) text: bool,
    /// Milliseconds until the caller's deadline.
    #[serde(default)]
    pub(super) timeout: Option<u64>,
}

impl Call<'_> {
    /// The arguments.
    pub(super) fn given(&self) -> Given<'_> {
        Given { args: self.args.get(), names: self.names.as_deref(), are_text: self.text }
    }
}

/// Reads a line, without its line break.
pub(super) fn parse(line: &[u8]) -> serde_json::Result<FromGateway<'_>> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow, default)]
        r#type: Cow<'a, str>,
        #[serde(borrow, default)]
        data: Option<&'a RawValue>,
    }
    // The fast path for this gateway's own form: the arguments are scanned once less than by way of the envelope.
    if let Some(data) = line.strip_prefix(CALL_START).and_then(|rest| rest.strip_suffix(b"}")) {
        return serde_json::from_slice(data).map(FromGateway::Call);
    }
    let envelope: Envelope<'_> = serde_json::from_slice(line)?;
    let data = envelope.data.map_or("null", RawValue::get);
    Ok(match &*envelope.r#type {
        "LoadFunctions" => FromGateway::Load(serde_json::from_str(data)?),
        "CallFunction" => FromGateway::Call(serde_json::from_str(data)?),
        "Probe" => FromGateway::Probe,
        kind => match call_message(kind, data)? {
            Some((id, message)) => FromGateway::OfCall(id, message),
            None => FromGateway::Other,
        },
    })
}

fn call_message<'a>(kind: &str, data: &'a str) -> serde_json::Result<Option<(Cow<'a, str>, CallMessage)>> {
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        id: Cow<'a, str>,
        #[serde(default)]
        bytes: u64,
        #[serde(borrow, default)]
        text: Option<Cow<'a, str>>,
        #[serde(borrow, default)]
        base64: Option<Cow<'a, str>>,
        #[serde(default)]
        message: String,
    }
    if !matches!(kind, "CancelCall" | "StreamCredit" | "BodyData" | "BodyEnd" | "BodyError") {
        return Ok(None);
    }
    let data: Data<'a> = serde_json::from_str(data)?;
    let message = match kind {
        "CancelCall" => CallMessage::Cancel,
        "StreamCredit" => CallMessage::Credit(data.bytes),
        "BodyEnd" => CallMessage::BodyEnd(Ok(())),
        "BodyError" => CallMessage::BodyEnd(Err(data.message)),
        _ => match (data.text, data.base64) {
            (Some(text), _) => CallMessage::BodyPiece(Bytes::from(text.into_owned())),
            (None, Some(text)) => {
                CallMessage::BodyPiece(BASE64.decode(&*text).map_err(serde_json::Error::custom)?.into())
            }
            (None, None) => CallMessage::BodyPiece(Bytes::new()),
        },
    };
    Ok(Some((data.id, message)))
}

/// The id in the line of a call, without a look at its arguments where the line has this gateway's own form.
pub(super) fn call_id(line: &[u8]) -> Option<Cow<'_, str>> {
    let id = line.strip_prefix(CALL_START).and_then(|data| data.strip_prefix(b"{\"id\":\""));
    let digits = id.and_then(|id| Some(&id[..memchr::memchr(b'"', id)?]));
    if let Some(digits) = digits.filter(|digits| digits.iter().all(u8::is_ascii_digit)) {
        return str::from_utf8(digits).ok().map(Cow::Borrowed);
    }
    match parse(line) {
        Ok(FromGateway::Call(call)) => Some(call.id),
        _ => None,
    }
}

/// The line that says that the call has taken so many bytes of its request's body.
pub(super) fn body_credit(id: &str, bytes: usize) -> Vec<u8> {
    let mut line = b"{\"type\":\"BodyCredit\",\"data\":{\"id\":".to_vec();
    write_json(&mut line, id);
    line.extend_from_slice(format!(",\"bytes\":{bytes}}}}}\n").as_bytes());
    line
}

/// Replaces `line` with the end of a stream.
pub(super) fn write_stream_end(line: &mut Vec<u8>, id: &str) {
    line.clear();
    line.extend_from_slice(b"{\"type\":\"StreamEnd\",\"data\":{\"id\":");
    write_json(line, id);
    line.extend_from_slice(b"}}\n");
}

/// The answer to [`FromGateway::Probe`].
pub(super) const PROBE_RESULT: &[u8] = b"{\"type\":\"ProbeResult\"}\n";

/// Appends the start of a `FunctionInvokeResult` line. The caller appends the result's JSON, then [`end_result`].
pub(super) fn begin_result(line: &mut Vec<u8>, id: &str) {
    line.extend_from_slice(b"{\"type\":\"FunctionInvokeResult\",\"data\":{\"id\":");
    write_json(line, id);
    line.extend_from_slice(b",\"result\":");
}

/// Appends the end of a `FunctionInvokeResult` line.
pub(super) fn end_result(line: &mut Vec<u8>) {
    line.extend_from_slice(b"}}\n");
}

/// The `error` of a `FunctionInvokeError`.
#[derive(Debug, Serialize)]
pub(super) struct CallFailure<'a> {
    /// `Error`, `Trap`, …
    pub(super) name: &'a str,
    /// The message for the caller.
    pub(super) message: String,
    /// The stack for the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stack: Option<String>,
    /// `argument` if the arguments do not fit the function, `result_too_large` if its result is too long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<&'a str>,
    /// The argument that does not fit.
    #[serde(flatten)]
    pub(super) fault: Option<&'a ArgumentFault>,
    /// The function's own error value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) payload: Option<&'a RawValue>,
}

/// Appends a `FunctionInvokeError` line.
pub(super) fn write_error(line: &mut Vec<u8>, id: &str, error: &CallFailure<'_>) {
    line.extend_from_slice(b"{\"type\":\"FunctionInvokeError\",\"data\":{\"id\":");
    write_json(line, id);
    line.extend_from_slice(b",\"error\":");
    write_json(line, error);
    line.extend_from_slice(b"}}\n");
}

fn write_json<T: Serialize + ?Sized>(line: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(line, value).expect("texts always render as JSON");
}
