//! Where repositories may be fetched from: the beginning of their addresses.

use std::fmt;
use std::str::FromStr;

use schemars::json_schema;
use url::Url;

use crate::config::values::written_as_text::written_as_text;

const PREFIX_WORDS: &str =
    "the beginning of addresses, such as \"https://git.example.com/team/\" or \"file:///srv/git/\"";

/// One entry of `deploy.repositories`: every address of this scheme, host and port whose path begins with this one's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryPrefix(Url);

impl RepositoryPrefix {
    /// Whether an address begins with this prefix. Paths are compared part by part: `/team` does not cover `/teams/x`.
    #[must_use]
    pub fn covers(&self, address: &Url) -> bool {
        let has_same_origin = self.0.scheme() == address.scheme()
            && self.0.host() == address.host()
            && self.0.port_or_known_default() == address.port_or_known_default();
        let path = self.0.path().trim_end_matches('/');
        let rest = address.path().strip_prefix(path);
        has_same_origin && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl FromStr for RepositoryPrefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("{text:?} is not an address: {error}"))?;
        if !matches!(url.scheme(), "https" | "http" | "file") {
            return Err(format!("the scheme of {text:?} is not https, http or file"));
        }
        if url.scheme() == "file" && url.host().is_some() {
            return Err(format!("{text:?} names a host; a folder of this machine has three slashes: \"file:///…\""));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("an address of repositories must not have a user or a password".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(format!("{text:?} has a query or a fragment"));
        }
        Ok(Self(url))
    }
}

impl fmt::Display for RepositoryPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

written_as_text!(RepositoryPrefix, PREFIX_WORDS, json_schema!({ "type": "string", "pattern": "^(https?|file)://" }));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_covers_whole_parts_of_paths() {
        let prefix: RepositoryPrefix = "https://git.example.com/team".parse().unwrap();
        for (address, covered) in [
            ("https://git.example.com/team/app.git", true),
            ("https://git.example.com/team", true),
            ("https://git.example.com/teams/app.git", false),
            ("https://git.example.com/team/../other/app.git", false),
            ("https://git.example.com:8443/team/app.git", false),
            ("http://git.example.com/team/app.git", false),
        ] {
            assert_eq!(prefix.covers(&Url::parse(address).unwrap()), covered, "{address}");
        }
        let everything: RepositoryPrefix = "file:///".parse().unwrap();
        assert!(everything.covers(&Url::parse("file:///srv/git/app").unwrap()));
    }

    #[test]
    fn an_address_that_cannot_be_a_prefix_is_refused() {
        for bad in ["git.example.com", "ssh://host/x", "https://u:p@host/", "file://host/x", "https://host/?x"] {
            assert!(bad.parse::<RepositoryPrefix>().is_err(), "{bad}");
        }
    }
}
