//! The kernel's tables of TCP sockets, `/proc/net/tcp` and `/proc/net/tcp6`: the socket that a local client has
//! connected with. Format: `proc_net_tcp(5)`, and Linux's `Documentation/networking/proc_net_tcp.rst`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Attempts to find a socket. The kernel writes a table in pieces, and may leave out a socket if others of the same
/// hash end between two of them.
const ATTEMPTS: u32 = 3;

/// The two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ends {
    /// The address of the client.
    pub client: SocketAddr,
    /// The address that it has connected to.
    pub server: SocketAddr,
}

/// The client's socket of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Socket {
    /// Its number, as in the links of `/proc/<pid>/fd`; 0 if the client has closed it.
    pub(super) inode: u64,
    /// The user of the process that made it.
    pub(super) uid: u32,
}

/// The client's sockets of these connections, as far as they are in the tables of this network namespace.
pub(super) fn find(wanted: impl Iterator<Item = Ends>) -> HashMap<Ends, Socket> {
    let mut missing: HashMap<String, Ends> = HashMap::new();
    for ends in wanted {
        missing.extend(Form::ALL.into_iter().filter_map(|form| Some((form.columns(ends)?, ends))));
    }
    let mut found = HashMap::new();
    for _ in 0..ATTEMPTS {
        for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
            // A kernel without IPv6 has no second table.
            let lines = File::open(table).into_iter().flat_map(|file| BufReader::new(file).lines());
            for line in lines.map_while(Result::ok) {
                if let Some((ends, socket)) = socket_of(&line, &missing) {
                    found.insert(ends, socket);
                    missing.retain(|_, missing| *missing != ends);
                    // The rest of a table may be long.
                    if missing.is_empty() {
                        return found;
                    }
                }
            }
        }
    }
    found
}

/// The socket of a line if it is one of `wanted`, whose keys are the addresses as the tables show them.
fn socket_of(line: &str, wanted: &HashMap<String, Ends>) -> Option<(Ends, Socket)> {
    let (_, line) = line.split_once(": ")?;
    let (local, rest) = line.split_once(' ')?;
    let (remote, rest) = rest.split_once(' ')?;
    let ends = wanted.get(line.get(..local.len() + 1 + remote.len())?)?;
    let mut fields = rest.split_ascii_whitespace().skip(4);
    let uid = fields.next()?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    Some((*ends, Socket { inode, uid }))
}

/// How a table shows addresses.
#[derive(Debug, Clone, Copy)]
enum Form {
    V4,
    /// A client may use IPv6's form of an IPv4 address.
    V6,
}

impl Form {
    const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The columns of both addresses; none if this form cannot express them.
    fn columns(self, ends: Ends) -> Option<String> {
        Some(format!("{} {}", self.column(ends.client)?, self.column(ends.server)?))
    }

    fn column(self, address: SocketAddr) -> Option<String> {
        let ip = match (self, address.ip().to_canonical()) {
            (Self::V4, IpAddr::V4(ip)) => words(&ip.octets()),
            (Self::V4, IpAddr::V6(_)) => return None,
            (Self::V6, IpAddr::V4(ip)) => words(&ip.to_ipv6_mapped().octets()),
            (Self::V6, IpAddr::V6(ip)) => words(&Ipv6Addr::octets(&ip)),
        };
        Some(format!("{ip}:{:04X}", address.port()))
    }
}

/// The kernel writes each four bytes of an address as one number of this machine.
fn words(address: &[u8]) -> String {
    let (words, _) = address.as_chunks::<4>();
    words.iter().map(|word| format!("{:08X}", u32::from_ne_bytes(*word))).collect()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::linux::fs::MetadataExt;

    use super::*;

    #[track_caller]
    fn assert_found(listen: &str, connect: &str) {
        let listener = TcpListener::bind(format!("{listen}:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(format!("{connect}:{port}")).unwrap();
        let (accepted, peer) = listener.accept().unwrap();
        let ends = Ends { client: peer, server: accepted.local_addr().unwrap() };
        let found = find([ends].into_iter());
        let copy = client.as_fd().try_clone_to_owned().unwrap();
        let inode = File::from(copy).metadata().unwrap().st_ino();
        let uid = rustix::process::geteuid().as_raw();
        assert_eq!(found.get(&ends), Some(&Socket { inode, uid }), "{listen} {connect}");
        let other = Ends { client: ends.server, server: ends.server };
        assert_eq!(find([other].into_iter()), HashMap::new());
    }

    #[test]
    fn the_socket_of_a_client_is_found() {
        assert_found("127.0.0.1", "127.0.0.1");
        assert_found("[::1]", "[::1]");
    }

    #[test]
    fn ipv4_in_the_form_of_ipv6_is_found() {
        assert_found("127.0.0.1", "[::ffff:127.0.0.1]");
        assert_found("[::]", "127.0.0.1");
    }
}
