//! Hosts of routes: `"shop.example.com"`, `"*.example.com"`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use schemars::json_schema;

use crate::config::values::written_as_text::written_as_text;

const WORDS: &str = "a host without a port, such as \"shop.example.com\" or \"*.example.com\"";

/// The value of `host`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RouteHost {
    /// The host; with `is_domain` what its subdomains end with, such as `.example.com`.
    host: String,
    is_domain: bool,
}

impl RouteHost {
    /// Whether a host, in small letters and without a port, is meant.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        match self.is_domain {
            true => host.strip_suffix(self.host.as_str()).is_some_and(|before| !before.is_empty()),
            false => host == self.host,
        }
    }

    /// The order in which hosts are tried: exact ones first, then longer endings before shorter ones.
    #[must_use]
    pub fn rank(&self) -> (bool, std::cmp::Reverse<usize>) {
        (self.is_domain, std::cmp::Reverse(self.host.len()))
    }
}

impl FromStr for RouteHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let domain = text.strip_prefix("*.");
        let name = domain.unwrap_or(text);
        let is_label = |label: &str| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        let inner = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let is_address = inner.is_some_and(|inner| matches!(inner.parse(), Ok(IpAddr::V6(_))));
        if text.len() > 253 || !(name.split('.').all(is_label) || is_address && domain.is_none()) {
            return Err(format!("{text:?} is not {WORDS}"));
        }
        let name = name.to_ascii_lowercase();
        let is_domain = domain.is_some();
        Ok(Self { host: if is_domain { format!(".{name}") } else { name }, is_domain })
    }
}

impl fmt::Display for RouteHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.is_domain { "*" } else { "" }, self.host)
    }
}

written_as_text!(RouteHost, WORDS, json_schema!({ "type": "string", "minLength": 1 }));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_an_address_or_all_of_a_domain() {
        let matches = |pattern: &str, host: &str| pattern.parse::<RouteHost>().unwrap().matches(host);
        assert!(matches("Shop.example.com", "shop.example.com") && !matches("shop.example.com", "a.shop.example.com"));
        assert!(matches("*.example.com", "a.b.example.com") && !matches("*.example.com", "example.com"));
        assert!(!matches("*.example.com", ".example.com") && !matches("*.example.com", "badexample.com"));
        assert!(matches("[::1]", "[::1]") && matches("127.0.0.1", "127.0.0.1") && matches("localhost", "localhost"));
        for bad in ["", "*", "*.", "a..b", ".a", "a:80", "a/b", "https://a", "*a.b", "a.*.b", "[::1", "ä.de", "a b"] {
            assert!(bad.parse::<RouteHost>().is_err(), "{bad:?}");
        }
    }
}
