//! Names for which a certificate is shown: `"example.com"`, `"*.example.com"`.

use std::fmt;
use std::str::FromStr;

use schemars::json_schema;

use crate::config::values::written_as_text::written_as_text;

const WORDS: &str = "a host name such as \"example.com\" or \"*.example.com\"";

/// A host name in lower case, or all names with one more part.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerName(String);

impl ServerName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// For `*.example.com`, `example.com`.
    #[must_use]
    pub fn parent(&self) -> Option<&str> {
        self.0.strip_prefix("*.")
    }
}

impl FromStr for ServerName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.to_ascii_lowercase();
        let host = name.strip_prefix("*.").unwrap_or(&name);
        let is_part = |part: &str| {
            (1..=63).contains(&part.len())
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        if name.len() <= 253 && host.split('.').all(is_part) {
            Ok(Self(name))
        } else {
            Err(format!("{text:?} is not {WORDS}"))
        }
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

written_as_text!(ServerName, WORDS, json_schema!({ "type": "string", "minLength": 1 }));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_name_is_a_host_or_all_hosts_below_one() {
        let name = |text: &str| text.parse::<ServerName>();
        assert_eq!(name("Example.COM").unwrap().as_str(), "example.com");
        assert_eq!(name("*.example.com").unwrap().parent(), Some("example.com"));
        assert_eq!(name("localhost").unwrap().parent(), None);
        for bad in ["", "*", "*.", "a..b", "a.*.b", "**.a", "a b", "a:443", "exämple.com"] {
            assert!(name(bad).is_err(), "{bad:?}");
        }
    }
}
