//! Values of a message that headers repeat, so that proxies need not read bodies: both must say the same. Rules:
//! <https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#server-validation>.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use serde_json::Value;

use crate::describe::mirrored::MirroredParameter;
use crate::http::mcp::rpc_error::RpcError;

/// Checks the headers that repeat parameters of a tool.
///
/// # Errors
///
/// One says something else than the arguments, or one of both is missing.
pub fn check_parameters(
    mirrored: &[MirroredParameter],
    arguments: &Value,
    headers: &HeaderMap,
) -> Result<(), RpcError> {
    for MirroredParameter { header: name, path, is_integer } in mirrored {
        let name = name.as_str();
        let header = single(headers, name)?.map(decoded).transpose()?;
        let value = path.iter().try_fold(arguments, |value, step| value.get(step)).filter(|value| !value.is_null());
        let Some(value) = value else {
            if header.is_some() {
                let message = format!("header mismatch: {name} has a value, and the arguments have none");
                return Err(RpcError::header_mismatch(message));
            }
            continue;
        };
        let text = match value {
            Value::String(text) => Cow::Borrowed(text.as_str()),
            // No client can repeat it. That it is no value of this parameter is an error of the call.
            Value::Array(_) | Value::Object(_) if header.is_none() => continue,
            value => Cow::Owned(value.to_string()),
        };
        let same_number = |header: &str| *is_integer && value.is_number() && is_same_number(header, &text);
        if !header.as_deref().is_some_and(same_number) {
            check_header(name, header.as_deref(), &text)?;
        }
    }
    Ok(())
}

/// Whether two texts are the same whole number: `42` and `42.0` are.
fn is_same_number(one: &str, other: &str) -> bool {
    let whole = |text: &str| {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        fraction.bytes().all(|byte| byte == b'0').then(|| whole.parse::<i128>().ok()).flatten()
    };
    whole(one).is_some_and(|one| Some(one) == whole(other))
}

/// Checks a header that repeats a value.
///
/// # Errors
///
/// It says something else, or is missing.
pub fn check_header(name: &str, header: Option<&str>, in_body: &str) -> Result<(), RpcError> {
    match header {
        Some(header) if header == in_body => Ok(()),
        Some(header) => {
            let message = format!("header mismatch: {name} is {header:?}, and the body has {in_body:?}");
            Err(RpcError::header_mismatch(message))
        }
        None => Err(RpcError::header_mismatch(format!("header mismatch: {name} is missing"))),
    }
}

/// The value of a header that may occur once.
///
/// # Errors
///
/// It occurs several times, or is no text.
pub fn single<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, RpcError> {
    let mut values = headers.get_all(name).iter();
    let (first, second) = (values.next(), values.next());
    let Some(first) = first else { return Ok(None) };
    let text = first.to_str().ok().filter(|_| second.is_none());
    let malformed = || RpcError::header_mismatch(format!("header mismatch: {name} is one line of ASCII"));
    text.map(|text| Some(text.trim_matches([' ', '\t']))).ok_or_else(malformed)
}

/// The value of a header that may be encoded: `=?base64?…?=`.
///
/// # Errors
///
/// It is encoded wrongly.
pub fn decoded(value: &str) -> Result<Cow<'_, str>, RpcError> {
    let Some(encoded) = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) else {
        return Ok(Cow::Borrowed(value));
    };
    let text = STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    text.map(Cow::Owned).ok_or_else(|| RpcError::header_mismatch(format!("header mismatch: {value:?} is no base64")))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use serde_json::json;

    use super::*;

    #[test]
    fn headers_and_arguments_say_the_same_or_nothing() {
        let of = |name: &str, is_integer| MirroredParameter {
            header: format!("mcp-param-{name}").parse().unwrap(),
            path: vec!["at".to_owned(), name.to_owned()],
            is_integer,
        };
        let mirrored = [of("a", false), of("n", true)];
        let check = |at: Value, headers: &[(&'static str, &'static str)]| {
            let of_text = |(name, value): &(&'static str, &'static str)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            let headers = headers.iter().map(of_text).collect();
            check_parameters(&mirrored, &json!({"at": at}), &headers).map_err(|error| error.code)
        };
        let (a, n) = ("mcp-param-a", "mcp-param-n");
        for (at, headers) in [
            (json!({}), &[][..]),
            (json!({"a": null, "n": [1]}), &[]),
            (json!({"a": "x"}), &[(a, "x")]),
            (json!({"a": "größe"}), &[(a, "=?base64?Z3LDtsOfZQ==?=")]),
            (json!({"a": true, "n": 42}), &[(a, "true"), (n, "42.0")]),
            (json!({"n": 42.0}), &[(n, "42")]),
        ] {
            assert_eq!(check(at.clone(), headers), Ok(()), "{at} {headers:?}");
        }
        for (at, headers) in [
            (json!({}), &[(a, "x")][..]),
            (json!({"a": "x"}), &[]),
            (json!({"a": "x"}), &[(a, "y")]),
            (json!({"a": "x"}), &[(a, "x"), (a, "x")]),
            (json!({"a": "x"}), &[(a, "=?base64?eA?=")]),
            (json!({"n": 42}), &[(n, "42.5")]),
            (json!({"n": [1]}), &[(n, "[2]")]),
        ] {
            assert_eq!(check(at.clone(), headers), Err(RpcError::HEADER_MISMATCH), "{at} {headers:?}");
        }
    }
}
