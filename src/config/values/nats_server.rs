//! The address of a NATS server: `"nats://127.0.0.1:4222"`.

use std::fmt;
use std::str::FromStr;

use schemars::json_schema;
use url::Url;

use crate::config::values::written_as_text::written_as_text;

const WORDS: &str = "an address such as \"nats://127.0.0.1:4222\", or with tls://";
/// The port of NATS where an address names none.
const PORT: u16 = 4222;

/// Where a server of the engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsServer {
    is_tls: bool,
    host: String,
    port: u16,
}

impl NatsServer {
    /// Whether connections to it are encrypted.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }
}

impl FromStr for NatsServer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = |why: &str| format!("{why}; a server is {WORDS}");
        let is_tls = match text.split_once("://") {
            Some(("nats", _)) => false,
            Some(("tls", _)) => true,
            Some((scheme, _)) => return Err(refused(&format!("scheme {scheme:?} is not nats or tls"))),
            None => return Err(refused("the scheme is missing")),
        };
        let url = Url::parse(text).map_err(|error| refused(&error.to_string()))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("credentials in the address would be in logs: put them into \"user\" and \"password\", \
                        \"token\" or \"credentials\""
                .to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() || !matches!(url.path(), "" | "/") {
            return Err(refused("it has more than a host and a port"));
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| refused("the host is missing"))?;
        Ok(Self { is_tls, host: host.to_owned(), port: url.port().unwrap_or(PORT) })
    }
}

impl fmt::Display for NatsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "tls" } else { "nats" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

written_as_text!(NatsServer, WORDS, json_schema!({ "type": "string", "pattern": "^(nats|tls)://[^/?#@]+/?$" }));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_a_scheme_and_a_host() {
        for (text, shown) in [
            ("nats://127.0.0.1:4222", "nats://127.0.0.1:4222"),
            ("nats://nats.example.com", "nats://nats.example.com:4222"),
            ("nats://nats.example.com/", "nats://nats.example.com:4222"),
            ("tls://[::1]:4333", "tls://[::1]:4333"),
        ] {
            assert_eq!(text.parse::<NatsServer>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn other_addresses_are_refused_with_the_reason() {
        for (text, why) in [
            ("127.0.0.1:4222", "the scheme is missing"),
            ("", "the scheme is missing"),
            ("http://h:4222", "scheme \"http\" is not nats or tls"),
            ("nats://", "the host is missing"),
            ("nats://h:99999", "invalid port number"),
            ("nats://me:pw@h", "credentials in the address would be in logs"),
            ("nats://h/stream", "it has more than a host and a port"),
        ] {
            let told = text.parse::<NatsServer>().unwrap_err();
            assert!(told.starts_with(why), "{text}: {told}");
        }
    }
}
