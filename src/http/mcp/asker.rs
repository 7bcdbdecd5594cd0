//! Which call asks: the state that a function keeps meanwhile counts for this one only.

use std::collections::BTreeMap;

use http::HeaderValue;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::hex;
use crate::http::mcp::function_call::Given;

/// A call whose function may ask.
#[derive(Debug)]
pub struct Asker {
    /// `<deployment>/<function>`
    pub function: String,
    /// The arguments.
    pub given: Given,
    /// What the client proves with who it is.
    pub authorization: Option<HeaderValue>,
}

impl Asker {
    /// A text that only calls of this function with these arguments, by this client, have.
    #[must_use]
    pub fn label(&self) -> String {
        let mut digest = Sha256::new();
        let mut add = |bytes: &[u8]| {
            digest.update((bytes.len() as u64).to_be_bytes());
            digest.update(bytes);
        };
        match &self.given {
            Given::Object(text, _) => add(arguments(text).as_bytes()),
            Given::Texts(pairs) => pairs.iter().for_each(|(name, value)| {
                add(name.as_bytes());
                add(value.as_bytes());
            }),
        }
        add(self.authorization.as_ref().map(HeaderValue::as_bytes).unwrap_or_default());
        format!("{} {}", self.function, hex::text(&digest.finalize()))
    }
}

/// Arguments as a text that does not depend on the order of keys, nor on blanks.
fn arguments(text: &[u8]) -> String {
    serde_json::from_slice(text).map_or_else(|_| String::from_utf8_lossy(text).into_owned(), |value| ordered(&value))
}

fn ordered(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members: BTreeMap<&str, String> =
                members.iter().map(|(key, value)| (key.as_str(), ordered(value))).collect();
            format!("{members:?}")
        }
        Value::Array(items) => format!("{:?}", items.iter().map(ordered).collect::<Vec<_>>()),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn label(function: &str, arguments: &'static str, authorization: Option<&'static str>) -> String {
        let given = Given::Object(Bytes::from_static(arguments.as_bytes()), None);
        let authorization = authorization.map(HeaderValue::from_static);
        Asker { function: function.to_owned(), given, authorization }.label()
    }

    #[test]
    fn labels_tell_functions_arguments_and_clients_apart() {
        let own = label("a/f", r#"{"amount": 1, "of": {"x": [1, 2], "y": null}}"#, Some("Bearer a"));
        assert_eq!(own, label("a/f", r#"{"of":{"y":null,"x":[1,2]},"amount":1}"#, Some("Bearer a")));
        for other in [
            label("a/g", r#"{"amount": 1, "of": {"x": [1, 2], "y": null}}"#, Some("Bearer a")),
            label("a/f", r#"{"amount": 2, "of": {"x": [1, 2], "y": null}}"#, Some("Bearer a")),
            label("a/f", r#"{"amount": "1", "of": {"x": [1, 2], "y": null}}"#, Some("Bearer a")),
            label("a/f", r#"{"amount": 1, "of": {"x": [2, 1], "y": null}}"#, Some("Bearer a")),
            label("a/f", r#"{"amount": 1, "of": {"x": [1, 2], "y": null}}"#, Some("Bearer b")),
            label("a/f", r#"{"amount": 1, "of": {"x": [1, 2], "y": null}}"#, None),
        ] {
            assert_ne!(own, other);
        }
    }
}
