//! A listening socket, TCP or UNIX, and what it accepts.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use tokio::net::{TcpListener, UnixListener};

use crate::http::connection::socket::Socket;
use crate::process::origin::{Credentials, Ends, Origin};

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    /// For TCP connections.
    Tcp(TcpListener),
    /// At a path of this machine.
    Unix(UnixListener),
}

/// What was accepted, before it is looked at.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) socket: Socket,
    /// The client's address, of a TCP connection.
    client: Option<SocketAddr>,
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

impl Listener {
    /// Waits for a connection.
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, client) = listener.accept().await?;
                Ok(Accepted { socket: Socket::Tcp(stream), client: Some(client) })
            }
            Self::Unix(listener) => {
                let (stream, _nameless) = listener.accept().await?;
                Ok(Accepted { socket: Socket::Unix(stream), client: None })
            }
        }
    }
}

impl Accepted {
    /// Where the connection comes from; none if it has ended already.
    pub(super) fn origin(&self) -> Option<Origin> {
        match (&self.socket, self.client) {
            (Socket::Tcp(stream), Some(client)) => {
                Some(Origin::Tcp(Ends { client, server: stream.local_addr().ok()? }))
            }
            (Socket::Unix(stream), _) => {
                let peer = stream.peer_cred().ok()?;
                Some(Origin::Unix(Credentials::new(peer.pid(), peer.uid())))
            }
            (Socket::Tcp(_), None) | (Socket::Tls(_), _) => None,
        }
    }
}
