//! The connection that a request arrives on, as far as the service needs it.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::OnceCell;

use crate::http::buffers::ConnectionBuffers;
use crate::http::connection::peers::Peers;
use crate::process::connection_owner::{Owner, Owners};
use crate::process::origin::Origin;

/// A client's connection.
#[derive(Debug, Clone)]
pub struct ClientConnection {
    /// The client's address; for a request that a trusted proxy passes on, that of the proxy's client.
    pub peer: IpAddr,
    /// The bytes held for it.
    pub buffers: Arc<ConnectionBuffers>,
    /// What it may ask for.
    pub place: Place,
    /// The program that has opened it.
    pub program: Arc<Program>,
    /// The budgets of clients behind proxies.
    pub peers: Arc<Peers>,
    /// The client uses https: the connection is encrypted, or a trusted proxy says so.
    pub is_https: bool,
    /// The subject of the certificate that the connection has shown.
    pub subject: Option<Arc<str>>,
}

impl ClientConnection {
    /// The same for a request of a client behind the proxy that this connection belongs to.
    #[must_use]
    pub fn of_client(&self, client: IpAddr, is_https: bool) -> Self {
        let buffers = Arc::new(self.buffers.of_client(self.peers.budget_of(client)));
        Self { peer: client, buffers, is_https, ..self.clone() }
    }
}

/// The program that has opened a connection. It is looked up when the first request asks for it.
#[derive(Debug)]
pub struct Program {
    origin: Origin,
    owner: OnceCell<Owner>,
}

impl Program {
    /// That of a connection.
    #[must_use]
    pub fn of(origin: Origin) -> Self {
        Self { origin, owner: OnceCell::new() }
    }

    /// Who it is.
    pub async fn find(&self, owners: &Owners) -> Owner {
        let finding = || async { owners.find(self.origin).await.ok_or(Owner::Unknown) };
        // A search that took too long is not the last one.
        self.owner.get_or_try_init(finding).await.map_or_else(|unknown| unknown, |owner| *owner)
    }
}

/// The place of a connection among all connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// One of `max_connections`.
    Ordinary,
    /// One of the few beyond, for health checks and the API. Such a connection gets one answer and is closed.
    Reserved,
}
