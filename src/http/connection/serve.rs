//! One connection: its first bytes decide between HTTP/1 and HTTP/2, and it finishes its requests when the gateway
//! stops.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use crate::http::connection::open_streams::Streams;
use crate::http::connection::stream::{Activity, Deadlines, Stream, problem_text};
use crate::http::problem::{Code, Problem};
use crate::http::service::Service;

/// The first bytes of an HTTP/2 connection: RFC 9113, section 3.4.
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const H2_FRAME_HEAD: usize = 9;
const H2_SETTINGS: usize = 1024;
const H2_STREAMS: u32 = 100;
const H2_STREAM_WINDOW: u32 = 64 * 1024;
const H2_CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Larger heads are answered by h2 itself. The limit of the service is lower, so that its error answers come first.
const H2_HEADERS: u32 = 64 * 1024;
const H2_PING: Duration = Duration::from_secs(20);
const H2_PONG: Duration = Duration::from_secs(10);
/// Bytes of hyper's read buffer; `head` limits heads to less.
const H1_BUFFER: usize = 64 * 1024;

/// Whether the first bytes are HTTP/2's preface and a whole SETTINGS frame: RFC 9113, section 4.1.
fn has_h2_settings(early: &[u8]) -> bool {
    match early.strip_prefix(H2_PREFACE) {
        Some(frame @ [a, b, c, _, _, _, _, _, _, ..]) => {
            let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
            // hyper refuses a frame that is larger than any SETTINGS.
            length > H2_SETTINGS || frame.len() >= H2_FRAME_HEAD + length
        }
        _ => false,
    }
}

/// A connection that was accepted.
pub(super) struct Connection {
    pub(super) service: Arc<Service>,
    pub(super) deadlines: Deadlines,
    /// Stops reading new requests; those that have begun are answered.
    pub(super) stop: CancellationToken,
    pub(super) peer: SocketAddr,
}

impl Connection {
    /// Serves the connection to its end.
    pub(super) async fn run(self, mut stream: TcpStream, _permit: OwnedSemaphorePermit) {
        // An answer is one write: waiting to fill a packet only delays it.
        let _unsupported = stream.set_nodelay(true);
        let Some((early, is_h2)) = self.first_bytes(&mut stream).await else { return };
        let ended = if is_h2 { self.serve_h2(stream, early).await } else { self.serve_h1(stream, early).await };
        if let Err(error) = ended {
            tracing::debug!(peer = %self.peer, %error, "connection ended");
        }
    }

    /// Reads until it is clear whether this is HTTP/2, and then until the client's settings have arrived: hyper waits
    /// for them without a deadline.
    async fn first_bytes(&self, stream: &mut TcpStream) -> Option<(Bytes, bool)> {
        let mut early = BytesMut::with_capacity(1024);
        let reading = async {
            loop {
                if stream.read_buf(&mut early).await.ok()? == 0 {
                    return None;
                }
                if has_h2_settings(&early) {
                    return Some(true);
                }
                if !early.starts_with(&H2_PREFACE[..early.len().min(H2_PREFACE.len())]) {
                    return Some(false);
                }
            }
        };
        let kind = tokio::select! {
            kind = tokio::time::timeout(self.deadlines.head, reading) => kind.ok().flatten(),
            () = self.stop.cancelled() => None,
        };
        match kind {
            Some(is_h2) => Some((early.freeze(), is_h2)),
            None => {
                if !early.is_empty() {
                    let problem = Problem::new(Code::RequestTimeout, "the request came too slowly");
                    let _unsent = stream.try_write(&problem_text(problem));
                }
                None
            }
        }
    }

    async fn serve_h1(&self, stream: TcpStream, early: Bytes) -> hyper::Result<()> {
        let activity = Arc::new(Activity::default());
        let stream = Stream::new(stream, early, Arc::clone(&activity), self.deadlines);
        let service = service_fn(move |request| {
            let serving = activity.serve();
            let service = Arc::clone(&self.service);
            async move {
                Ok::<_, Infallible>(service.answer(request, self.peer.ip()).await.map(|body| body.guarded(serving)))
            }
        });
        let connection = http1::Builder::new().max_buf_size(H1_BUFFER).serve_connection(stream, service);
        tokio::pin!(connection);
        tokio::select! {
            biased;
            ended = connection.as_mut() => return ended,
            () = self.stop.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    }

    async fn serve_h2(&self, stream: TcpStream, early: Bytes) -> hyper::Result<()> {
        let streams = Arc::new(Streams::default());
        let idle = Arc::clone(&streams).idle(self.deadlines.idle);
        let counted = Arc::clone(&streams);
        let (service, peer) = (Arc::clone(&self.service), self.peer.ip());
        let service = service_fn(move |request| {
            let service = Arc::clone(&service);
            let serving = Streams::begin(&counted);
            async move { Ok::<_, Infallible>(service.answer(request, peer).await.map(|body| body.guarded(serving))) }
        });
        let (read, write) = stream.into_split();
        let stream = TokioIo::new(tokio::io::join(io::Cursor::new(early).chain(read), write));
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(H2_PING)
            .keep_alive_timeout(H2_PONG)
            .max_concurrent_streams(H2_STREAMS)
            .initial_stream_window_size(H2_STREAM_WINDOW)
            .initial_connection_window_size(H2_CONNECTION_WINDOW)
            .max_header_list_size(H2_HEADERS)
            .serve_connection(stream, service);
        tokio::pin!(connection);
        tokio::select! {
            biased;
            ended = connection.as_mut() => return ended,
            () = self.stop.cancelled() => connection.as_mut().graceful_shutdown(),
            () = idle => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    }
}
