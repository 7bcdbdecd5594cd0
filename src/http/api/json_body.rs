//! Bodies of API requests: one JSON object of a known shape.

use serde::de::DeserializeOwned;

use crate::http::problem::{Code, Problem};

/// Reads a body.
///
/// # Errors
///
/// `invalid_json` with line and column for a body that is not a JSON object or lacks a field.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
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
        assert_eq!(read::<Body>(b" {\"suffix\":\"x\"}").unwrap().suffix, "x");
        for bad in ["", "[\"x\"]", "\"x\"", "{}", "{\"suffix\":1}", "{"] {
            assert_eq!(read::<Body>(bad.as_bytes()).unwrap_err().code(), Code::InvalidJson, "{bad}");
        }
    }
}
