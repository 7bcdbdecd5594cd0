//! What the gateway tells systemd, if that has started it: that it is ready, reloads, stops, lives, or has a successor.
//! Protocol: `sd_notify(3)`; one datagram a message. It is a few lines here rather than one more crate.

use std::env;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::supervise;

/// The name of the task that says that the gateway lives.
const TASK: &str = "watchdog";

/// The socket of systemd; does nothing without one.
#[derive(Debug, Clone, Default)]
pub(super) struct Notify {
    socket: Option<Arc<UnixDatagram>>,
    /// How often systemd wants to hear that the gateway lives.
    watchdog: Option<Duration>,
}

impl Notify {
    /// That of `NOTIFY_SOCKET`. A successor is watched as its predecessor was.
    pub(super) fn from_environment(is_successor: bool) -> Self {
        let Some(name) = env::var("NOTIFY_SOCKET").ok().filter(|name| !name.is_empty()) else { return Self::default() };
        let own = env::var("WATCHDOG_PID").is_ok_and(|pid| pid == std::process::id().to_string());
        let is_watched = is_successor || own || env::var_os("WATCHDOG_PID").is_none();
        let micros = env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse().ok()).filter(|micros| *micros > 0);
        match connect(&name) {
            Ok(socket) => Self {
                socket: Some(Arc::new(socket)),
                watchdog: micros.filter(|_| is_watched).map(Duration::from_micros),
            },
            Err(error) => {
                tracing::warn!(%error, socket = name, "the service manager cannot be notified");
                Self::default()
            }
        }
    }

    /// Whether there is a service manager.
    pub(super) fn is_heard(&self) -> bool {
        self.socket.is_some()
    }

    /// The gateway takes calls, or has reloaded.
    pub(super) fn ready(&self) {
        self.send("READY=1");
    }

    /// The gateway reads its configuration; [`Self::ready`] follows.
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// The gateway stops.
    pub(super) fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// Another process serves from now on.
    pub(super) fn main_process(&self, pid: u32) {
        self.send(&format!("MAINPID={pid}\nREADY=1"));
    }

    /// Says that the gateway lives, twice in each interval, until `stop`. It does so on the thread that serves: one
    /// that hangs says nothing.
    pub(super) fn watch(&self, tasks: &TaskTracker, stop: &CancellationToken) {
        let Some(interval) = self.watchdog else { return };
        let notify = self.clone();
        supervise::until_stopped(tasks, stop, TASK, move || {
            let notify = notify.clone();
            async move {
                loop {
                    supervise::panic_point(TASK);
                    notify.send("WATCHDOG=1");
                    tokio::time::sleep(interval / 2).await;
                }
            }
        });
    }

    fn send(&self, message: &str) {
        // The socket does not block: systemd that does not read must not stop the gateway.
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(message.as_bytes()) {
            tracing::debug!(%error, "the service manager was not notified");
        }
    }
}

fn connect(name: &str) -> std::io::Result<UnixDatagram> {
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
