//! Where a connection comes from: the addresses of its ends, or the process that has connected to a UNIX socket.

use std::fmt;
use std::net::IpAddr;

use crate::addresses::{PeerText, UNIX_PEER};
pub use crate::process::tcp_table::Ends;

/// The origin of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A TCP connection.
    Tcp(Ends),
    /// A connection to a UNIX socket.
    Unix(Credentials),
}

/// The process that has connected to a UNIX socket, as it was then: `SO_PEERCRED` of `unix(7)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credentials {
    /// Its id; none if it is in a namespace that cannot be seen from here.
    pub pid: Option<i32>,
    /// Its user.
    pub uid: u32,
    /// When it had connected at the latest, in clock ticks since boot: a process that was started later has only
    /// inherited the id.
    pub since: u64,
}

impl Credentials {
    /// Those of a process that has connected before now.
    #[must_use]
    pub fn new(pid: Option<i32>, uid: u32) -> Self {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let per_second = rustix::param::clock_ticks_per_second();
        let (seconds, nanoseconds) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
        let since = seconds.unwrap_or(0) * per_second + nanoseconds.unwrap_or(0) * per_second / 1_000_000_000;
        // A process of another namespace has the id 0 here.
        Self { pid: pid.filter(|pid| *pid > 0), uid, since }
    }
}

impl Origin {
    /// The client's address; [`UNIX_PEER`] for a UNIX socket.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        match self {
            Self::Tcp(ends) => ends.client.ip(),
            Self::Unix(_) => UNIX_PEER,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(ends) => ends.client.fmt(f),
            Self::Unix(_) => PeerText(UNIX_PEER).fmt(f),
        }
    }
}
