//! The key of signatures of Standard Webhooks: `"whsec_…"`.
//! Source: <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

use crate::config::values::field;

const WORDS: &str = "24 to 64 bytes in base64, with or without \"whsec_\" before them";
const PREFIX: &str = "whsec_";

/// A key that neither `Debug` nor `Display` prints.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret(Box<[u8]>);

impl SigningSecret {
    /// The key, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for SigningSecret {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let key = STANDARD.decode(text.strip_prefix(PREFIX).unwrap_or(text)).ok();
        let key = key.filter(|key| (24..=64).contains(&key.len()));
        key.map(|key| Self(key.into())).ok_or_else(|| format!("it is not {WORDS}"))
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(…)")
    }
}

impl<'de> Deserialize<'de> for SigningSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        field::text(deserializer, WORDS, str::parse)
    }
}

impl JsonSchema for SigningSecret {
    fn schema_name() -> Cow<'static, str> {
        "SigningSecret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_enough_bytes_and_is_not_printed() {
        let key: SigningSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        assert_eq!(key.expose().len(), 24);
        assert_eq!(format!("{key:?}"), "SigningSecret(…)");
        assert_eq!("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse(), Ok(key));
        for bad in ["", "whsec_", "whsec_c2hvcnQ=", "not base64 at all, not base64 at all"] {
            let message = bad.parse::<SigningSecret>().unwrap_err();
            assert!(message.contains("24 to 64 bytes"), "{message}");
        }
    }
}
