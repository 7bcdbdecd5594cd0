//! Listening sockets that this process was given, by systemd or by its predecessor. The addresses of the configuration
//! that match take them, so that connections which wait in them are served.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;

use crate::config::ListenAddress;

/// A socket that was given.
pub(super) struct GivenSocket {
    pub(super) descriptor: OwnedFd,
    /// Whether the gateway removes the file of a UNIX socket at its end. Those of systemd stay.
    pub(super) owns_file: bool,
}

/// Sockets by their addresses.
#[derive(Default)]
pub(super) struct GivenSockets(BTreeMap<String, Vec<GivenSocket>>);

impl GivenSockets {
    /// Those of socket activation: `sd_listen_fds(3)`.
    pub(super) fn of_systemd() -> Self {
        let mut given = Self::default();
        let mut descriptors = ListenFd::from_env();
        for number in 0..descriptors.len() {
            let tcp = descriptors.take_tcp_listener(number).ok().flatten();
            let found = match tcp {
                Some(listener) => address_of_tcp(&listener).map(|address| (address, OwnedFd::from(listener))),
                None => descriptors
                    .take_unix_listener(number)
                    .ok()
                    .flatten()
                    .and_then(|listener| Some((address_of_unix(&listener)?, OwnedFd::from(listener)))),
            };
            match found {
                Some((address, descriptor)) => given.add(address, GivenSocket { descriptor, owns_file: false }),
                None => tracing::warn!(number, "a socket of systemd is neither TCP nor UNIX: it is not used"),
            }
        }
        given
    }

    /// Adds a socket.
    pub(super) fn add(&mut self, address: String, socket: GivenSocket) {
        self.0.entry(address).or_default().push(socket);
    }

    /// Takes a socket of this address.
    pub(super) fn take(&mut self, address: &ListenAddress) -> Option<GivenSocket> {
        self.0.get_mut(&address.to_string())?.pop()
    }

    /// Reports those that no address of the configuration has taken, and closes them.
    pub(super) fn report_rest(self) {
        for address in self.0.iter().filter(|(_, sockets)| !sockets.is_empty()).map(|(address, _)| address) {
            tracing::warn!(address, "a given socket is not used: \"listen\" does not have its address");
        }
    }
}

fn address_of_tcp(listener: &TcpListener) -> Option<String> {
    // `listenfd` takes datagram sockets for listeners of the same family.
    let is_stream =
        rustix::net::sockopt::socket_type(listener.as_fd()).is_ok_and(|t| t == rustix::net::SocketType::STREAM);
    listener.local_addr().ok().filter(|_| is_stream).map(|address| address.to_string())
}

fn address_of_unix(listener: &UnixListener) -> Option<String> {
    let address = listener.local_addr().ok()?;
    Some(format!("unix:{}", address.as_pathname()?.display()))
}
