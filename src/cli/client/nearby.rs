//! The gateway of the configuration file beside a client command: its address and its token.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;

use crate::cli::stderr;
use crate::config::{self, Config, Secret};

/// The file that is read, in the folder that the command runs in.
const FILE: &str = "metagate.toml";

/// A gateway as its configuration describes it.
#[derive(Debug, Default, Clone)]
pub(super) struct Nearby {
    /// The URL of the listener for calls.
    pub(super) calls: Option<String>,
    /// The URL of the admin API.
    pub(super) admin: Option<String>,
    /// The token that may do everything.
    pub(super) token: Option<String>,
}

impl Nearby {
    /// What the configuration file in this folder says; nothing if there is none, or where it has faults.
    pub(super) fn find() -> Self {
        let file = Path::new(FILE);
        if !file.is_file() {
            return Self::default();
        }
        let (config, faults) = config::survey(file);
        if !faults.is_empty() {
            stderr::print_line(format_args!("note: {FILE} has faults, which \"metagate check\" shows"));
        }
        config.map_or_else(Self::default, |config| Self::of(&config))
    }

    fn of(config: &Config) -> Self {
        let calls = url(config.server.listen);
        let admin = match config.admin.listen {
            Some(address) => url(address),
            None => calls.clone(),
        };
        let token = config.admin.token.as_ref().map(Secret::expose).filter(|token| !token.is_empty());
        Self { calls, admin, token: token.map(str::to_owned) }
    }
}

/// The URL of a listener of this machine. A file that someone else wrote must not lead a token to another machine.
fn url(address: SocketAddr) -> Option<String> {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let is_own = ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok();
    // The gateway has chosen its port itself.
    let has_port = address.port() != 0;
    (is_own && has_port).then(|| format!("http://{}", SocketAddr::new(ip, address.port())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_of_this_machine_has_a_url() {
        let of = |text: &str| url(text.parse().unwrap());
        assert_eq!(of("127.0.0.1:9100").as_deref(), Some("http://127.0.0.1:9100"));
        assert_eq!(of("0.0.0.0:9100").as_deref(), Some("http://127.0.0.1:9100"));
        assert_eq!(of("[::]:9100").as_deref(), Some("http://[::1]:9100"));
        assert_eq!(of("192.0.2.7:9100"), None, "an address of documentation is of no machine");
        assert_eq!(of("127.0.0.1:0"), None);
    }
}
