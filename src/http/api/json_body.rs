//! Bodies of API requests: one JSON object of a known shape. Large ones are read on another thread, because they take
//! long enough to delay calls.

use bytes::Bytes;
use serde::de::DeserializeOwned;
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
