//! The address of a collector of traces: `"http://127.0.0.1:4318"`.

use std::fmt;
use std::str::FromStr;

use schemars::json_schema;
use url::Url;

use crate::config::values::written_as_text::written_as_text;

const WORDS: &str = "an address that begins with http:// or https://, such as \"http://127.0.0.1:4318\"";
/// The path that spans are sent to, below the address: OTLP, section "OTLP/HTTP request".
const PATH: &str = "v1/traces";

/// Where spans are sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector(Url);

impl Collector {
    /// The address that spans are posted to.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.0
    }
}

impl FromStr for Collector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = |why: &str| format!("{why}; the endpoint is {WORDS}");
        let mut url = match text.split_once("://") {
            Some(("http" | "https", _)) => Url::parse(text).map_err(|error| refused(&error.to_string()))?,
            Some((scheme, _)) => return Err(refused(&format!("scheme {scheme:?} is not http or https"))),
            None => return Err(refused("the scheme is missing")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("credentials in the address would be in its logs: put them into \"headers\"".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refused("it has a query or a fragment"));
        }
        let path = url.path().trim_end_matches('/');
        let path = if path.ends_with(PATH) { path.to_owned() } else { format!("{path}/{PATH}") };
        url.set_path(&path);
        Ok(Self(url))
    }
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

written_as_text!(Collector, WORDS, json_schema!({ "type": "string", "pattern": "^https?://[^?#]+$" }));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_go_to_the_path_of_otlp_below_the_address() {
        for (text, url) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("https://otel.example.com/", "https://otel.example.com/v1/traces"),
            ("http://[::1]:4318/team/a", "http://[::1]:4318/team/a/v1/traces"),
            ("http://h/v1/traces", "http://h/v1/traces"),
        ] {
            assert_eq!(text.parse::<Collector>().unwrap().to_string(), url);
        }
    }

    #[test]
    fn other_addresses_are_refused_with_the_reason() {
        for (text, why) in [
            ("127.0.0.1:4318", "the scheme is missing"),
            ("localhost", "the scheme is missing"),
            ("", "the scheme is missing"),
            ("grpc://127.0.0.1:4317", "scheme \"grpc\" is not http or https"),
            ("http://", "empty host"),
            ("http://h:99999", "invalid port number"),
            ("http://me:pw@h", "credentials in the address would be in its logs: put them into \"headers\""),
            ("http://h/?a=1", "it has a query or a fragment"),
        ] {
            let told = text.parse::<Collector>().unwrap_err();
            assert!(told.starts_with(why), "{text}: {told}");
        }
    }
}
