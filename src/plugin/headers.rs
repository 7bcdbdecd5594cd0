//! Headers that plugins set: checked like those of clients. Headers that frame an answer, or that the gateway sets
//! itself, are refused.

use http::{HeaderName, HeaderValue};

/// Headers of an answer that belong to the connection or to the gateway.
const OWN: [&str; 16] = [
    "connection",
    "content-encoding",
    "content-length",
    "date",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-metagate-error",
    "x-request-id",
    "proxy-authorization",
];
/// Largest number of headers that plugins may set on one answer, and their largest size in bytes.
const COUNT_LIMIT: usize = 64;
const SIZE_LIMIT: usize = 32 << 10;

/// Checks a header.
pub(super) fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let checked =
        HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("{name:?} is not a valid header name"))?;
    let value = HeaderValue::from_str(value).map_err(|_| format!("the value of the header {name:?} is not valid"))?;
    Ok((checked, value))
}

/// Checks a header of an answer.
pub(super) fn answer_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = header(name, value)?;
    if OWN.contains(&name.as_str()) {
        return Err(format!("the header {:?} is reserved for the gateway", name.as_str()));
    }
    Ok((name, value))
}

/// Checks all headers of an answer.
pub(super) fn answer_headers<'a>(
    pairs: impl ExactSizeIterator<Item = (&'a str, &'a str)>,
) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    if pairs.len() > COUNT_LIMIT {
        return Err(format!("{} headers exceed the limit of {COUNT_LIMIT}", pairs.len()));
    }
    let headers = pairs.map(|(name, value)| answer_header(name, value)).collect::<Result<Vec<_>, _>>()?;
    check_size(&headers)?;
    Ok(headers)
}

/// Sets a header of an answer; replaces all of the same name.
pub(super) fn set(headers: &mut Vec<(HeaderName, HeaderValue)>, name: &str, value: &str) -> Result<(), String> {
    let (name, value) = answer_header(name, value)?;
    headers.retain(|(there, _)| *there != name);
    headers.push((name, value));
    if headers.len() > COUNT_LIMIT {
        headers.pop();
        return Err(format!("more than {COUNT_LIMIT} headers"));
    }
    check_size(headers).inspect_err(|_| drop(headers.pop()))
}

/// Checks the number and the size of the headers of an answer.
pub(super) fn check(headers: &[(HeaderName, HeaderValue)]) -> Result<(), String> {
    if headers.len() > COUNT_LIMIT {
        return Err(format!("{} headers exceed the limit of {COUNT_LIMIT}", headers.len()));
    }
    check_size(headers)
}

fn check_size(headers: &[(HeaderName, HeaderValue)]) -> Result<(), String> {
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if size > SIZE_LIMIT { Err(format!("headers of {size} bytes exceed the limit of {SIZE_LIMIT}")) } else { Ok(()) }
}
