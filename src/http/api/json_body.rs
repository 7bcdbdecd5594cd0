//! Bodies of API requests: one JSON object of a known shape. Large ones are read on another thread, because they take
//! long enough to delay calls.

use bytes::Bytes;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::Number;
use tokio::task::spawn_blocking;

use crate::http::problem::{Code, Problem};

/// Bodies of at most this length, in bytes, are read at once.
const SMALL: usize = 64 << 10;

/// Reads a body.
///
/// # Errors
///
/// `invalid_json` with line and column for a body that is not a JSON object or lacks a field.
pub async fn read<T: DeserializeOwned + Send + 'static>(body: Bytes) -> Result<T, Problem> {
    read_and(body, Ok).await
}

/// Reads a body, and has `work` make something of it.
///
/// # Errors
///
/// Those of [`read`] and of `work`.
pub async fn read_and<T: DeserializeOwned, U: Send + 'static>(
    body: Bytes,
    work: impl FnOnce(T) -> Result<U, Problem> + Send + 'static,
) -> Result<U, Problem> {
    if body.len() <= SMALL {
        return work(parse(&body)?);
    }
    let working = spawn_blocking(move || work(parse(&body)?));
    working.await.unwrap_or_else(|_| Err(Problem::new(Code::Internal, "the body was not read")))
}

/// A whole number, or none. For JSON `1.0` is `1`, for the types of Rust it is not.
///
/// # Errors
///
/// It is not whole, or the type does not have it.
pub fn whole<'de, D: Deserializer<'de>, T: TryFrom<u64>>(deserializer: D) -> Result<Option<T>, D::Error> {
    let Some(number) = Option::<Number>::deserialize(deserializer)? else { return Ok(None) };
    // Written without a fraction, a whole float has the digits of the number.
    let digits = number.as_f64().filter(|float| float.fract() == 0.0).map(|float| float.to_string());
    let number = number.as_u64().or_else(|| digits?.parse().ok()).and_then(|number| T::try_from(number).ok());
    number.map(Some).ok_or_else(|| D::Error::custom("expected a whole number from 0"))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let text = body.trim_ascii_start();
    // serde would accept an array of the fields in order as the struct.
    if !text.is_empty() && !text.starts_with(b"{") {
        return Err(Problem::new(Code::InvalidJson, "the body is not a JSON object at line 1 column 1"));
    }
    serde_json::from_slice(body).map_err(|error| Problem::new(Code::InvalidJson, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_may_have_a_fraction_of_zero() {
        #[derive(Debug, Deserialize)]
        struct Body {
            #[serde(default, deserialize_with = "whole")]
            number: Option<u8>,
        }
        let read = |text: &str| parse::<Body>(text.as_bytes()).map(|body| body.number);
        for (text, number) in [("{}", None), (r#"{"number":null}"#, None), (r#"{"number":2}"#, Some(2))] {
            assert_eq!(read(text).unwrap(), number, "{text}");
        }
        assert_eq!(read(r#"{"number":2.0}"#).unwrap(), Some(2));
        for bad in ["-1", "-1.0", "2.5", "256.0", "1e300", "\"2\"", "true"] {
            assert_eq!(read(&format!("{{\"number\":{bad}}}")).unwrap_err().code(), Code::InvalidJson, "{bad}");
        }
    }

    #[test]
    fn only_objects_are_read() {
        #[derive(Debug, serde::Deserialize)]
        struct Body {
            suffix: String,
        }
        assert_eq!(parse::<Body>(b" {\"suffix\":\"x\"}").unwrap().suffix, "x");
        for bad in ["", "[\"x\"]", "\"x\"", "{}", "{\"suffix\":1}", "{"] {
            assert_eq!(parse::<Body>(bad.as_bytes()).unwrap_err().code(), Code::InvalidJson, "{bad}");
        }
    }
}
