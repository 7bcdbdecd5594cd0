//! The request id that every answer carries: the client's own if it is well-formed, else a new one.

use http::{HeaderMap, HeaderName, HeaderValue};
use ulid::Ulid;

/// The header of the id, in requests and answers.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");
const LENGTH_LIMIT: usize = 128;

/// The id of a request.
#[must_use]
pub fn of(headers: &HeaderMap) -> HeaderValue {
    match headers.get(HEADER) {
        Some(value) if is_well_formed(value.as_bytes()) => value.clone(),
        _ => fresh(),
    }
}

/// A new id.
#[must_use]
pub fn fresh() -> HeaderValue {
    let mut text = [0; ulid::ULID_LEN];
    let text = Ulid::new().array_to_str(&mut text);
    HeaderValue::from_str(text).expect("an id is letters and digits")
}

/// The id as text.
#[must_use]
pub fn text(id: &HeaderValue) -> &str {
    id.to_str().unwrap_or_default()
}

fn is_well_formed(id: &[u8]) -> bool {
    (1..=LENGTH_LIMIT).contains(&id.len())
        && id.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'+' | b'/' | b'='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_id_is_kept_only_if_it_is_well_formed() {
        let id_of = |value: &'static str| {
            of(&HeaderMap::from_iter([(HEADER, HeaderValue::from_static(value))])).to_str().unwrap().to_owned()
        };
        assert_eq!(id_of("abc-123"), "abc-123");
        for odd in ["", "a b", "<script>", "\"x\""] {
            assert_eq!(id_of(odd).len(), ulid::ULID_LEN, "{odd}");
        }
    }
}
