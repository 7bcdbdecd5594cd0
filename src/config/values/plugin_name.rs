//! Names of plugins.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::values::field;

const NAME_LIMIT: usize = 64;
const NAME_PATTERN: &str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$";
const NAME_WORDS: &str = "a name: 1 to 64 of A-Z a-z 0-9 . _ -; it must begin with a letter or digit";

/// The reason why a text is not a plugin's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a plugin's name is 1 to 64 of A-Z a-z 0-9 . _ - and must begin with a letter or digit")]
pub struct BadPluginName;

/// The name of a plugin: `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PluginName(Arc<str>);

impl PluginName {
    /// Checks a text and makes it a name.
    pub fn new(text: &str) -> Result<Self, BadPluginName> {
        let form = text.len() <= NAME_LIMIT
            && text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
        if form { Ok(Self(text.into())) } else { Err(BadPluginName) }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for PluginName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PluginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PluginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for PluginName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for PluginName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        field::text(deserializer, NAME_WORDS, Self::new)
    }
}

impl JsonSchema for PluginName {
    fn schema_name() -> Cow<'static, str> {
        "PluginName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": NAME_PATTERN })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugins_name_has_a_fixed_form() {
        for good in ["a", "api-key", "0.rate_limit", "api", "a..b", &"x".repeat(64)] {
            assert_eq!(PluginName::new(good).map(|name| name.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", ".a", "-a", "_a", "a/b", "a b", "ä", "a\0", &"x".repeat(65)] {
            assert_eq!(PluginName::new(bad), Err(BadPluginName), "{bad:?}");
        }
    }
}
