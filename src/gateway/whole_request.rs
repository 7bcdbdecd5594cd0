//! Whole HTTP requests as calls: a request becomes the arguments of a function that takes one, and the function's
//! result becomes the answer. `docs/worker-protocol.md` has both envelopes. Reading and writing HTTP is left to `http`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::gateway::request_head::{is_hop_by_hop, pairs};
use crate::invocation::Arguments;
use crate::invocation::body::HeldBody;
use crate::plugin::outcome::Outcome;

/// The most headers of an answer, and the most bytes of their names and values.
const HEADER_COUNT: usize = 100;
const HEADERS_LIMIT: usize = 64 << 10;

/// Headers of an answer that the gateway sets itself.
const OWN: [HeaderName; 2] = [CONTENT_LENGTH, HeaderName::from_static("x-request-id")];

/// A function's answer to a request, with every part checked.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

/// The argument that stands for a request, as hooks see it: `[{"method":"GET","uri":"/path?query","body":"text"}]`. A
/// body that is not UTF-8 is in `base64` instead; an empty one is left out.
#[must_use]
pub fn request(method: &str, uri: &str, body: &[u8]) -> Arguments {
    #[derive(Serialize)]
    struct Envelope<'a> {
        method: &'a str,
        uri: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        body: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        base64: Option<String>,
    }
    let (body, base64) = match std::str::from_utf8(body) {
        Ok("") => (None, None),
        Ok(text) => (Some(text), None),
        Err(_) => (None, Some(STANDARD.encode(body))),
    };
    let arguments = serde_json::to_vec(&[Envelope { method, uri, body, base64 }]);
    Arguments::from_checked(arguments.expect("texts always render as JSON").into())
}

/// As [`request`], for a body that follows piece by piece: `[{"method":"POST","uri":"/path","stream":true}]`.
#[must_use]
pub fn request_followed_by(method: &str, uri: &str, body: HeldBody) -> Arguments {
    let arguments = json!([{ "method": method, "uri": uri, "stream": true }]).to_string();
    Arguments::from_checked(arguments.into()).followed_by(body)
}

/// The arguments of the function: a request made by [`request`], then its headers as pairs,
/// `[["host","x"],["accept","*/*"]]`. Headers that concern the connection or are not UTF-8 are left out. The headers
/// come last because hooks may change them.
#[must_use]
pub fn with_headers(request: &Arguments, headers: &HeaderMap) -> Arguments {
    request.with_last(&serde_json::to_string(&pairs(headers)).expect("texts always render as JSON"))
}

/// The outcome of a call whose function returned this answer: the result of one that takes whole requests, or a
/// response of any other.
///
/// # Errors
///
/// The result is not an answer; why.
pub fn outcome(result: &[u8]) -> Result<Outcome, String> {
    let Answer { status, headers, body } = answer(result)?;
    Ok(Outcome::answered(status, headers, body))
}

/// Reads a result as an answer: `{"status":200,"headers":[["content-type","text/html"]],"body":"text"}`, or with
/// `base64`.
fn answer(result: &[u8]) -> Result<Answer, String> {
    #[derive(Deserialize)]
    struct Envelope {
        status: u16,
        #[serde(default)]
        headers: Vec<(String, String)>,
        #[serde(default)]
        body: Option<String>,
        #[serde(default)]
        base64: Option<String>,
    }
    let Envelope { status, headers, body, base64 } =
        serde_json::from_slice(result).map_err(|error| error.to_string())?;
    if !(200..600).contains(&status) {
        return Err(format!("status {status}, expected 200 to 599"));
    }
    let body = match (body, base64) {
        (Some(_), Some(_)) => return Err("both body and base64".to_owned()),
        (Some(text), None) => text.into_bytes(),
        (None, Some(text)) => STANDARD.decode(text).map_err(|error| format!("base64: {error}"))?,
        (None, None) => Vec::new(),
    };
    Ok(Answer { status, headers: answer_headers(&headers)?, body: body.into() })
}

/// The status and the headers of an answer whose body is a stream.
///
/// # Errors
///
/// The envelope is not one of an answer without a body; why.
pub fn head(envelope: &[u8]) -> Result<(u16, Vec<(HeaderName, HeaderValue)>), String> {
    let Answer { status, headers, body } = answer(envelope)?;
    if body.is_empty() { Ok((status, headers)) } else { Err("a body besides the stream".to_owned()) }
}

/// Checks headers that a function sets, and leaves out those that are the gateway's.
///
/// # Errors
///
/// One is no header, or they are too many or too large.
pub(super) fn answer_headers(pairs: &[(String, String)]) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let size: usize = pairs.iter().map(|(name, value)| name.len() + value.len()).sum();
    if pairs.len() > HEADER_COUNT || size > HEADERS_LIMIT {
        return Err(format!("{} headers of {size} bytes, limit {HEADER_COUNT} of {HEADERS_LIMIT}", pairs.len()));
    }
    let mut headers = Vec::with_capacity(pairs.len());
    for (name, value) in pairs {
        let checked = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("{name:?} is not a header name"))?;
        let value =
            HeaderValue::from_bytes(value.as_bytes()).map_err(|_| format!("header {name:?} has an invalid value"))?;
        if !is_hop_by_hop(&checked) && !OWN.contains(&checked) {
            headers.push((checked, value));
        }
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(arguments: &Arguments) -> &str {
        std::str::from_utf8(arguments.as_json()).unwrap()
    }

    #[test]
    fn a_request_becomes_an_argument() {
        assert_eq!(text(&request("GET", "/a?b", b"")), r#"[{"method":"GET","uri":"/a?b"}]"#);
        assert_eq!(text(&request("PUT", "/", "ä\n".as_bytes())), r#"[{"method":"PUT","uri":"/","body":"ä\n"}]"#);
        assert_eq!(text(&request("PUT", "/", b"\xff\x00")), r#"[{"method":"PUT","uri":"/","base64":"/wA="}]"#);
    }

    #[test]
    fn headers_of_the_connection_and_headers_that_are_not_utf_8_are_left_out() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", &b"x"[..]),
            ("connection", b"close"),
            ("proxy-authorization", b"x"),
            ("accept", b"a"),
            ("accept", b"b"),
            ("x-umlaut", "ä".as_bytes()),
            ("x-latin", b"\xe4"),
            ("authorization", b"Bearer t"),
            ("cookie", b"a=b"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap());
        }
        let mut pairs = pairs(&headers);
        pairs.sort_unstable();
        let names: Vec<&str> = pairs.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["accept", "accept", "authorization", "cookie", "host", "x-umlaut"]);
    }

    #[test]
    fn a_result_becomes_an_answer() {
        let read = answer(br#"{"status":201,"headers":[["Set-Cookie","a=1"],["set-cookie","b=2"]],"base64":"/wA="}"#);
        let Answer { status, headers, body } = read.unwrap();
        assert_eq!((status, &body[..]), (201, &b"\xff\x00"[..]));
        assert_eq!(headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["set-cookie", "set-cookie"]);
        let read =
            answer(br#"{"status":204,"headers":[["Connection","close"],["Content-Length","7"],["Proxy-X",""]]}"#);
        assert_eq!(read.unwrap(), Answer { status: 204, headers: Vec::new(), body: Bytes::new() });
    }

    #[test]
    fn a_result_that_is_not_an_answer_is_refused() {
        for bad in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"status":"200"}"#,
            r#"{"status":101}"#,
            r#"{"status":600}"#,
            r#"{"status":-1}"#,
            r#"{"status":200,"body":1}"#,
            r#"{"status":200,"body":"a","base64":"YQ=="}"#,
            r#"{"status":200,"base64":"YQ"}"#,
            r#"{"status":200,"base64":"Y\nQ="}"#,
            r#"{"status":200,"headers":{"a":"b"}}"#,
            r#"{"status":200,"headers":[["a"]]}"#,
            r#"{"status":200,"headers":[["a b","c"]]}"#,
            r#"{"status":200,"headers":[["","c"]]}"#,
            r#"{"status":200,"headers":[["a","b\r\nc: d"]]}"#,
        ] {
            assert!(answer(bad.as_bytes()).is_err(), "{bad}");
        }
        let many = format!(r#"{{"status":200,"headers":[{}["a","b"]]}}"#, r#"["a","b"],"#.repeat(HEADER_COUNT));
        assert!(answer(many.as_bytes()).is_err());
    }
}
