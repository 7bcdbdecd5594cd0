//! Where a deployment under strict isolation may connect to: `"db.example.com:5432"`.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use schemars::json_schema;

use crate::config::values::written_as_text::written_as_text;

const WORDS: &str = "a host with a port, such as \"db.example.com:5432\", \"10.0.0.7:6379\" or \"[::1]:8080\"";
/// The port of name servers.
const NAME_SERVER: u16 = 53;
/// A name that needs no name server.
const LOCALHOST: &str = "localhost";

/// One entry of `network`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: u16,
}

impl Endpoint {
    /// Whether the host is a name that a name server has to resolve.
    #[must_use]
    pub fn needs_name_server(&self) -> bool {
        self.host != LOCALHOST && self.host.parse::<IpAddr>().is_err()
    }

    /// The ports of these endpoints, with that of name servers if one of the hosts is a name. Each once.
    #[must_use]
    pub fn ports(endpoints: &[Self]) -> Vec<u16> {
        let name_server = endpoints.iter().any(Self::needs_name_server).then_some(NAME_SERVER);
        let ports: BTreeSet<u16> = endpoints.iter().map(|endpoint| endpoint.port).chain(name_server).collect();
        ports.into_iter().collect()
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("{text:?} is not {WORDS}");
        let (host, port) = text.rsplit_once(':').ok_or_else(refused)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(refused)?;
        let is_name = |host: &str| {
            !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        };
        let host = match host.strip_prefix('[') {
            Some(rest) => {
                let host = rest.strip_suffix(']').ok_or_else(refused)?;
                host.parse::<Ipv6Addr>().map_err(|_| refused())?.to_string()
            }
            None if is_name(host) => host.to_owned(),
            None => return Err(refused()),
        };
        Ok(Self { host, port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

written_as_text!(Endpoint, WORDS, json_schema!({ "type": "string", "pattern": "^.+:[0-9]{1,5}$" }));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_host_with_a_port() {
        for text in ["db.example.com:5432", "10.0.0.7:6379", "[::1]:8080", "localhost:1"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        for bad in ["", "db", "db:", ":80", "db:0", "db:70000", "::1:80", "[db]:80", "http://db:80", "a b:80", "db:8+"]
        {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_need_a_name_server_and_addresses_do_not() {
        let ports =
            |texts: &[&str]| Endpoint::ports(&texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>());
        assert_eq!(ports(&["10.0.0.7:80", "localhost:80", "[::1]:8080"]), [80, 8080]);
        assert_eq!(ports(&["db.example.com:443"]), [53, 443]);
    }
}
