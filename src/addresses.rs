//! Network addresses: those of clients, and those of the public internet. A plugin or a client may make the gateway
//! connect to the latter; any other address has to be permitted by the configuration, or a stranger could reach
//! services of the private network through the gateway.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Serialize, Serializer};
use url::Url;

/// Stands for the peer of a UNIX socket, which has no network address. No client of a network has this one.
pub const UNIX_PEER: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

const UNIX_TEXT: &str = "unix";

/// Permissions to connect to more than public addresses.
pub trait Reach: Send + Sync + 'static {
    /// Whether requests to this URL are permitted at all.
    fn allows_url(&self, url: &Url) -> bool;

    /// Whether this host may resolve to this address, which is not public.
    fn allows_private(&self, host: &str, address: IpAddr) -> bool;
}

/// Whether an address is part of the public internet. Source: the special-purpose address registries of RFC 6890.
///
/// ```
/// use metagate::addresses::is_public;
///
/// assert!(is_public("93.184.216.34".parse().unwrap()));
/// // The metadata service of cloud providers, also when IPv6 wraps it.
/// assert!(!is_public("169.254.169.254".parse().unwrap()));
/// assert!(!is_public("::ffff:169.254.169.254".parse().unwrap()));
/// ```
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// The address that stands for a client. A host has a whole /64 of IPv6 addresses to choose from.
///
/// ```
/// use metagate::addresses::peer_of;
///
/// assert_eq!(peer_of("::ffff:192.0.2.7".parse().unwrap()).to_string(), "192.0.2.7");
/// assert_eq!(peer_of("2001:db8::1:2:3:4".parse().unwrap()).to_string(), "2001:db8::");
/// ```
#[must_use]
pub fn peer_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

/// A client's address as plugins, functions and logs see it: `unix` for the peer of a UNIX socket.
///
/// ```
/// use metagate::addresses::{PeerText, UNIX_PEER};
///
/// assert_eq!(PeerText("::ffff:192.0.2.7".parse().unwrap()).to_string(), "192.0.2.7");
/// assert_eq!(PeerText(UNIX_PEER).to_string(), "unix");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct PeerText(pub IpAddr);

impl fmt::Display for PeerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            UNIX_PEER => f.write_str(UNIX_TEXT),
            address => address.to_canonical().fmt(f),
        }
    }
}

impl Serialize for PeerText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            UNIX_PEER => serializer.serialize_str(UNIX_TEXT),
            address => address.to_canonical().serialize(serializer),
        }
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (18..20).contains(&b));
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let [.., a, b, c, d] = address.octets();
    // 64:ff9b::/96 and 2002::/16 hold an IPv4 address (RFC 6052, RFC 3056): a gateway on the way may connect to that.
    if address.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        return is_public_v4(Ipv4Addr::new(a, b, c, d));
    }
    if first == 0x2002 {
        let [x, y] = second.to_be_bytes();
        let [z, w] = address.segments()[2].to_be_bytes();
        return is_public_v4(Ipv4Addr::new(x, y, z, w));
    }
    // 2000::/3 without its parts for documentation, benchmarks and tunnels.
    first & 0xe000 == 0x2000 && !(first == 0x2001 && (second < 0x200 || second == 0xdb8)) && first != 0x3fff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        for public in ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "64:ff9b::1.1.1.1"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "192.0.0.1",
            "203.0.113.5",
            "::1",
            "::",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "2002:7f00:1::",
            "2001:db8::1",
            "::7f00:1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
    }
}
