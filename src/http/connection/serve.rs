//! One connection: its first bytes decide between HTTP/1 and HTTP/2, and it finishes its requests when the gateway
//! stops.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::mem;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncReadExt;
use tokio::sync::OwnedSemaphorePermit;

use crate::http::buffers::{ConnectionBuffers, Requests};
use crate::http::client_connection::{ClientConnection, Place, Program};
use crate::http::connection::activity::Activity;
use crate::http::connection::client::Client;
use crate::http::connection::frame_heads::FrameHeads;
use crate::http::connection::open_connections::{self, OpenConnections};
use crate::http::connection::open_streams::Streams;
use crate::http::connection::paced_body::{PacedBody, STALL, StreamExecutor};
use crate::http::connection::peers::PeerConnection;
use crate::http::connection::proxy_header::{self, ProxyHeader};
use crate::http::connection::socket::Socket;
use crate::http::connection::stream::{Deadlines, Stream, problem_text};
use crate::http::problem;
use crate::http::service::{Service, too_many_connections};
use crate::http::tls::Tls;
use crate::process::origin::Origin;

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
    /// Its TLS, where the listener has certificates.
    pub(super) tls: Option<Tls>,
    pub(super) deadlines: Deadlines,
    /// Says when the gateway stops.
    pub(super) connections: OpenConnections,
    pub(super) origin: Origin,
    /// Counts the connection among those of its peer.
    pub(super) peer: PeerConnection,
    pub(super) place: Place,
    /// Counts it among all.
    pub(super) _permit: OwnedSemaphorePermit,
}

/// What answers the requests of a connection.
struct Serving {
    service: Arc<Service>,
    client: ClientConnection,
}

impl Connection {
    /// Serves the connection to its end.
    pub(super) async fn run(self, mut stream: Socket) {
        stream.send_at_once();
        let (mut client, mut early) = (self.origin.address(), BytesMut::new());
        if self.service.proxies().sends_header(client) {
            // Boxed: the future of every connection would be larger.
            let Some(named) = Box::pin(self.proxy_header(&mut stream, &mut early)).await else { return };
            client = named.unwrap_or(client);
        }
        stream = match (&self.tls, stream) {
            (Some(tls), Socket::Tcp(tcp)) => {
                // Boxed, as above.
                let Some(encrypted) = Box::pin(self.encrypt(tls, tcp, mem::take(&mut early))).await else { return };
                encrypted
            }
            (_, stream) => stream,
        };
        let Some((early, is_h2)) = self.first_bytes(&mut stream, early).await else { return };
        let client = Client::of(client, &stream);
        let ended = if is_h2 {
            // Boxed: most connections are HTTP/1, and the state of this would enlarge each of them.
            Box::pin(self.serve_h2(stream, early, client)).await
        } else {
            self.serve_h1(stream, early, client).await
        };
        if let Err(error) = ended {
            tracing::debug!(peer = %self.origin, %error, "connection ended");
        }
    }

    /// Reads the header with which a proxy begins a connection, and returns the client that it names; the bytes after
    /// it are left in `early`. None if the header is malformed or late: there is nobody to answer.
    async fn proxy_header(&self, stream: &mut Socket, early: &mut BytesMut) -> Option<Option<IpAddr>> {
        let reading = async {
            loop {
                match proxy_header::read(early) {
                    ProxyHeader::Whole { length, client } => {
                        drop(early.split_to(length));
                        return Some(client);
                    }
                    ProxyHeader::Bad => return None,
                    ProxyHeader::Unfinished => {}
                }
                if stream.read_buf(early).await.ok()? == 0 {
                    return None;
                }
            }
        };
        let client = tokio::select! {
            client = tokio::time::timeout(self.deadlines.head, reading) => client.ok().flatten(),
            () = self.connections.idle_ends() => None,
        };
        if client.is_none() {
            tracing::debug!(proxy = %self.origin, "connection without a valid PROXY header closed");
        }
        client
    }

    /// Reads until it is clear whether this is HTTP/2, and then until the client's settings have arrived: hyper waits
    /// for them without a deadline.
    async fn first_bytes(&self, stream: &mut Socket, mut early: BytesMut) -> Option<(Bytes, bool)> {
        let reading = async {
            if early.is_empty() && !stream.may_hold_bytes() {
                // Idle connections cost no buffer.
                stream.readable().await.ok()?;
                early.reserve(1024);
            }
            loop {
                if has_h2_settings(&early) {
                    return Some(true);
                }
                if !early.starts_with(&H2_PREFACE[..early.len().min(H2_PREFACE.len())]) {
                    return Some(false);
                }
                if stream.read_buf(&mut early).await.ok()? == 0 {
                    return None;
                }
            }
        };
        let kind = tokio::select! {
            kind = tokio::time::timeout(self.deadlines.head, reading) => kind.ok().flatten(),
            () = self.connections.idle_ends() => None,
        };
        match kind {
            Some(is_h2) => Some((early.freeze(), is_h2)),
            None => {
                let is_draining = self.connections.is_draining();
                let problem = match self.place {
                    _ if is_draining => problem::draining(),
                    Place::Ordinary => problem::too_slow(),
                    Place::Reserved => too_many_connections(),
                };
                if !early.is_empty() || (self.place == Place::Reserved && !is_draining) {
                    stream.write_now(&problem_text(problem));
                }
                if is_draining {
                    open_connections::close(stream).await;
                }
                None
            }
        }
    }

    fn serving(&self, requests: Requests, client: Client) -> Arc<Serving> {
        let everyone = Arc::clone(self.peer.everyone());
        let peers = Arc::clone(self.peer.peers());
        let budget = if client.address == self.origin.address() {
            Arc::clone(self.peer.budget())
        } else {
            peers.budget_of(client.address)
        };
        let buffers = Arc::new(ConnectionBuffers::new(everyone, budget, requests));
        let program = Arc::new(Program::of(self.origin));
        let Client { address: peer, is_https, subject } = client;
        let client = ClientConnection { peer, buffers, place: self.place, program, peers, is_https, subject };
        Arc::new(Serving { service: Arc::clone(&self.service), client })
    }

    async fn serve_h1(&self, stream: Socket, early: Bytes, client: Client) -> hyper::Result<()> {
        let serving = self.serving(Requests::One, client);
        let activity = Arc::new(Activity::default());
        let mut stream = Stream::new(stream, early, Arc::clone(&activity), self.deadlines);
        loop {
            // Boxed, so that the memory of hyper's connection is given back while there are no requests.
            let idle = Box::pin(self.serve_requests(stream, Arc::clone(&serving), Arc::clone(&activity))).await?;
            let Some(idle) = idle else { return Ok(()) };
            stream = idle;
            let has_more = tokio::select! {
                has_more = stream.wait_for_request() => has_more,
                () = self.connections.idle_ends() => {
                    stream.close().await;
                    return Ok(());
                }
            };
            if !has_more {
                return Ok(());
            }
        }
    }

    /// Tells a connection of the drain, whenever it begins.
    async fn drain(&self, activity: &Activity) -> Infallible {
        self.connections.drain_begins().await;
        activity.begin_drain();
        self.connections.idle_ends().await;
        activity.end_idle();
        std::future::pending().await
    }

    /// Serves requests until the connection has ended, or has been idle for a while: then it is returned.
    async fn serve_requests(
        &self,
        stream: Stream,
        serving: Arc<Serving>,
        activity: Arc<Activity>,
    ) -> hyper::Result<Option<Stream>> {
        let served = Arc::clone(&activity);
        let service = service_fn(move |request: Request<Incoming>| {
            let busy = served.serve();
            if request.version() == Version::HTTP_10 {
                served.ends_bodies.store(true, Ordering::Relaxed);
            }
            let serving = Arc::clone(&serving);
            async move {
                busy.wait_turn().await;
                let response = serving.service.answer(request, &serving.client).await;
                Ok::<_, Infallible>(response.map(|body| body.guarded(busy)))
            }
        });
        let mut connection = http1::Builder::new().max_buf_size(H1_BUFFER).serve_connection(stream, service);
        let ended = tokio::select! {
            biased;
            // First: the connection has to be polled after this has changed how it ends.
            never = self.drain(&activity) => match never {},
            ended = poll_fn(|context| match Pin::new(&mut connection).poll(context) {
                Poll::Ready(ended) => Poll::Ready(Some(ended)),
                // The poll has read what there was: nothing is lost.
                Poll::Pending if activity.is_parked() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }) => ended,
        };
        match ended {
            Some(Err(error)) if error.is_user() && activity.ends_bodies.load(Ordering::Relaxed) => {
                connection.into_parts().io.reset();
                Err(error)
            }
            Some(ended) => ended.map(|()| None),
            None => Ok(Some(connection.into_parts().io)),
        }
    }

    async fn serve_h2(&self, stream: Socket, early: Bytes, client: Client) -> hyper::Result<()> {
        let streams = Arc::new(Streams::default());
        let idle = Arc::clone(&streams).idle(self.deadlines.idle);
        let serving = self.serving(Requests::Many, client);
        let service = service_fn(move |request| {
            let open = Streams::begin(&streams);
            let serving = Arc::clone(&serving);
            async move {
                let response = serving.service.answer(request, &serving.client).await;
                let buffers = Arc::clone(&serving.client.buffers);
                Ok::<_, Infallible>(response.map(|body| PacedBody::new(body, buffers, open)))
            }
        });
        let stream = TokioIo::new(FrameHeads::new(stream, early, H2_PREFACE.len(), self.deadlines.head));
        let connection = http2::Builder::new(StreamExecutor)
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
            () = self.connections.drain_begins() => {
                connection.as_mut().graceful_shutdown();
                return connection.await;
            }
            () = idle => connection.as_mut().graceful_shutdown(),
        }
        // All requests have ended, but the client may not have taken the last bytes of their answers.
        tokio::time::timeout(STALL, connection).await.unwrap_or(Ok(()))
    }
}
