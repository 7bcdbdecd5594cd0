//! Requests of functions to other servers through wasi:http: to granted origins only, without following redirects, within
//! the call's time.

use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http_body_util::{BodyExt, Full, Limited};
use tokio::sync::{AcquireError, Semaphore};
use url::Url;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::addresses::Reach;
use crate::config::HttpGrant;
use crate::outbound::{Network, SendError};

/// Longest body, of a request and of an answer.
const BODY_LIMIT: usize = 16 << 20;

/// Requests on their way at a time, of one call and of all.
const CALL_REQUESTS: usize = 16;
const ALL_REQUESTS: usize = 64;

/// Sends the requests of one call.
pub(super) struct Requests {
    shared: Arc<Shared>,
    deadline: Instant,
    turns: Arc<Semaphore>,
    /// Bytes of answers that the call may still be given.
    room: Arc<AtomicUsize>,
}

/// What sends the requests of all calls.
pub(super) struct Shared {
    granted: Arc<Vec<HttpGrant>>,
    /// Made when the first request is sent.
    network: OnceLock<Network>,
    turns: Semaphore,
    /// Bytes of all answers that one call may be given.
    room: usize,
}

impl Requests {
    /// For a call that has time until then.
    pub(super) fn new(shared: &Arc<Shared>, deadline: Instant) -> Self {
        let (turns, room) = (Arc::new(Semaphore::new(CALL_REQUESTS)), Arc::new(AtomicUsize::new(shared.room)));
        Self { shared: Arc::clone(shared), deadline, turns, room }
    }

    /// For a further call in the same instance.
    pub(super) fn again(&self, deadline: Instant) -> Self {
        Self::new(&self.shared, deadline)
    }
}

impl Shared {
    /// For requests to what is granted, whose answers may have `room` bytes in one call.
    pub(super) fn new(granted: Vec<HttpGrant>, room: usize) -> Self {
        let granted = Arc::new(granted);
        Self { granted, network: OnceLock::new(), turns: Semaphore::new(ALL_REQUESTS), room }
    }

    fn network(&self) -> &Network {
        self.network.get_or_init(|| {
            let granted: Arc<dyn Reach> = Arc::clone(&self.granted) as _;
            Network::new(granted)
        })
    }
}

type Rest = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sending = Box<dyn Future<Output = Result<(http::Response<WasiBody>, Rest), Error>> + Send>;

impl WasiHttpHooks for Requests {
    fn send_request(&mut self, request: http::Request<WasiBody>, options: Option<RequestOptions>, _: Rest) -> Sending {
        let (shared, deadline) = (Arc::clone(&self.shared), self.deadline);
        let (turns, room) = (Arc::clone(&self.turns), Arc::clone(&self.room));
        Box::new(async move {
            let (mut head, body) = request.into_parts();
            let url = Url::parse(&head.uri.to_string()).map_err(|_| Error::HttpRequestUriInvalid)?;
            if !shared.granted.allows_url(&url) {
                return Err(Error::HttpRequestDenied);
            }
            let body = Limited::new(body, BODY_LIMIT).collect();
            let body =
                tokio::time::timeout_at(deadline.into(), body).await.map_err(|_| Error::ConnectionWriteTimeout)?;
            let body = body.map_err(|_| Error::HttpRequestBodySize(None))?.to_bytes();
            let turn = async { Ok::<_, AcquireError>((turns.acquire().await?, shared.turns.acquire().await?)) };
            let turn =
                tokio::time::timeout_at(deadline.into(), turn).await.map_err(|_| Error::ConnectionLimitReached)?;
            let _turn = turn.map_err(|_| Error::ConnectionLimitReached)?;
            // The client sets these itself.
            for own in [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE, TE] {
                head.headers.remove(own);
            }
            let deadline =
                options.as_ref().and_then(longest_wait).map_or(deadline, |wait| deadline.min(Instant::now() + wait));
            let exchanging = Arc::clone(&shared);
            let exchange = move || {
                let answer =
                    exchanging.network().send(&head.method, &url, &head.headers, &body, deadline).map_err(failed)?;
                read(answer, &room)
            };
            let answer = tokio::task::spawn_blocking(exchange).await;
            let answer = answer.map_err(|_| Error::InternalError(Some("the request was given up".to_owned())))??;
            Ok((answer, Box::new(async { Ok(()) }) as Rest))
        })
    }
}

/// How long all of it may take where each part has a limit.
fn longest_wait(options: &RequestOptions) -> Option<Duration> {
    let RequestOptions { connect_timeout, first_byte_timeout, .. } = options;
    Some(connect_timeout.as_ref()?.saturating_add(*first_byte_timeout.as_ref()?))
}

fn failed(error: SendError) -> Error {
    match error {
        SendError::User => Error::HttpRequestUriInvalid,
        SendError::NotGranted(_) => Error::HttpRequestDenied,
        SendError::Private(_) => Error::DestinationIpProhibited,
        SendError::NoTime | SendError::TimedOut => Error::ConnectionTimeout,
        SendError::Failed(words) => Error::InternalError(Some(words)),
    }
}

fn read(answer: http::Response<ureq::Body>, room: &AtomicUsize) -> Result<http::Response<WasiBody>, Error> {
    let (head, mut body) = answer.into_parts();
    let mut bytes = Vec::new();
    let most = BODY_LIMIT.min(room.load(Ordering::Relaxed));
    body.as_reader().take(most as u64 + 1).read_to_end(&mut bytes).map_err(|_| Error::HttpResponseIncomplete)?;
    let left = |room: usize| room.checked_sub(bytes.len());
    if bytes.len() > most || room.try_update(Ordering::Relaxed, Ordering::Relaxed, left).is_err() {
        return Err(Error::HttpResponseBodySize(None));
    }
    let body = Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed_unsync();
    Ok(http::Response::from_parts(head, body))
}
