//! How WebAssembly functions return a `list<u8>`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

use crate::config::values::field;

const BYTES_WORDS: &str = "\"base64\" or \"array\"";

/// How a `list<u8>` is written in the JSON of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BytesRule {
    /// Standard base64 with padding.
    Base64,
    /// Numbers from 0 to 255.
    Array,
}

impl BytesRule {
    const ALL: [Self; 2] = [Self::Base64, Self::Array];

    /// Its name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Base64 => "base64",
            Self::Array => "array",
        }
    }
}

impl fmt::Display for BytesRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl JsonSchema for BytesRule {
    fn schema_name() -> Cow<'static, str> {
        "BytesRule".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": Self::ALL.map(Self::name) })
    }
}

/// Reads the rule.
pub(crate) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BytesRule, D::Error> {
    field::text(deserializer, BYTES_WORDS, |text| {
        let named = BytesRule::ALL.into_iter().find(|rule| rule.name() == text);
        named.ok_or_else(|| format!("{text:?} is not {BYTES_WORDS}"))
    })
}
