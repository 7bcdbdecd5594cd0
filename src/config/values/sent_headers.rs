//! Headers of requests that the gateway makes itself: `{ authorization = "Bearer …" }`. Their values are secrets.

use std::collections::BTreeMap;
use std::fmt;

use http::{HeaderName, HeaderValue};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::config::values::field;
use crate::config::values::secret::Secret;

const WORDS: &str = "a table of headers, such as { authorization = \"Bearer …\" }";
/// Headers that the gateway's HTTP client sets itself.
const OWN: [&str; 7] =
    ["connection", "content-encoding", "content-length", "content-type", "host", "te", "transfer-encoding"];

/// Reads a table of headers.
pub(crate) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Secret>, D::Error> {
    let table = deserializer.deserialize_map(HeadersVisitor)?;
    Ok(table.into_iter().map(|(Name(name), Value(value))| (name, value)).collect())
}

/// The schema of such a table.
pub(crate) fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "additionalProperties": { "type": "string" }, "default": {} })
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Name(String);

struct Value(Secret);

struct HeadersVisitor;

impl<'de> Visitor<'de> for HeadersVisitor {
    type Value = BTreeMap<Name, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(WORDS)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut headers = BTreeMap::new();
        while let Some((name, value)) = items.next_entry()? {
            headers.insert(name, value);
        }
        Ok(headers)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        match HeaderName::from_bytes(name.as_bytes()) {
            Ok(header) if OWN.contains(&header.as_str()) => {
                Err(field::refused(&format!("the gateway sets {name:?} itself"), WORDS))
            }
            Ok(_) => Ok(Self(name)),
            Err(_) => Err(field::refused(&format!("{name:?} is not the name of a header"), WORDS)),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let secret = Secret::deserialize(deserializer)?;
        match HeaderValue::from_str(secret.expose()) {
            Ok(_) => Ok(Self(secret)),
            Err(_) => Err(field::refused("it has control characters", "the value of a header")),
        }
    }
}
