//! The gateway of the configuration file beside a client command: its address and its token.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::geteuid;

use crate::cli::stderr;
use crate::config::{self, Config, ListenAddress, Listener, Secret};

/// The file that is read, in the folder that the command runs in.
pub(super) const FILE: &str = "metagate.toml";

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
        if !is_trusted(file) {
            stderr::print_line(format_args!("note: {FILE} belongs to another user and is not read; set --url"));
            return Self::default();
        }
        let (config, faults) = config::survey(file);
        if !faults.is_empty() {
            stderr::print_line(format_args!("note: {FILE} has faults, which \"metagate check\" shows"));
        }
        config.map_or_else(Self::default, |config| Self::of(&config))
    }

    fn of(config: &Config) -> Self {
        let calls = config.server.listen.iter().find_map(|listener| url(listener, !config.server.tls.is_empty()));
        let admin = match &config.admin.listen {
            Some(listen) => listen.iter().find_map(|listener| url(listener, !config.admin.tls.is_empty())),
            None => calls.clone(),
        };
        let token = config.admin.token.as_ref().map(Secret::expose).filter(|token| !token.is_empty());
        Self { calls, admin, token: token.map(str::to_owned) }
    }
}

/// Whether a file is this user's own, or root's: one in a folder that others may write into must not say where tokens
/// go.
pub(super) fn is_trusted(file: &Path) -> bool {
    let owner = fs::metadata(file).map(|metadata| metadata.uid());
    owner.is_ok_and(|owner| owner == 0 || owner == geteuid().as_raw())
}

/// The URL of a listener that only programs of this machine reach. A token is not sent to other addresses unless they
/// were given.
fn url(listener: &Listener, has_tls: bool) -> Option<String> {
    let address = match &listener.address {
        ListenAddress::Tcp(address) => address,
        ListenAddress::Unix(path) => return Some(format!("unix:{}", path.display())),
    };
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    // The gateway chooses port 0 itself.
    let has_port = address.port() != 0;
    let url = || match has_tls && listener.tls {
        // Certificates have names rather than addresses.
        true => format!("https://localhost:{}", address.port()),
        false => format!("http://{}", SocketAddr::new(ip, address.port())),
    };
    (ip.is_loopback() && has_port).then(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_of_this_machine_has_a_url() {
        let of = |text: &str| url(&text.parse::<ListenAddress>().unwrap().into(), false);
        assert_eq!(of("127.0.0.1:9100").as_deref(), Some("http://127.0.0.1:9100"));
        assert_eq!(of("0.0.0.0:9100").as_deref(), Some("http://127.0.0.1:9100"));
        assert_eq!(of("[::]:9100").as_deref(), Some("http://[::1]:9100"));
        assert_eq!(of("unix:/run/m.sock").as_deref(), Some("unix:/run/m.sock"));
        assert_eq!(of("192.0.2.7:9100"), None);
        assert_eq!(of("127.0.0.1:0"), None);
    }
}
