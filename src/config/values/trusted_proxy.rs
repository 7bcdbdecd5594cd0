//! Proxies that are believed about their clients: `trusted_proxies = ["10.0.0.0/8", "192.0.2.7", "unix"]`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use schemars::json_schema;

use crate::addresses::UNIX_PEER;
use crate::config::values::written_as_text::written_as_text;

const WORDS: &str = "an IP address, a network such as \"10.0.0.0/8\", or \"unix\"";
const UNIX: &str = "unix";

/// One entry of `trusted_proxies`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustedProxy {
    /// The addresses of this network; one address is a network by itself.
    Network(IpNet),
    /// Connections over UNIX sockets.
    Unix,
}

impl TrustedProxy {
    /// Whether this is the network that an address is in, or stands for peers of UNIX sockets and the address too.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match self {
            Self::Unix => address == UNIX_PEER,
            Self::Network(network) => address != UNIX_PEER && network.contains(&address.to_canonical()),
        }
    }
}

impl FromStr for TrustedProxy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == UNIX {
            return Ok(Self::Unix);
        }
        let address = text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
        let network = address.or_else(|_| text.parse::<IpNet>());
        network.map(|network| Self::Network(network.trunc())).map_err(|_| format!("{text:?} is not {WORDS}"))
    }
}

impl fmt::Display for TrustedProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => network.fmt(f),
            Self::Unix => f.write_str(UNIX),
        }
    }
}

written_as_text!(TrustedProxy, WORDS, json_schema!({ "type": "string", "minLength": 1 }));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_an_address_a_network_or_a_unix_socket() {
        let contains =
            |proxy: &str, address: &str| proxy.parse::<TrustedProxy>().unwrap().contains(address.parse().unwrap());
        assert!(contains("10.1.2.3/8", "10.255.0.1") && !contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("192.0.2.7", "::ffff:192.0.2.7") && !contains("192.0.2.7", "192.0.2.8"));
        assert!(contains("::ffff:192.0.2.7", "192.0.2.7"));
        assert!(contains("2001:db8::/32", "2001:db8::1") && !contains("0.0.0.0/0", "2001:db8::1"));
        assert!(!contains("unix", "127.0.0.1"));
        assert!("unix".parse::<TrustedProxy>().unwrap().contains(UNIX_PEER) && !contains("0.0.0.0/0", "0.0.0.0"));
        for bad in ["", "10.0.0.0/33", "10.0.0", "example.com", "Unix", "*", "10.0.0.1:80", "[::1]"] {
            assert!(bad.parse::<TrustedProxy>().is_err(), "{bad:?}");
        }
    }
}
