//! The first part of a connection to a listener with certificates: the client's first bytes decide whether it speaks
//! TLS at all, and it has a deadline for its handshake.

use std::future::Future;
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::http::connection::open_connections;
use crate::http::connection::serve::Connection;
use crate::http::connection::socket::Socket;
use crate::http::connection::stream::problem_text;
use crate::http::problem::{Code, Problem};
use crate::http::tls::{Outcome, Tls};

/// How long a handshake may go on after the drain has begun. What the client then asks for is still answered.
const DRAIN_GRACE: Duration = Duration::from_secs(1);

/// What a client has begun with.
enum Start {
    /// It has closed the connection, as probes of ports do.
    Closed,
    /// HTTP without TLS.
    PlainHttp(TcpStream),
    Encrypted(Box<crate::http::tls::TlsStream>),
}

impl Connection {
    /// Makes the handshake; `early` was already read. None if there is nobody to serve.
    pub(super) async fn encrypt(&self, tls: &Tls, stream: TcpStream, early: BytesMut) -> Option<Socket> {
        let started = tokio::select! {
            started = tokio::time::timeout(self.deadlines.head, start(tls, stream, early)) => started,
            () = self.drain_ends_handshakes() => return None,
        };
        let outcome = match started {
            Ok(Ok(Start::Encrypted(stream))) => {
                tls.handshakes().count(Outcome::Done);
                return Some(Socket::Tls(stream));
            }
            Ok(Ok(Start::Closed)) => return None,
            Ok(Ok(Start::PlainHttp(stream))) => {
                // Before the client has its answer.
                tls.handshakes().count(Outcome::PlainHttp);
                let message = "this address takes HTTPS, and the request came without TLS: use https://";
                let mut socket = Socket::Tcp(stream);
                socket.write_now(&problem_text(Problem::new(Code::BadRequest, message)));
                open_connections::close(&mut socket).await;
                return None;
            }
            Ok(Err(error)) => {
                tracing::debug!(peer = %self.origin, %error, "TLS handshake failed");
                Outcome::Failed
            }
            Err(_) => Outcome::TimedOut,
        };
        tls.handshakes().count(outcome);
        None
    }

    fn drain_ends_handshakes(&self) -> impl Future<Output = ()> {
        let connections = self.connections.clone();
        async move {
            connections.drain_begins().await;
            tokio::time::sleep(DRAIN_GRACE).await;
        }
    }
}

async fn start(tls: &Tls, mut stream: TcpStream, mut early: BytesMut) -> io::Result<Start> {
    if early.is_empty() {
        stream.readable().await?;
        if stream.read_buf(&mut early).await? == 0 {
            return Ok(Start::Closed);
        }
    }
    // A method begins with a letter, and a record of TLS with a number below 32: RFC 8446, section 5.1.
    if early[0].is_ascii_alphabetic() {
        return Ok(Start::PlainHttp(stream));
    }
    Ok(Start::Encrypted(Box::new(tls.accept(stream, early.freeze()).await?)))
}
