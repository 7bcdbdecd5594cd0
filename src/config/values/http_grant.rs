//! Permissions to send HTTP requests: origins, and the private networks that their addresses may be in.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;
use schemars::json_schema;
use url::Url;

use crate::addresses::Reach;
use crate::config::values::written_as_text::written_as_text;

const GRANT_WORDS: &str =
    "an origin without user, path or query, such as \"https://auth.example.com\", or a network such as \"10.0.0.0/8\"";
const HOST_LIMIT: usize = 253;
const LABEL_LIMIT: usize = 63;

/// One entry of `grants.http`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpGrant {
    /// Requests to this origin are permitted.
    Origin(Origin),
    /// Connections to private addresses in this network are permitted: `10.0.0.0/8`, `::1/128`.
    Network(IpNet),
}

impl HttpGrant {
    fn allows_url(&self, url: &Url) -> bool {
        match self {
            Self::Origin(Origin { scheme, host, port }) => {
                url.scheme() == scheme.as_str()
                    && url.host_str() == Some(host.as_str())
                    && url.port_or_known_default() == Some(*port)
            }
            Self::Network(_) => false,
        }
    }

    /// Whether connections to a private address are permitted: this is a network that has it, or an origin whose host
    /// is the address itself, or `localhost` for a loopback address.
    fn allows_private(&self, host: &str, address: IpAddr) -> bool {
        match self {
            Self::Network(network) => network.contains(&address.to_canonical()),
            Self::Origin(origin) => {
                origin.host == host && (names_address(host) || (host == "localhost" && address.is_loopback()))
            }
        }
    }
}

impl Reach for Vec<HttpGrant> {
    fn allows_url(&self, url: &Url) -> bool {
        self.iter().any(|grant| grant.allows_url(url))
    }

    fn allows_private(&self, host: &str, address: IpAddr) -> bool {
        self.iter().any(|grant| grant.allows_private(host, address))
    }
}

fn names_address(host: &str) -> bool {
    host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok()
}

impl FromStr for HttpGrant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains("://") { text.parse().map(Self::Origin) } else { network(text).map(Self::Network) }
    }
}

impl fmt::Display for HttpGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Origin(origin) => origin.fmt(f),
            Self::Network(network) => network.fmt(f),
        }
    }
}

written_as_text!(
    HttpGrant,
    GRANT_WORDS,
    json_schema!({ "type": "string", "pattern": "^([Hh][Tt][Tt][Pp][Ss]?://[^/?#@]+/?|[0-9A-Fa-f.:]+(/[0-9]+)?)$" })
);

/// A scheme, a host and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The protocol.
    pub scheme: Scheme,
    /// A host name in lower case, an IPv4 address, or an IPv6 address in brackets in its shortest form: `[::1]`.
    pub host: String,
    /// The port; that of the scheme if none was written.
    pub port: u16,
}

/// The protocol of an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// In the clear, by default on port 80.
    Http,
    /// Over TLS, by default on port 443.
    Https,
}

impl Scheme {
    /// Its name in addresses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The default port.
    #[must_use]
    pub const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| format!("{text:?} has no scheme"))?;
        let scheme = [Scheme::Http, Scheme::Https]
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(scheme))
            .ok_or_else(|| format!("{text:?} begins with neither \"https://\" nor \"http://\""))?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains('@') {
            return Err("an origin must not have a user or a password".to_owned());
        }
        if authority.contains(['/', '?', '#']) {
            let host = authority.split(['/', '?', '#']).next().unwrap_or_default();
            let origin = format!("{}://{host}", scheme.as_str());
            return Err(format!("{text:?} has more than an origin; {origin:?} grants all of its paths"));
        }
        let (host, port) = host_and_port(authority).ok_or_else(|| format!("{text:?} has a bad port"))?;
        let host = host_name(host).ok_or_else(|| format!("{text:?} has no valid host"))?;
        Ok(Self { scheme, host, port: port.unwrap_or(scheme.port()) })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.host)?;
        if self.port == self.scheme.port() { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

// `None` if the port is invalid.
fn host_and_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let after_brackets = authority.find(']').map_or(0, |at| at + 1);
    let Some(colon) = authority[after_brackets..].find(':').map(|at| after_brackets + at) else {
        return Some((authority, None));
    };
    let digits = &authority[colon + 1..];
    let port = Some(digits).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()?;
    (port > 0).then_some((&authority[..colon], Some(port)))
}

fn host_name(host: &str) -> Option<String> {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().ok().map(|address| format!("[{address}]"));
    }
    let host = host.to_ascii_lowercase();
    let is_label = |label: &str| {
        (1..=LABEL_LIMIT).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let named = host.len() <= HOST_LIMIT && host.split('.').all(is_label);
    // A host whose last part is a number is an IPv4 address (URL standard, section 3.5). Only the dotted form is
    // accepted.
    let last = host.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
    (named && (!numeric || host.parse::<Ipv4Addr>().is_ok())).then_some(host)
}

fn network(text: &str) -> Result<IpNet, String> {
    let network = match (text.parse::<IpNet>(), text.parse::<IpAddr>()) {
        (Ok(network), _) => network,
        (_, Ok(address)) => IpNet::from(address),
        _ => return Err(format!("{text:?} is neither an origin, such as \"https://auth.example.com\", nor a network")),
    };
    if network != network.trunc() {
        return Err(format!("{text:?} has bits beyond its prefix; the network is \"{}\"", network.trunc()));
    }
    Ok(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<String, String> {
        text.parse::<HttpGrant>().map(|grant| grant.to_string())
    }

    #[test]
    fn origins_and_networks_are_distinguished() {
        for (text, shown) in [
            ("https://auth.example.com", "https://auth.example.com"),
            ("HTTPS://Auth.Example.COM:443/", "https://auth.example.com"),
            ("http://a_b-c:8080", "http://a_b-c:8080"),
            ("http://127.0.0.1:65535/", "http://127.0.0.1:65535"),
            ("https://[0:0::1]:80", "https://[::1]:80"),
            ("http://[::1]", "http://[::1]"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("127.0.0.1", "127.0.0.1/32"),
            ("::1", "::1/128"),
            ("fd00::/8", "fd00::/8"),
        ] {
            assert_eq!(parsed(text), Ok(shown.to_owned()), "{text}");
        }
        let HttpGrant::Origin(origin) = "https://[::1]".parse().unwrap() else { panic!("not an origin") };
        assert_eq!((origin.scheme, origin.host.as_str(), origin.port), (Scheme::Https, "[::1]", 443));
        assert_eq!("::1".parse(), Ok(HttpGrant::Network(IpAddr::from(Ipv6Addr::LOCALHOST).into())));
    }

    #[test]
    fn a_text_that_is_not_an_origin_is_refused_with_the_reason() {
        for (text, reason) in [
            ("https://a.b/keys", "more than an origin; \"https://a.b\" grants all of its paths"),
            ("https://a.b/?q", "more than an origin"),
            ("https://a.b#x", "more than an origin"),
            ("https://a.b//", "more than an origin"),
            ("https://me:pw@a.b", "must not have a user or a password"),
            ("ftp://a.b", "neither \"https://\" nor \"http://\""),
            ("a.b", "neither an origin, such as"),
            ("*", "neither an origin"),
            ("", "neither an origin"),
            ("https://", "no valid host"),
            ("https://*.a.b", "no valid host"),
            ("https://a..b", "no valid host"),
            ("https://ä.b", "no valid host"),
            ("https://1.2.3", "no valid host"),
            ("https://2130706433", "no valid host"),
            ("https://0x7f.1", "no valid host"),
            ("https://[::1", "bad port"),
            ("https://::1", "bad port"),
            ("https://a:0", "bad port"),
            ("https://a:", "bad port"),
            ("https://a:65536", "bad port"),
            ("https://a:+80", "bad port"),
            ("10.1.0.0/8", "bits beyond its prefix; the network is \"10.0.0.0/8\""),
            ("10.0.0.0/33", "neither an origin"),
        ] {
            let message = parsed(text).unwrap_err();
            assert!(message.contains(reason), "{text}: {message}");
        }
    }

    #[test]
    fn malformed_hosts_and_ports_are_refused() {
        for text in ["http://]:", "http://[]:1", "http://a]b", "http://[a]:1:2", "://", "http://:80", "http://ä:1"] {
            assert!(parsed(text).is_err(), "{text}");
        }
    }
}
