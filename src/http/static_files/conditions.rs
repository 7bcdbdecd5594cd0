//! What a request's conditions say about a file: send it, send a part, or say that the client has it (RFC 9110, section
//! 13.2.2, in that order).

use std::time::SystemTime;

use http::header::{HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE};
use http::{HeaderMap, Method};

use crate::http::static_files::file::StaticFile;
use crate::http::static_files::range::{self, Wanted};

/// What the answer is to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The whole file.
    Whole,
    /// The bytes from the first to the last of these.
    Part(u64, u64),
    /// The client has it as it is.
    NotModified,
    /// It is not what the client takes it for.
    Changed,
    /// It has no such bytes.
    Unsatisfiable,
}

/// Reads the request's conditions.
pub(super) fn check(method: &Method, headers: &HeaderMap, file: &StaticFile) -> Verdict {
    let as_expected = match (tags(headers, &IF_MATCH), date(headers, &IF_UNMODIFIED_SINCE)) {
        (Some(tags), _) => names(&tags, &file.etag, Comparison::Strong),
        (None, Some(date)) => file.modified <= date,
        (None, None) => true,
    };
    if !as_expected {
        return Verdict::Changed;
    }
    let is_known = match (tags(headers, &IF_NONE_MATCH), date(headers, &IF_MODIFIED_SINCE)) {
        (Some(tags), _) => names(&tags, &file.etag, Comparison::Weak),
        (None, Some(date)) => file.modified <= date,
        (None, None) => false,
    };
    if is_known {
        return Verdict::NotModified;
    }
    let Some(range) = headers.get(RANGE) else { return Verdict::Whole };
    if *method != Method::GET || !continues(headers, file) {
        return Verdict::Whole;
    }
    match range::parse(range.as_bytes(), file.size) {
        Wanted::Whole => Verdict::Whole,
        Wanted::Part(first, last) => Verdict::Part(first, last),
        Wanted::Unsatisfiable => Verdict::Unsatisfiable,
    }
}

/// Whether the part that the client has already is of this very file.
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
    /// `W/` before a tag does not matter.
    Weak,
}

/// Whether one of the tags is this one, or `*`, which is any.
fn names(tags: &str, etag: &str, comparison: Comparison) -> bool {
    // Our own tags have no comma in them.
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

/// A date that cannot be read counts as none.
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

    fn verdict(method: &Method, conditions: &[(&'static str, &'static str)]) -> Verdict {
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
            (&[][..], Verdict::Whole),
            (&[("if-none-match", "\"a-1\"")], Verdict::NotModified),
            (&[("if-none-match", "\"b\", W/\"a-1\"")], Verdict::NotModified),
            (&[("if-none-match", "\"b\""), ("if-none-match", "\"a-1\"")], Verdict::NotModified),
            (&[("if-none-match", "*")], Verdict::NotModified),
            (&[("if-none-match", "\"b\"")], Verdict::Whole),
            (&[("if-none-match", "\"b\""), ("if-modified-since", LATER)], Verdict::Whole),
            (&[("if-modified-since", THEN)], Verdict::NotModified),
            (&[("if-modified-since", BEFORE)], Verdict::Whole),
            (&[("if-modified-since", "yesterday")], Verdict::Whole),
            (&[("if-match", "\"a-1\"")], Verdict::Whole),
            (&[("if-match", "W/\"a-1\"")], Verdict::Changed),
            (&[("if-match", "\"b\""), ("if-none-match", "\"a-1\"")], Verdict::Changed),
            (&[("if-unmodified-since", THEN)], Verdict::Whole),
            (&[("if-unmodified-since", BEFORE)], Verdict::Changed),
            (&[("range", "bytes=1-2")], Verdict::Part(1, 2)),
            (&[("range", "bytes=10-")], Verdict::Unsatisfiable),
            (&[("range", "bytes=1-2"), ("if-none-match", "\"a-1\"")], Verdict::NotModified),
            (&[("range", "bytes=1-2"), ("if-range", "\"a-1\"")], Verdict::Part(1, 2)),
            (&[("range", "bytes=1-2"), ("if-range", "\"b\"")], Verdict::Whole),
            (&[("range", "bytes=1-2"), ("if-range", "W/\"a-1\"")], Verdict::Whole),
            (&[("range", "bytes=1-2"), ("if-range", THEN)], Verdict::Part(1, 2)),
            (&[("range", "bytes=1-2"), ("if-range", LATER)], Verdict::Whole),
        ] {
            assert_eq!(verdict(&Method::GET, conditions), expected, "{conditions:?}");
        }
    }

    #[test]
    fn a_range_is_for_get_alone() {
        assert_eq!(verdict(&Method::HEAD, &[("range", "bytes=1-2")]), Verdict::Whole);
    }
}
