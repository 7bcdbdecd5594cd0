//! The connection that a request arrives on, as far as the service needs it.

use std::net::IpAddr;
use std::sync::Arc;

use crate::http::buffers::ConnectionBuffers;

/// A client's connection.
#[derive(Debug, Clone)]
pub struct ClientConnection {
    /// The client's address.
    pub peer: IpAddr,
    /// The bytes held for it.
    pub buffers: Arc<ConnectionBuffers>,
    /// What it may ask for.
    pub place: Place,
}

/// The place of a connection among all connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// One of `max_connections`.
    Ordinary,
    /// One of the few beyond, for health checks and the API. Such a connection gets one answer and is closed.
    Reserved,
}
