//! A request's body as one JSON object of a known shape.

use serde::de::DeserializeOwned;

use crate::http::error::{Code, Problem};

/// Reads a body; one that is not JSON or lacks a field is told with line and column.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::new(Code::InvalidJson, error.to_string()))
}
