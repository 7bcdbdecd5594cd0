//! The header of the PROXY protocol, with which a proxy begins a connection to name its client. Format:
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Bytes of the longest header of version 1: section 2.1.
const V1_LIMIT: usize = 107;
const V1_START: &[u8] = b"PROXY ";
/// The first bytes of version 2: section 2.2.
const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_HEAD: usize = 16;
/// Bytes of a header of version 2 that are accepted. Addresses take 216 at most; the rest is for extensions.
const V2_LIMIT: usize = V2_HEAD + 2048;

/// The start of a connection, as far as it has arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ProxyHeader {
    /// More bytes are needed.
    Unfinished,
    /// A whole header.
    Whole {
        /// Its bytes.
        length: usize,
        /// The client; none if the proxy speaks for itself, or does not know.
        client: Option<IpAddr>,
    },
    /// Not a header.
    Bad,
}

/// Reads the start of a connection.
pub(super) fn read(start: &[u8]) -> ProxyHeader {
    let begins = |with: &[u8]| start.starts_with(&with[..with.len().min(start.len())]);
    if begins(V1_START) {
        read_v1(start)
    } else if begins(V2_START) {
        read_v2(start).unwrap_or(ProxyHeader::Unfinished)
    } else {
        ProxyHeader::Bad
    }
}

/// Reads `PROXY TCP4 192.0.2.1 192.0.2.2 4711 80\r\n`.
fn read_v1(start: &[u8]) -> ProxyHeader {
    let line = &start[..start.len().min(V1_LIMIT)];
    let Some(end) = memchr::memchr(b'\n', line) else {
        return if start.len() < V1_LIMIT { ProxyHeader::Unfinished } else { ProxyHeader::Bad };
    };
    let text = line[..end].strip_suffix(b"\r").and_then(|text| std::str::from_utf8(text).ok());
    match text.map(|text| text.split(' ').collect::<Vec<_>>()).as_deref() {
        Some(["PROXY", "UNKNOWN", ..]) => ProxyHeader::Whole { length: end + 1, client: None },
        Some(["PROXY", kind, ends @ ..]) => match client_of(kind, ends) {
            Some(client) => ProxyHeader::Whole { length: end + 1, client: Some(client) },
            None => ProxyHeader::Bad,
        },
        _ => ProxyHeader::Bad,
    }
}

fn client_of(kind: &str, ends: &[&str]) -> Option<IpAddr> {
    let &[source, target, source_port, target_port] = ends else { return None };
    source_port.parse::<u16>().ok()?;
    target_port.parse::<u16>().ok()?;
    match kind {
        "TCP4" => both::<Ipv4Addr>(source, target),
        "TCP6" => both::<Ipv6Addr>(source, target),
        _ => None,
    }
}

/// The source, if both are addresses of one family.
fn both<A: FromStr + Into<IpAddr>>(source: &str, target: &str) -> Option<IpAddr> {
    target.parse::<A>().ok()?;
    Some(source.parse::<A>().ok()?.into().to_canonical())
}

/// Reads the binary form; none if more bytes are needed.
fn read_v2(start: &[u8]) -> Option<ProxyHeader> {
    let (version, family) = (start.get(12)?, start.get(13)?);
    let length = V2_HEAD + usize::from(u16::from_be_bytes([*start.get(14)?, *start.get(15)?]));
    if version >> 4 != 2 || length > V2_LIMIT {
        return Some(ProxyHeader::Bad);
    }
    let body = start.get(V2_HEAD..length)?;
    let client = match (version & 0xf, family) {
        // LOCAL: a health check of the proxy itself.
        (0, _) => None,
        // TCP over IPv4 and IPv6: source, target, two ports.
        (1, 0x11) => match body.first_chunk::<4>().filter(|_| body.len() >= 12) {
            Some(octets) => Some(IpAddr::from(*octets)),
            None => return Some(ProxyHeader::Bad),
        },
        (1, 0x21) => match body.first_chunk::<16>().filter(|_| body.len() >= 36) {
            Some(octets) => Some(IpAddr::from(*octets).to_canonical()),
            None => return Some(ProxyHeader::Bad),
        },
        // Unspecified, or a Unix socket.
        (1, 0 | 0x31 | 0x32) => None,
        _ => return Some(ProxyHeader::Bad),
    };
    Some(ProxyHeader::Whole { length, client })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &[u8]) -> Option<(usize, Option<String>)> {
        match read(text) {
            ProxyHeader::Whole { length, client } => Some((length, client.map(|client| client.to_string()))),
            ProxyHeader::Unfinished | ProxyHeader::Bad => None,
        }
    }

    fn v2(version: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [V2_START, &[version, family], &length, body].concat()
    }

    #[test]
    fn both_versions_name_the_client() {
        let v4 = [[203, 0, 113, 9], [10, 0, 0, 1], [0x12, 0x67, 0, 80]].concat();
        let v6 = [&Ipv6Addr::LOCALHOST.octets()[..], &[0; 16], &[0; 4], b"an extension"].concat();
        for (header, client) in [
            (b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 80\r\n".to_vec(), Some("203.0.113.9")),
            (b"PROXY TCP6 2001:db8::7 ::1 4711 80\r\n".to_vec(), Some("2001:db8::7")),
            (b"PROXY TCP6 ::ffff:203.0.113.9 ::1 1 80\r\n".to_vec(), Some("203.0.113.9")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 x 1 2\r\n".to_vec(), None),
            (v2(0x21, 0x11, &v4), Some("203.0.113.9")),
            (v2(0x21, 0x21, &v6), Some("::1")),
            (v2(0x20, 0, b""), None),
            (v2(0x20, 0x11, &v4), None),
            (v2(0x21, 0, b""), None),
            (v2(0x21, 0x31, &[0; 216]), None),
        ] {
            let request = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(whole(&request), Some((header.len(), client.map(str::to_owned))), "{header:?}");
            for end in 0..header.len() {
                assert_eq!(read(&header[..end]), ProxyHeader::Unfinished, "{end} of {header:?}");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_bad() {
        for bad in [
            b"GET / HTTP/1.1\r\n".to_vec(),
            b"PROXY\r\n".to_vec(),
            b"PROXY TCP4\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.9 10.0.0.1 4711\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 80 1\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 80\n".to_vec(),
            b"PROXY TCP4 203.0.113.9 10.0.0.1 70000 80\r\n".to_vec(),
            b"PROXY TCP4 2001:db8::7 ::1 1 2\r\n".to_vec(),
            b"PROXY TCP6 203.0.113.9 10.0.0.1 1 2\r\n".to_vec(),
            b"PROXY UDP4 203.0.113.9 10.0.0.1 1 2\r\n".to_vec(),
            b"PROXY  TCP4 203.0.113.9 10.0.0.1 1 2\r\n".to_vec(),
            b"PROXY \xff\r\n".to_vec(),
            [b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat(),
            v2(0x11, 0x11, &[0; 12]),
            v2(0x22, 0x11, &[0; 12]),
            v2(0x21, 0x11, &[0; 11]),
            v2(0x21, 0x21, &[0; 35]),
            v2(0x21, 0x12, &[0; 12]),
            v2(0x21, 0x11, &[0; 4000]),
        ] {
            assert_eq!(read(&bad), ProxyHeader::Bad, "{bad:?}");
        }
    }
}
