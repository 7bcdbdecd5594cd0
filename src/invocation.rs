//! One call of one function: its arguments, still JSON text, and what came of it.

use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The arguments of a call: a JSON array on one line, as text. Numbers and key order are as the caller wrote them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arguments {
    json: Bytes,
    names: Option<Box<str>>,
}

impl Arguments {
    /// No arguments at all.
    #[must_use]
    pub fn none() -> Self {
        Self::on_one_line(Bytes::from_static(b"[]"))
    }

    /// Takes the text of a JSON array that its maker has checked; line breaks become spaces, because a message of the
    /// channel is one line and in JSON a raw line break is always white space.
    #[must_use]
    pub fn from_checked(text: Bytes) -> Self {
        if memchr::memchr2(b'\n', b'\r', &text).is_none() {
            return Self::on_one_line(text);
        }
        let mut line = text.to_vec();
        for byte in &mut line {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        Self::on_one_line(line.into())
    }

    fn on_one_line(json: Bytes) -> Self {
        Self { json, names: None }
    }

    /// With one argument more, JSON on one line, and without names.
    #[must_use]
    pub fn with_last(&self, argument: &str) -> Self {
        let array = self.json.trim_ascii_end();
        let open = array.strip_suffix(b"]").unwrap_or(array);
        let comma = if open.trim_ascii() == b"[" { "" } else { "," };
        Self::on_one_line([open, comma.as_bytes(), argument.as_bytes(), b"]"].concat().into())
    }

    /// With the names that the caller gave the arguments, in their order.
    #[must_use]
    pub fn named(self, names: &[&str]) -> Self {
        let names = serde_json::to_string(names).expect("texts always render as JSON");
        Self { names: Some(names.into()), ..self }
    }

    /// The array as JSON text, without a line break.
    #[must_use]
    pub fn as_json(&self) -> &[u8] {
        &self.json
    }

    /// The names as a JSON array on one line; none where the caller gave none, or nobody wanted to know.
    #[must_use]
    pub fn names(&self) -> Option<&str> {
        self.names.as_deref()
    }
}

/// What a function gave back: JSON text, or nothing for `undefined`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Returned(pub Option<Bytes>);

/// An error that the function itself raised.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, thiserror::Error)]
#[error("{name}: {message}")]
pub struct FunctionError {
    /// Class of the error: `TypeError`, `KeyError`, …
    #[serde(default = "error_name")]
    pub name: String,
    /// The function's own words.
    #[serde(default)]
    pub message: String,
    /// The stack, for the log; callers do not see it.
    #[serde(default)]
    pub stack: Option<String>,
    /// What is to blame.
    #[serde(default)]
    pub kind: ErrorKind,
    /// The error's own value as JSON, if it has one.
    #[serde(default, deserialize_with = "json_text")]
    pub payload: Option<Bytes>,
}

impl FunctionError {
    /// What callers are told in words.
    #[must_use]
    pub fn told(&self) -> String {
        match self.kind {
            ErrorKind::Argument => self.message.clone(),
            ErrorKind::Function => self.to_string(),
        }
    }
}

/// What is to blame for an error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The arguments do not fit the function.
    Argument,
    /// The function itself, or what nobody knows a name for.
    #[default]
    #[serde(other)]
    Function,
}

fn error_name() -> String {
    "Error".to_owned()
}

/// Any JSON as its text, `null` too.
fn json_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Bytes>, D::Error> {
    let value = Box::<RawValue>::deserialize(deserializer)?;
    Ok(Some(Bytes::from(String::from(Box::<str>::from(value)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_one_line() {
        let arguments = Arguments::from_checked(Bytes::from_static(b"[1,\r\n \"a\\n\"]"));
        assert_eq!(arguments.as_json(), b"[1,   \"a\\n\"]");
    }

    #[test]
    fn an_argument_more_comes_last() {
        for (before, after) in [("[]", "[7]"), (" [ ] ", " [ 7]"), ("[1]", "[1,7]"), ("[[]] ", "[[],7]")] {
            let arguments = Arguments::from_checked(Bytes::from_static(before.as_bytes())).with_last("7");
            assert_eq!(arguments.as_json(), after.as_bytes());
        }
    }

    #[test]
    fn names_are_one_line() {
        let arguments = Arguments::none().named(&["b", "two\nlines", "\"q\""]);
        assert_eq!(arguments.names(), Some(r#"["b","two\nlines","\"q\""]"#));
    }

    #[test]
    fn an_error_keeps_its_payload_as_it_was_written() {
        let read = |text: &str| serde_json::from_str::<FunctionError>(text).unwrap();
        let error = read(r#"{"name":"E","message":"m","kind":"argument","payload":{"b":1.0,"a":[ ]}}"#);
        assert_eq!((error.kind, error.payload.as_deref()), (ErrorKind::Argument, Some(&br#"{"b":1.0,"a":[ ]}"#[..])));
        assert_eq!(error.told(), "m");
        let error = read(r#"{"name":"E","message":"m","kind":"later","payload":null}"#);
        assert_eq!((error.kind, error.payload.as_deref()), (ErrorKind::Function, Some(&b"null"[..])));
        assert_eq!(error.told(), "E: m");
        assert_eq!(read("{}").payload, None);
    }
}
