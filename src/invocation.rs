//! One call of one function: its arguments, still JSON text, and what came of it.

use bytes::Bytes;

/// The arguments of a call: a JSON array on one line, as text. Numbers and key order are as the caller wrote them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arguments(Bytes);

impl Arguments {
    /// No arguments at all.
    #[must_use]
    pub fn none() -> Self {
        Self(Bytes::from_static(b"[]"))
    }

    /// Takes the text of a JSON array that its maker has checked; line breaks become spaces, because a message of the
    /// channel is one line and in JSON a raw line break is always white space.
    #[must_use]
    pub fn from_checked(text: Bytes) -> Self {
        if memchr::memchr2(b'\n', b'\r', &text).is_none() {
            return Self(text);
        }
        let mut line = text.to_vec();
        for byte in &mut line {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        Self(line.into())
    }

    /// The array as JSON text, without a line break.
    #[must_use]
    pub fn as_json(&self) -> &[u8] {
        &self.0
    }
}

/// What a function gave back: JSON text, or nothing for `undefined`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Returned(pub Option<Bytes>);

/// An error that the function itself raised.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize, thiserror::Error)]
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
}

fn error_name() -> String {
    "Error".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_one_line() {
        let arguments = Arguments::from_checked(Bytes::from_static(b"[1,\r\n \"a\\n\"]"));
        assert_eq!(arguments.as_json(), b"[1,   \"a\\n\"]");
    }
}
