//! The messages that answer a call with a component's response: a whole result, or a stream of bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::response::Parts;
use serde::Serialize;

use crate::wasm_worker::log;

/// `{"status":200,"headers":[["content-type","text/html"]],"body":"text"}`, or `base64` for a body that is not text.
#[derive(Debug, Serialize)]
struct Response<'a> {
    status: u16,
    headers: Vec<(&'a str, &'a str)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

/// Appends the JSON of a whole response.
pub(super) fn write_whole(head: &Parts, body: &[u8], out: &mut Vec<u8>) {
    let text = str::from_utf8(body).ok();
    let response = Response {
        body: text.filter(|text| !text.is_empty()),
        base64: text.is_none().then(|| BASE64.encode(body)),
        ..head_of(head)
    };
    write(out, &response);
}

/// The line that begins a stream.
pub(super) fn stream_start(id: &str, head: &Parts) -> Vec<u8> {
    let mut line = b"{\"type\":\"StreamStart\",\"data\":{\"id\":".to_vec();
    write(&mut line, &id);
    line.extend_from_slice(b",\"response\":");
    write(&mut line, &head_of(head));
    line.extend_from_slice(b"}}\n");
    line
}

/// The line with a piece of a stream.
pub(super) fn stream_data(id: &str, piece: &[u8]) -> Vec<u8> {
    let mut line = b"{\"type\":\"StreamData\",\"data\":{\"id\":".to_vec();
    write(&mut line, &id);
    match str::from_utf8(piece) {
        Ok(text) => {
            line.extend_from_slice(b",\"text\":");
            write(&mut line, &text);
        }
        Err(_) => {
            line.extend_from_slice(b",\"base64\":");
            write(&mut line, &BASE64.encode(piece));
        }
    }
    line.extend_from_slice(b"}}\n");
    line
}

fn head_of(head: &Parts) -> Response<'_> {
    let headers = head.headers.iter().filter_map(|(name, value)| {
        let text = str::from_utf8(value.as_bytes());
        if text.is_err() {
            log::write(format_args!("the header {name:?} of a response was left out: its value is not UTF-8"));
        }
        Some((name.as_str(), text.ok()?))
    });
    Response { status: head.status.as_u16(), headers: headers.collect(), body: None, base64: None }
}

fn write<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("texts always render as JSON");
}
