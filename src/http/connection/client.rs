//! The client of a connection, as the connection shows it.

use std::net::IpAddr;
use std::sync::Arc;

use crate::http::connection::socket::Socket;
use crate::http::tls;

/// The client of a connection.
pub(super) struct Client {
    pub(super) address: IpAddr,
    pub(super) is_https: bool,
    pub(super) subject: Option<Arc<str>>,
}

impl Client {
    /// The client at an address, as its connection shows it.
    pub(super) fn of(address: IpAddr, socket: &Socket) -> Self {
        let Socket::Tls(stream) = socket else { return Self { address, is_https: false, subject: None } };
        Self { address, is_https: true, subject: tls::client_subject(stream).map(Into::into) }
    }
}
