//! The messages of a stream, `StreamStart` to `StreamEnd`, and those that the gateway sends for one.

use std::borrow::Cow;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::ipc::message::range::{present, range_in};
use crate::json;

/// What a message says of a stream.
#[derive(Debug, PartialEq, Eq)]
pub enum StreamMessage {
    /// It begins; the place of the response's envelope in the line, if it is the body of one.
    Start(Option<Range<usize>>),
    /// An item; its place in the line.
    Item(Range<usize>),
    /// A part of an item's text, and whether it is the last one.
    Part(String, bool),
    /// Bytes of a response's body.
    Data(Vec<u8>),
    /// It ends.
    End,
    /// The message cannot be used, for this reason; the line is whole.
    Bad(String),
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow, default)]
    response: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    item: Option<&'a RawValue>,
    #[serde(default)]
    part: Option<String>,
    #[serde(default)]
    last: bool,
    #[serde(default)]
    text: Option<String>,
    #[serde(borrow, default)]
    base64: Option<Cow<'a, str>>,
}

/// Parses the data of a message of this type; none if it is not about a stream. The id is none if it cannot be one of
/// the gateway's.
///
/// # Errors
/// The data is not of the form of its type.
pub(super) fn parse(
    kind: &str,
    line: &[u8],
    data: &RawValue,
) -> Option<Result<(Option<u64>, StreamMessage), serde_json::Error>> {
    if !matches!(kind, "StreamStart" | "StreamItem" | "StreamData" | "StreamEnd") {
        return None;
    }
    let data: Data<'_> = match serde_json::from_str(data.get()) {
        Ok(data) => data,
        Err(error) => return Some(Err(error)),
    };
    let id = data.id.parse().ok();
    let message = match kind {
        "StreamStart" => StreamMessage::Start(data.response.map(|envelope| range_in(line, envelope))),
        "StreamItem" => item(line, data),
        "StreamData" => bytes(data),
        _ => StreamMessage::End,
    };
    Some(Ok((id, message)))
}

fn item(line: &[u8], data: Data<'_>) -> StreamMessage {
    match (data.item, data.part) {
        (Some(item), None) => match json::check_depth(item.get().as_bytes()) {
            Ok(()) => StreamMessage::Item(range_in(line, item)),
            Err(excess) => StreamMessage::Bad(format!("an item with {excess}")),
        },
        (None, Some(part)) => StreamMessage::Part(part, data.last),
        (None, None) | (Some(_), Some(_)) => StreamMessage::Bad("an item without \"item\" or \"part\"".to_owned()),
    }
}

fn bytes(data: Data<'_>) -> StreamMessage {
    match (data.text, data.base64) {
        (Some(text), None) => StreamMessage::Data(text.into_bytes()),
        (None, Some(text)) => match STANDARD.decode(text.as_bytes()) {
            Ok(bytes) => StreamMessage::Data(bytes),
            Err(error) => StreamMessage::Bad(format!("data that is not base64: {error}")),
        },
        (None, None) | (Some(_), Some(_)) => StreamMessage::Bad("data without \"text\" or \"base64\"".to_owned()),
    }
}

/// The line that lets a stream go on.
#[must_use]
pub fn credit_line(id: u64, bytes: usize) -> String {
    format!("{{\"type\":\"StreamCredit\",\"data\":{{\"id\":\"{id}\",\"bytes\":{bytes}}}}}\n")
}

/// The line that says that the caller of a call has left, or that its time is over.
#[must_use]
pub fn cancel_line(id: u64) -> String {
    format!("{{\"type\":\"CancelCall\",\"data\":{{\"id\":\"{id}\"}}}}\n")
}
