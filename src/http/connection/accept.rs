//! The accept loop: connections are counted, and those beyond the limit are refused. Serving one is left to `serve`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::http::client_connection::Place;
use crate::http::connection::backlog;
use crate::http::connection::listener::{Accepted, Listener};
use crate::http::connection::open_connections::OpenConnections;
use crate::http::connection::peers::Peers;
use crate::http::connection::serve::Connection;
use crate::http::connection::socket::Socket;
use crate::http::connection::stream::{Deadlines, problem_text};
use crate::http::problem::{Code, Problem};
use crate::http::service::{Service, too_many_connections};
use crate::http::tls::Tls;
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

/// A listener.
#[derive(Debug)]
pub struct Listening {
    /// Its socket.
    pub listener: Listener,
    /// Its address in the configuration.
    pub address: String,
    /// Its TLS, if its connections are encrypted.
    pub tls: Option<Tls>,
}

/// What the listeners of one service share.
#[derive(Clone)]
pub struct Serving {
    service: Arc<Service>,
    deadlines: Deadlines,
    peers: Arc<Peers>,
    permits: Arc<Semaphore>,
    reserved: Arc<Semaphore>,
    connections: OpenConnections,
}

impl Serving {
    /// Connections that `service` answers, within `limits` together.
    #[must_use]
    pub fn new(service: Service, limits: ConnectionLimits, peers: &Arc<Peers>, connections: &OpenConnections) -> Self {
        Self {
            service: Arc::new(service),
            deadlines: limits.deadlines,
            peers: Arc::clone(peers),
            permits: Arc::new(Semaphore::new(limits.connections)),
            reserved: Arc::new(Semaphore::new(RESERVED)),
            connections: connections.clone(),
        }
    }
}

/// The name of the accept loop as a long-lived task.
const TASK: &str = "accept-loop";

/// Accepts connections until the listeners are to close. When this returns, the listener is closed; connections may
/// still be open.
pub async fn serve(listening: Listening, serving: Serving) {
    let closing = serving.connections.closing().clone();
    let accepting = Arc::new(AcceptLoop { listening, serving });
    let tasks = TaskTracker::new();
    supervise::forever(&tasks, &closing, TASK, move || Arc::clone(&accepting).run());
    tasks.close();
    // The listener belongs to the task.
    tasks.wait().await;
}

struct AcceptLoop {
    listening: Listening,
    serving: Serving,
}

impl AcceptLoop {
    async fn run(self: Arc<Self>) {
        loop {
            let accepted = tokio::select! {
                // First: a listener with many connections must not keep the gateway from stopping.
                biased;
                () = self.serving.connections.closing().cancelled() => {
                    if self.serving.connections.is_handed_over(&self.listening.address) {
                        return;
                    }
                    return backlog::accept_last(&self.listening.listener, |accepted| self.start(accepted)).await;
                }
                accepted = self.listening.listener.accept() => accepted,
            };
            supervise::panic_point(TASK);
            match accepted {
                Ok(accepted) => self.start(accepted),
                Err(error) if is_clients_fault(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn start(&self, accepted: Accepted) {
        let Some(origin) = accepted.origin() else { return };
        let mut socket = accepted.socket;
        let Some(peer) = self.serving.peers.connect(origin.address()) else {
            let message = "too many connections from this address (max_connections_per_peer)";
            return self.refuse(&mut socket, Problem::new(Code::Overloaded, message).retry_after(PEER_RETRY));
        };
        let place = |permits: &Arc<Semaphore>, place| Some((Arc::clone(permits).try_acquire_owned().ok()?, place));
        let taken =
            place(&self.serving.permits, Place::Ordinary).or_else(|| place(&self.serving.reserved, Place::Reserved));
        let Some((permit, place)) = taken else { return self.refuse(&mut socket, too_many_connections()) };
        let mut deadlines = self.serving.deadlines;
        if place == Place::Reserved {
            deadlines.head = deadlines.head.min(RESERVED_HEAD);
            deadlines.idle = deadlines.idle.min(RESERVED_HEAD);
        }
        let (service, connections) = (Arc::clone(&self.serving.service), self.serving.connections.clone());
        let tls = self.listening.tls.clone();
        let connection = Connection { service, tls, deadlines, connections, origin, peer, place, _permit: permit };
        self.serving.connections.spawn(connection.run(socket));
    }

    /// Answers in one write that does not wait, and closes the connection. A client that waits for a handshake is not
    /// answered: it could not read it.
    fn refuse(&self, socket: &mut Socket, problem: Problem) {
        self.serving.connections.count_refused();
        if self.listening.tls.is_none() {
            socket.write_now(&problem_text(problem));
        }
    }
}

fn is_clients_fault(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}
