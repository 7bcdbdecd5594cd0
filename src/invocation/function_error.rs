//! An error that a function raised, as its worker reports it.

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// An error that the function itself raised.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, thiserror::Error)]
#[error("{name}: {message}")]
pub struct FunctionError {
    /// The class of the error: `TypeError`, `KeyError`, …
    #[serde(default = "error_name")]
    pub name: String,
    /// The error's message.
    #[serde(default)]
    pub message: String,
    /// The stack, for the log; callers do not see it.
    #[serde(default)]
    pub stack: Option<String>,
    /// Whether the arguments or the function caused it.
    #[serde(default)]
    pub kind: ErrorKind,
    /// Which argument does not fit, where `kind` says that one does not.
    #[serde(flatten)]
    pub fault: ArgumentFault,
    /// The error's own value as JSON, if it has one.
    #[serde(default, deserialize_with = "json_text")]
    pub payload: Option<Bytes>,
    /// The HTTP status that the error asks for, 400 to 599.
    #[serde(default, deserialize_with = "error_status")]
    pub status: Option<u16>,
    /// Headers of the answer, if the error asks for a status.
    #[serde(default, deserialize_with = "pairs_or_none")]
    pub headers: Vec<(String, String)>,
}

impl FunctionError {
    /// The message that callers see.
    #[must_use]
    pub fn message_for_caller(&self) -> String {
        match (self.kind, self.status) {
            (ErrorKind::Argument | ErrorKind::ResultTooLarge, _) | (ErrorKind::Function, Some(_)) => {
                self.message.clone()
            }
            (ErrorKind::Function, None) => self.to_string(),
        }
    }
}

/// The argument that does not fit a function, as a worker reports it. Every part is optional.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct ArgumentFault {
    /// The argument.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argument: Option<ArgumentName>,
    /// The place inside its value, such as `.items[2].price`; empty for the value itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The type that was expected there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
}

/// How a worker names an argument.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum ArgumentName {
    /// By the parameter.
    Name(String),
    /// By its position, from 1.
    Position(u64),
}

/// The cause of an error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The arguments do not match the function's signature.
    Argument,
    /// The result is longer than a message may be.
    ResultTooLarge,
    /// The function itself, or a kind that this version does not know.
    #[default]
    #[serde(other)]
    Function,
}

fn error_name() -> String {
    "Error".to_owned()
}

/// Reads a status. Anything but 400 to 599 counts as none: the error itself matters more than its decoration.
fn error_status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let status = value.as_u64().and_then(|number| u16::try_from(number).ok());
    Ok(status.filter(|status| (400..600).contains(status)))
}

/// Reads pairs of texts. Anything else counts as none.
fn pairs_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, String)>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// Reads any JSON value as its text, `null` as well.
fn json_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Bytes>, D::Error> {
    let value = Box::<RawValue>::deserialize(deserializer)?;
    Ok(Some(Bytes::from(String::from(Box::<str>::from(value)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_payload_as_it_was_written() {
        let read = |text: &str| serde_json::from_str::<FunctionError>(text).unwrap();
        let error = read(r#"{"name":"E","message":"m","kind":"argument","payload":{"b":1.0,"a":[ ]}}"#);
        assert_eq!((error.kind, error.payload.as_deref()), (ErrorKind::Argument, Some(&br#"{"b":1.0,"a":[ ]}"#[..])));
        assert_eq!(error.message_for_caller(), "m");
        let error = read(r#"{"name":"E","message":"m","kind":"later","payload":null}"#);
        assert_eq!((error.kind, error.payload.as_deref()), (ErrorKind::Function, Some(&b"null"[..])));
        assert_eq!(error.message_for_caller(), "E: m");
        assert_eq!(read("{}").payload, None);
    }

    #[test]
    fn an_error_may_ask_for_a_status() {
        let read = |text: &str| serde_json::from_str::<FunctionError>(text).unwrap();
        let error = read(r#"{"name":"NotFound","message":"no such order","status":404,"headers":[["a","b"]]}"#);
        assert_eq!((error.status, error.message_for_caller().as_str()), (Some(404), "no such order"));
        assert_eq!(error.headers, [("a".to_owned(), "b".to_owned())]);
        for odd in ["200", "399", "600", "99999", "-1", "404.5", "\"404\"", "null", "[]"] {
            let error = read(&format!(r#"{{"name":"E","message":"m","status":{odd},"headers":{odd}}}"#));
            assert_eq!((error.status, error.message_for_caller().as_str()), (None, "E: m"), "{odd}");
        }
    }
}
