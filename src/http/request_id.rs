//! The id that every answer carries: the client's if it sent a sane one, else a new one.

use http::{HeaderMap, HeaderName, HeaderValue};
use ulid::Ulid;

/// The header in which it comes and goes.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");
const LENGTH_LIMIT: usize = 128;

/// The id of a request.
#[must_use]
pub fn of(headers: &HeaderMap) -> HeaderValue {
    match headers.get(HEADER) {
        Some(value) if is_sane(value.as_bytes()) => value.clone(),
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

fn is_sane(id: &[u8]) -> bool {
    (1..=LENGTH_LIMIT).contains(&id.len())
        && id.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'+' | b'/' | b'='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_id_is_kept_only_if_it_is_sane() {
        let id_of = |value: &'static str| {
            of(&HeaderMap::from_iter([(HEADER, HeaderValue::from_static(value))])).to_str().unwrap().to_owned()
        };
        assert_eq!(id_of("abc-123"), "abc-123");
        for odd in ["", "a b", "<script>", "\"x\""] {
            assert_eq!(id_of(odd).len(), ulid::ULID_LEN, "{odd}");
        }
    }
}
