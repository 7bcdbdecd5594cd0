//! The end of a listener: the connections that the kernel has made by itself are accepted first. Closing a socket
//! resets the connections in its backlog.

use std::io;
use std::time::Duration;

use socket2::{SockFilter, SockRef};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout_at};

use crate::http::connection::listener::{Accepted, Listener};

/// How long connections are awaited whose first packet arrived before the listener refused others.
const HANDSHAKES: Duration = Duration::from_millis(20);

/// Byte of the TCP header that holds the flags: RFC 9293, section 3.1.
const FLAGS: u32 = 13;
const SYN: u32 = 0x02;
const ACK: u32 = 0x10;
// Instructions of the kernel's packet filters: linux/bpf_common.h.
const LOAD_BYTE: u16 = 0x30;
const AND: u16 = 0x54;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// Accepts the connections that the kernel has ready, and closes the listener. Without new connections there is a
/// moment at which none is left; there are none at a UNIX socket whose path was removed.
pub(super) async fn accept_last(listener: &Listener, start: impl Fn(Accepted)) {
    if let Listener::Tcp(tcp) = listener
        && let Err(error) = refuse_handshakes(tcp)
    {
        tracing::debug!(%error, "a connection that is made at this moment may be reset");
    }
    let until = Instant::now() + HANDSHAKES;
    // Once the time is over, this still returns connections that are ready.
    while let Ok(Ok(accepted)) = timeout_at(until, listener.accept()).await {
        start(accepted);
    }
}

/// Has the kernel drop the first packet of every further connection. Its client sends it again after a second, to a
/// closed port or to the next gateway.
fn refuse_handshakes(listener: &TcpListener) -> io::Result<()> {
    SockRef::from(listener).attach_filter(&[
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS),
        SockFilter::new(AND, 0, 0, SYN | ACK),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ])
}
