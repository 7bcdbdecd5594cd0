//! What the holder of a token may do: `may = ["read", "metrics", "deploy:shop-*", "admin"]`.

use std::fmt;
use std::str::FromStr;

use schemars::json_schema;
use serde::Deserializer;

use crate::config::values::field;
use crate::config::values::pattern::Pattern;
use crate::config::values::written_as_text::written_as_text;

const LIST_WORDS: &str = "a list of what the holder may do, such as [\"metrics\"]";
const WORDS: &str = "\"read\", \"metrics\", \"deploy:<name>\" (* stands for any text) or \"admin\"";

/// One permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permission {
    /// Everything that changes nothing: deployments, plugins, logs, releases, details of readiness, metrics.
    Read,
    /// `/metrics` alone.
    Metrics,
    /// Deploying, rolling back and deleting deployments whose names match, and reading about them.
    Deploy(Pattern),
    /// Everything.
    Admin,
}

impl FromStr for Permission {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.split_once(':')) {
            ("read", _) => Ok(Self::Read),
            ("metrics", _) => Ok(Self::Metrics),
            ("admin", _) => Ok(Self::Admin),
            (_, Some(("deploy", name))) => {
                let pattern = name.parse().map_err(|error| format!("{error}; it takes {WORDS}"))?;
                Ok(Self::Deploy(pattern))
            }
            _ => Err(format!("{text:?} is not {WORDS}")),
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read => f.write_str("read"),
            Self::Metrics => f.write_str("metrics"),
            Self::Deploy(name) => write!(f, "deploy:{name}"),
            Self::Admin => f.write_str("admin"),
        }
    }
}

written_as_text!(
    Permission,
    WORDS,
    json_schema!({ "type": "string", "pattern": "^(read|metrics|admin|deploy:[ -.0-~]{1,128})$" })
);

/// Reads a list of permissions that is not empty.
pub(crate) fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Permission>, D::Error> {
    field::filled(deserializer, LIST_WORDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permission_is_written_as_text() {
        for good in ["read", "metrics", "deploy:shop-*", "deploy:*", "admin"] {
            assert_eq!(good.parse::<Permission>().unwrap().to_string(), good);
        }
        for bad in ["", "deploy", "deploy:", "write", "Read", "read:shop", "*"] {
            assert!(bad.parse::<Permission>().is_err(), "{bad:?}");
        }
    }
}
