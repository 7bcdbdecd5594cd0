//! The conditions of a request for a file: whether to send it, a part of it, or neither (RFC 9110, section 13.2.2, in
//! that order).

use std::time::SystemTime;

use http::header::{HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE};
use http::{HeaderMap, Method};

use crate::http::static_files::file::StaticFile;
use crate::http::static_files::range::{self, Wanted};

/// The result of the conditions.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Precondition {
    /// The whole file.
    Whole,
    /// The bytes from the first to the last of these.
    Part(u64, u64),
    /// The client has the current file.
    NotModified,
    /// The file is not the one that the client expects.
    Changed,
    /// The file does not have the bytes of the range.
    Unsatisfiable,
}

/// Evaluates the conditions of a request.
pub(super) fn check(method: &Method, headers: &HeaderMap, file: &StaticFile) -> Precondition {
    let as_expected = match (tags(headers, &IF_MATCH), date(headers, &IF_UNMODIFIED_SINCE)) {
        (Some(tags), _) => names(&tags, &file.etag, Comparison::Strong),
        (None, Some(date)) => file.modified <= date,
        (None, None) => true,
    };
    if !as_expected {
        return Precondition::Changed;
    }
    let is_known = match (tags(headers, &IF_NONE_MATCH), date(headers, &IF_MODIFIED_SINCE)) {
        (Some(tags), _) => names(&tags, &file.etag, Comparison::Weak),
        (None, Some(date)) => file.modified <= date,
        (None, None) => false,
    };
    if is_known {
        return Precondition::NotModified;
    }
    let Some(range) = headers.get(RANGE) else { return Precondition::Whole };
    if *method != Method::GET || !continues(headers, file) {
        return Precondition::Whole;
    }
    match range::parse(range.as_bytes(), file.size) {
        Wanted::Whole => Precondition::Whole,
        Wanted::Part(first, last) => Precondition::Part(first, last),
        Wanted::Unsatisfiable => Precondition::Unsatisfiable,
    }
}

/// Whether the part that the client already has belongs to the current file (`If-Range`).
fn continues(headers: &HeaderMap, file: &StaticFile) -> bool {
    match headers.get(IF_RANGE).map(|value| value.to_str()) {
        None => true,
        Some(Ok(text)) if text.starts_with('"') => text.trim_end() == file.etag,
        Some(Ok(text)) => httpdate::parse_http_date(text).is_ok_and(|date| date == file.modified),
        Some(Err(_)) => false,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    /// `W/` in front of a tag is ignored.
    Weak,
}

/// Whether one of the tags is this one, or `*`, which stands for every tag.
fn names(tags: &str, etag: &str, comparison: Comparison) -> bool {
    // Tags of this gateway contain no comma.
    tags.split(',').map(str::trim).any(|tag| {
        let tag = match comparison {
            Comparison::Strong => tag,
            Comparison::Weak => tag.strip_prefix("W/").unwrap_or(tag),
        };
        tag == "*" || tag == etag
    })
}

fn tags(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values: Vec<_> = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    if values.is_empty() { None } else { Some(values.join(",")) }
}

/// A date that cannot be parsed counts as no date.
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn verdict(method: &Method, conditions: &[(&'static str, &'static str)]) -> Precondition {
        let file = StaticFile {
            file: Arc::new(tempfile::tempfile().unwrap()),
            size: 10,
            modified: UNIX_EPOCH + Duration::from_secs(784_111_777),
            etag: "\"a-1\"".to_owned(),
        };
        let mut headers = HeaderMap::new();
        for (name, value) in conditions {
            headers.append(*name, value.parse().unwrap());
        }
        check(method, &headers, &file)
    }

    #[test]
    fn conditions_are_read_in_their_order() {
        for (conditions, expected) in [
            (&[][..], Precondition::Whole),
            (&[("if-none-match", "\"a-1\"")], Precondition::NotModified),
            (&[("if-none-match", "\"b\", W/\"a-1\"")], Precondition::NotModified),
            (&[("if-none-match", "\"b\""), ("if-none-match", "\"a-1\"")], Precondition::NotModified),
            (&[("if-none-match", "*")], Precondition::NotModified),
            (&[("if-none-match", "\"b\"")], Precondition::Whole),
            (&[("if-none-match", "\"b\""), ("if-modified-since", LATER)], Precondition::Whole),
            (&[("if-modified-since", THEN)], Precondition::NotModified),
            (&[("if-modified-since", BEFORE)], Precondition::Whole),
            (&[("if-modified-since", "yesterday")], Precondition::Whole),
            (&[("if-match", "\"a-1\"")], Precondition::Whole),
            (&[("if-match", "W/\"a-1\"")], Precondition::Changed),
            (&[("if-match", "\"b\""), ("if-none-match", "\"a-1\"")], Precondition::Changed),
            (&[("if-unmodified-since", THEN)], Precondition::Whole),
            (&[("if-unmodified-since", BEFORE)], Precondition::Changed),
            (&[("range", "bytes=1-2")], Precondition::Part(1, 2)),
            (&[("range", "bytes=10-")], Precondition::Unsatisfiable),
            (&[("range", "bytes=1-2"), ("if-none-match", "\"a-1\"")], Precondition::NotModified),
            (&[("range", "bytes=1-2"), ("if-range", "\"a-1\"")], Precondition::Part(1, 2)),
            (&[("range", "bytes=1-2"), ("if-range", "\"b\"")], Precondition::Whole),
            (&[("range", "bytes=1-2"), ("if-range", "W/\"a-1\"")], Precondition::Whole),
            (&[("range", "bytes=1-2"), ("if-range", THEN)], Precondition::Part(1, 2)),
            (&[("range", "bytes=1-2"), ("if-range", LATER)], Precondition::Whole),
        ] {
            assert_eq!(verdict(&Method::GET, conditions), expected, "{conditions:?}");
        }
    }

    #[test]
    fn a_range_is_for_get_alone() {
        assert_eq!(verdict(&Method::HEAD, &[("range", "bytes=1-2")]), Precondition::Whole);
    }
}
