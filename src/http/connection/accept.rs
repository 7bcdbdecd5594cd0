//! The accept loop: connections are counted, and those beyond the limit are refused. Serving one is left to `serve`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::http::client_connection::Place;
use crate::http::connection::backlog;
use crate::http::connection::open_connections::OpenConnections;
use crate::http::connection::peers::Peers;
use crate::http::connection::serve::Connection;
use crate::http::connection::stream::{Deadlines, problem_text};
use crate::http::problem::{Code, Problem};
use crate::http::service::{Service, too_many_connections};
use crate::process::connection_owner::Ends;
use crate::supervise;

/// `Retry-After` for a peer with too many connections.
const PEER_RETRY: Duration = Duration::from_secs(1);
/// Connections beyond the limit, for health checks and the API, so that an overload can be seen and ended.
pub const RESERVED: usize = 16;
/// How long such a connection may wait for a request.
const RESERVED_HEAD: Duration = Duration::from_secs(1);
/// The pause after a failed accept: it fails again at once while the process has no free descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Limits of a listener's connections.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// Connections at once.
    pub connections: usize,
    /// The deadlines of each.
    pub deadlines: Deadlines,
}

/// The name of the accept loop as a long-lived task.
const TASK: &str = "accept-loop";

/// Accepts connections until the listeners are to close. When this returns, the listener is closed; connections may
/// still be open.
pub async fn serve(
    listener: TcpListener,
    service: Arc<Service>,
    limits: ConnectionLimits,
    peers: Arc<Peers>,
    connections: OpenConnections,
) {
    let closing = connections.closing().clone();
    let accepting = Arc::new(AcceptLoop {
        listener,
        service,
        limits,
        peers,
        permits: Arc::new(Semaphore::new(limits.connections)),
        reserved: Arc::new(Semaphore::new(RESERVED)),
        connections,
    });
    let tasks = TaskTracker::new();
    supervise::forever(&tasks, &closing, TASK, move || Arc::clone(&accepting).run());
    tasks.close();
    // The listener belongs to the task.
    tasks.wait().await;
}

struct AcceptLoop {
    listener: TcpListener,
    service: Arc<Service>,
    limits: ConnectionLimits,
    peers: Arc<Peers>,
    permits: Arc<Semaphore>,
    reserved: Arc<Semaphore>,
    connections: OpenConnections,
}

impl AcceptLoop {
    async fn run(self: Arc<Self>) {
        loop {
            let accepted = tokio::select! {
                // First: a listener with many connections must not keep the gateway from stopping.
                biased;
                () = self.connections.closing().cancelled() => {
                    return backlog::accept_last(&self.listener, |stream, peer| self.start(stream, peer)).await;
                }
                accepted = self.listener.accept() => accepted,
            };
            supervise::panic_point(TASK);
            match accepted {
                Ok((stream, peer)) => self.start(stream, peer),
                Err(error) if is_clients_fault(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn start(&self, stream: TcpStream, address: SocketAddr) {
        let Some(peer) = self.peers.connect(address.ip()) else {
            let message = "too many connections from this address (max_connections_per_peer)";
            return self.refuse(&stream, Problem::new(Code::Overloaded, message).retry_after(PEER_RETRY));
        };
        let place = |permits: &Arc<Semaphore>, place| Some((Arc::clone(permits).try_acquire_owned().ok()?, place));
        let taken = place(&self.permits, Place::Ordinary).or_else(|| place(&self.reserved, Place::Reserved));
        let Some((permit, place)) = taken else { return self.refuse(&stream, too_many_connections()) };
        let mut deadlines = self.limits.deadlines;
        if place == Place::Reserved {
            deadlines.head = deadlines.head.min(RESERVED_HEAD);
            deadlines.idle = deadlines.idle.min(RESERVED_HEAD);
        }
        // It fails for a connection that has ended already.
        let Ok(server) = stream.local_addr() else { return };
        let ends = Ends { client: address, server };
        let (service, connections) = (Arc::clone(&self.service), self.connections.clone());
        let connection = Connection { service, deadlines, connections, ends, peer, place, _permit: permit };
        self.connections.spawn(connection.run(stream));
    }

    /// Answers in one write that does not wait, and closes the connection.
    fn refuse(&self, stream: &TcpStream, problem: Problem) {
        self.connections.count_refused();
        let _unsent = stream.try_write(&problem_text(problem));
    }
}

fn is_clients_fault(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}
