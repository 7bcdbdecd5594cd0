//! The accept loop: connections are counted, and those beyond the limit are refused. Serving one is left to `serve`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::connection::serve::Connection;
use crate::http::connection::stream::{Deadlines, problem_text};
use crate::http::problem::{Code, Problem};
use crate::http::service::Service;
use crate::supervise;

/// `Retry-After` when there are too many connections.
const REFUSED_RETRY: Duration = Duration::from_secs(1);
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

/// Accepts connections until `stop`, then lets those that are open finish. Returns when none is left.
pub async fn serve(listener: TcpListener, service: Arc<Service>, limits: ConnectionLimits, stop: CancellationToken) {
    let connections = TaskTracker::new();
    let accepting = Arc::new(AcceptLoop {
        listener,
        service,
        limits,
        permits: Arc::new(Semaphore::new(limits.connections)),
        connections: connections.clone(),
        stop: stop.clone(),
    });
    let tasks = TaskTracker::new();
    supervise::forever(&tasks, &stop, TASK, move || Arc::clone(&accepting).run());
    tasks.close();
    // The listener is closed when this returns: it belongs to the task.
    tasks.wait().await;
    connections.close();
    connections.wait().await;
}

struct AcceptLoop {
    listener: TcpListener,
    service: Arc<Service>,
    limits: ConnectionLimits,
    permits: Arc<Semaphore>,
    connections: TaskTracker,
    stop: CancellationToken,
}

impl AcceptLoop {
    async fn run(self: Arc<Self>) {
        loop {
            let accepted = tokio::select! {
                // First: a listener with many connections must not keep the gateway from stopping.
                biased;
                () = self.stop.cancelled() => return,
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

    fn start(&self, stream: TcpStream, peer: SocketAddr) {
        match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => {
                let (service, stop) = (Arc::clone(&self.service), self.stop.clone());
                let connection = Connection { service, deadlines: self.limits.deadlines, stop, peer };
                self.connections.spawn(connection.run(stream, permit));
            }
            Err(_) => refuse(&stream),
        }
    }
}

/// Answers 503 in one write that does not wait, and closes the connection.
fn refuse(stream: &TcpStream) {
    let _unsent = stream
        .try_write(&problem_text(Problem::new(Code::Overloaded, "too many connections").retry_after(REFUSED_RETRY)));
}

fn is_clients_fault(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}
