//! The forms in which a stream is sent: a JSON array, lines of JSON, server-sent events, or bytes as they are.

use bytes::Bytes;
use http::HeaderValue;

use crate::invocation::stream::{ArrayFraming, Piece, StreamFormat};

/// The form of a stream, and what has been sent of it.
#[derive(Debug)]
pub enum Framing {
    /// A JSON array.
    Array(ArrayFraming),
    /// A line for each item.
    Lines,
    /// A server-sent event for each item; whether one has been begun.
    Events(bool),
    /// The bytes of a response's body.
    Bytes,
}

impl Framing {
    /// The form for items.
    #[must_use]
    pub fn of_items(format: StreamFormat) -> Self {
        match format {
            StreamFormat::Array => Self::Array(ArrayFraming::default()),
            StreamFormat::Lines => Self::Lines,
            StreamFormat::Events => Self::Events(false),
        }
    }

    /// Its content type; none for bytes, whose response has it.
    #[must_use]
    pub fn content_type(&self) -> Option<HeaderValue> {
        match self {
            Self::Array(_) => Some(HeaderValue::from_static("application/json")),
            Self::Lines => Some(HeaderValue::from_static("application/x-ndjson")),
            Self::Events(_) => Some(HeaderValue::from_static("text/event-stream")),
            Self::Bytes => None,
        }
    }

    /// Appends a piece.
    pub fn add(&mut self, piece: &Piece, text: &mut Vec<u8>) {
        match self {
            Self::Array(framing) => framing.add(piece, text),
            Self::Lines => add_line(piece, text, b"\n"),
            Self::Events(begun) => {
                if !*begun {
                    text.extend_from_slice(b"data: ");
                }
                add_line(piece, text, b"\n\n");
                *begun = matches!(piece, Piece::Part(_, false));
            }
            Self::Bytes => {
                if let Piece::Data(bytes) = piece {
                    text.extend_from_slice(bytes);
                }
            }
        }
    }

    /// Appends the end.
    pub fn end(&self, text: &mut Vec<u8>) {
        if let Self::Array(framing) = self {
            framing.end(text);
        }
    }

    /// Appends an error, where the form has a place for one: `event: error` with the body of an error answer.
    pub fn fail(&self, body: &Bytes, text: &mut Vec<u8>) {
        if let Self::Events(begun) = self {
            // Clients drop an event that is not ended by an empty line.
            text.extend_from_slice(if *begun { b"\n\n" } else { b"" });
            text.extend_from_slice(b"event: error\ndata: ");
            text.extend_from_slice(body);
            text.extend_from_slice(b"\n\n");
        }
    }
}

/// Appends JSON as a part of one line: in JSON, raw line breaks are white space.
fn add_line(piece: &Piece, text: &mut Vec<u8>, end: &[u8]) {
    let (bytes, last) = match piece {
        Piece::Item(bytes) => (bytes, true),
        Piece::Part(bytes, last) => (bytes, *last),
        Piece::Data(_) => return,
    };
    let start = text.len();
    text.extend_from_slice(bytes);
    if memchr::memchr2(b'\n', b'\r', bytes).is_some() {
        for byte in &mut text[start..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
    }
    if last {
        text.extend_from_slice(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(mut framing: Framing, error: bool) -> String {
        let part = |text: &'static str, last| Piece::Part(Bytes::from_static(text.as_bytes()), last);
        let item = |text: &'static str| Piece::Item(Bytes::from_static(text.as_bytes()));
        let mut text = Vec::new();
        for piece in [item("1"), part("{\n \"a\":", false), part("2}", true), item("[\r]")] {
            framing.add(&piece, &mut text);
        }
        if error {
            framing.fail(&Bytes::from_static(b"{}"), &mut text);
        } else {
            framing.end(&mut text);
        }
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn items_are_framed_by_the_format() {
        let of = |format, error| framed(Framing::of_items(format), error);
        assert_eq!(of(StreamFormat::Array, false), "[1,{\n \"a\":2},[\r]]");
        assert_eq!(of(StreamFormat::Lines, false), "1\n{  \"a\":2}\n[ ]\n");
        assert_eq!(of(StreamFormat::Events, false), "data: 1\n\ndata: {  \"a\":2}\n\ndata: [ ]\n\n");
        assert!(of(StreamFormat::Events, true).ends_with("data: [ ]\n\nevent: error\ndata: {}\n\n"));
        assert_eq!(of(StreamFormat::Lines, true), of(StreamFormat::Lines, false));
    }
}
