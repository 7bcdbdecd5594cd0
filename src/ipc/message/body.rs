//! The messages of a request's body that follows its call: `BodyData`, `BodyEnd` and `BodyError` to the worker,
//! `BodyCredit` from it.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Parses the data of `BodyCredit`: the call and the bytes that the worker has taken. The id is none if it cannot be
/// one of the gateway's.
///
/// # Errors
/// The data is not of that form.
pub(super) fn parse_credit(data: &RawValue) -> Result<(Option<u64>, usize), serde_json::Error> {
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        id: Cow<'a, str>,
        bytes: usize,
    }
    let data: Data<'_> = serde_json::from_str(data.get())?;
    Ok((data.id.parse().ok(), data.bytes))
}

/// The line with a piece of a body: as text where it is UTF-8 and that is not longer.
#[must_use]
pub fn data_line(id: u64, piece: &[u8]) -> String {
    let text = std::str::from_utf8(piece).map(|text| serde_json::to_string(text).expect("texts always render as JSON"));
    let (key, text) = match text {
        Ok(text) if text.len() <= piece.len() / 3 * 4 + 16 => ("text", text),
        Ok(_) | Err(_) => ("base64", format!("\"{}\"", STANDARD.encode(piece))),
    };
    format!("{{\"type\":\"BodyData\",\"data\":{{\"id\":\"{id}\",\"{key}\":{text}}}}}\n")
}

/// The line that says that a body is whole.
#[must_use]
pub fn end_line(id: u64) -> String {
    format!("{{\"type\":\"BodyEnd\",\"data\":{{\"id\":\"{id}\"}}}}\n")
}

/// The line that says why the rest of a body will not come.
#[must_use]
pub fn error_line(id: u64, message: &str) -> String {
    let message = serde_json::to_string(message).expect("texts always render as JSON");
    format!("{{\"type\":\"BodyError\",\"data\":{{\"id\":\"{id}\",\"message\":{message}}}}}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_text_where_it_can_be() {
        assert_eq!(
            data_line(7, "ä\n".as_bytes()),
            "{\"type\":\"BodyData\",\"data\":{\"id\":\"7\",\"text\":\"ä\\n\"}}\n"
        );
        assert_eq!(data_line(7, b"\xff\x00"), "{\"type\":\"BodyData\",\"data\":{\"id\":\"7\",\"base64\":\"/wA=\"}}\n");
        assert!(data_line(7, &[0; 60]).len() < 150, "escapes would take 360 bytes");
        assert!(error_line(7, "it \"broke\"").ends_with("\"message\":\"it \\\"broke\\\"\"}}\n"));
    }

    #[test]
    fn credit_needs_a_call_and_a_number() {
        let parse = |text: &str| parse_credit(&RawValue::from_string(text.to_owned()).unwrap());
        assert_eq!(parse(r#"{"id":"7","bytes":9}"#).unwrap(), (Some(7), 9));
        assert_eq!(parse(r#"{"id":"x","bytes":9}"#).unwrap(), (None, 9));
        for bad in [r#"{"id":"7"}"#, r#"{"id":"7","bytes":-1}"#, r#"{"id":7,"bytes":1}"#, r#"{"bytes":1}"#] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
