//! Who the client of a request is where trusted proxies are in front of the gateway, from what they say in `Forwarded`
//! or `X-Forwarded-*`. The headers of a request are made to say the same, so that plugins and functions see one client
//! and not what a stranger has written. Reading the headers is left to `chain`.

mod chain;

use std::net::IpAddr;

use http::header::{FORWARDED, HOST};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::addresses::PeerText;
use crate::config::TrustedProxy;
use crate::http::forwarded::chain::{Malformed, addresses, elements, texts};
use crate::http::problem::{Code, Problem};

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const THEIR_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// Further headers in which proxies describe a client. Only a proxy that is trusted may have set them.
const OTHERS: [HeaderName; 3] = [
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-forwarded-server"),
];
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The proxies that are believed about their clients.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies {
    proxies: Vec<TrustedProxy>,
    /// Their connections begin with a header of the PROXY protocol.
    with_header: bool,
}

/// The client of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyClient {
    /// Its address.
    pub address: IpAddr,
    /// A trusted proxy says that it uses https.
    pub is_https: bool,
}

/// What proxies say about a request.
#[derive(Debug, Default)]
struct Said {
    client: Option<IpAddr>,
    proto: Option<&'static str>,
    host: Option<String>,
}

impl TrustedProxies {
    /// Those of the configuration. `with_header`: their connections begin with a header of the PROXY protocol.
    #[must_use]
    pub fn new(proxies: &[TrustedProxy], with_header: bool) -> Self {
        Self { proxies: proxies.to_vec(), with_header }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.proxies.is_empty()
    }

    /// Whether an address is that of a trusted proxy.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|proxy| proxy.contains(address))
    }

    /// Whether a connection from this address has to begin with a header of the PROXY protocol.
    #[must_use]
    pub fn sends_header(&self, peer: IpAddr) -> bool {
        self.with_header && self.trusts(peer)
    }

    /// The client of a request that came from `peer`. The headers say the same afterwards: `x-forwarded-for` is the
    /// client alone, `host` is what the client asked for, and `forwarded` and headers of others are gone.
    ///
    /// # Errors
    ///
    /// `bad_request` if a trusted proxy's headers cannot be read, or contradict each other: one of them was written by
    /// somebody else.
    pub fn client_of(&self, peer: IpAddr, headers: &mut HeaderMap) -> Result<ProxyClient, Problem> {
        let peer = peer.to_canonical();
        let is_trusted = self.trusts(peer);
        let said = if is_trusted { self.said(peer, headers)? } else { Said::default() };
        for name in [FORWARDED, FOR, PROTO, THEIR_HOST, REAL_IP] {
            headers.remove(name);
        }
        if !is_trusted {
            OTHERS.iter().for_each(|name| drop(headers.remove(name)));
        }
        let client = said.client.unwrap_or(peer);
        let value = |text: &str| HeaderValue::from_str(text).ok();
        if let Some(text) = value(&PeerText(client).to_string()) {
            headers.insert(FOR, text);
        }
        if let Some(proto) = said.proto {
            headers.insert(PROTO, HeaderValue::from_static(proto));
        }
        if let Some(host) = said.host.as_deref().and_then(value) {
            headers.insert(THEIR_HOST, host.clone());
            headers.insert(HOST, host);
        }
        Ok(ProxyClient { address: client, is_https: said.proto == Some("https") })
    }

    /// What the headers of a trusted proxy say.
    fn said(&self, peer: IpAddr, headers: &HeaderMap) -> Result<Said, Problem> {
        let by_x = self.said_by_x(peer, headers);
        if !headers.contains_key(FORWARDED) {
            return Ok(by_x);
        }
        let elements = elements(headers).map_err(|Malformed| bad("the header forwarded cannot be read"))?;
        let (client, examined) = self.walk(peer, elements.iter().rev().map(|element| element.address()));
        if headers.contains_key(FOR) && by_x.client != Some(client) {
            return Err(bad(
                "forwarded and x-forwarded-for name different clients: the proxy must remove the header that it does \
                 not set",
            ));
        }
        let element = elements.iter().rev().nth(examined.saturating_sub(1));
        let proto = element.and_then(|element| proto(element.proto.as_deref()?)).or(by_x.proto);
        let host = element.and_then(|element| host(element.host.as_deref()?)).or(by_x.host);
        Ok(Said { client: Some(client), proto, host })
    }

    fn said_by_x(&self, peer: IpAddr, headers: &HeaderMap) -> Said {
        let hops = addresses(headers, &FOR);
        let (client, examined) = self.walk(peer, hops.iter().rev().copied());
        // A list with an item for each hop has the client's at the same place. Otherwise the nearest proxy's counts.
        let of_client = |name: &HeaderName| -> Option<String> {
            let texts = texts(headers, name);
            let from_right = if texts.len() == hops.len() { examined.saturating_sub(1) } else { 0 };
            texts.iter().rev().nth(from_right).cloned()
        };
        Said {
            client: Some(client),
            proto: of_client(&PROTO).and_then(|text| proto(&text)),
            host: of_client(&THEIR_HOST).and_then(|text| host(&text)),
        }
    }

    /// Goes from the nearest hop outwards, up to the first that is no trusted proxy. What a proxy calls unknown, hides
    /// or garbles ends it: the client then is that proxy. Also returns the number of hops that were looked at.
    fn walk(&self, peer: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>) -> (IpAddr, usize) {
        let (mut client, mut examined) = (peer, 0);
        for hop in hops {
            if !self.trusts(client) {
                break;
            }
            examined += 1;
            match hop {
                Some(address) => client = address,
                None => break,
            }
        }
        (client, examined)
    }
}

fn proto(text: &str) -> Option<&'static str> {
    ["http", "https"].into_iter().find(|proto| text.eq_ignore_ascii_case(proto))
}

/// A host with or without a port, without a user.
fn host(text: &str) -> Option<String> {
    let authority: Authority = text.parse().ok()?;
    (!text.contains('@') && !authority.host().is_empty()).then(|| text.to_owned())
}

fn bad(message: &str) -> Problem {
    Problem::new(Code::BadRequest, message)
}

#[cfg(test)]
mod tests;
