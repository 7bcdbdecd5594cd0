//! Requests that functions send to other servers through wasi:http: to granted origins only, without following
//! redirects, for a limited time.

use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http_body_util::{BodyExt, Full, Limited};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use url::Url;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::addresses::Reach;
use crate::config::HttpGrant;
use crate::outbound::{Network, SendError};

/// Longest body of a request and of a response, in bytes.
const BODY_LIMIT: usize = 16 << 20;

/// Requests in flight, of one call and of all.
const CALL_REQUESTS: usize = 16;
const ALL_REQUESTS: usize = 64;

/// How long a request may take.
#[derive(Debug, Clone, Copy)]
pub(super) enum TimeLimit {
    /// Until the call's deadline.
    Until(Instant),
    /// So long, once its body is there: a component that answers with a stream may send requests as long as that flows.
    Each(Duration),
}

impl TimeLimit {
    /// The deadline for the body of a request; that of a call ends the wait otherwise.
    fn of_body(self) -> Option<Instant> {
        match self {
            Self::Until(deadline) => Some(deadline),
            Self::Each(_) => None,
        }
    }

    /// The deadline of a request that begins now.
    fn of_request(self) -> Instant {
        match self {
            Self::Until(deadline) => deadline,
            Self::Each(time) => Instant::now() + time,
        }
    }
}

/// Sends the requests of one call.
pub(super) struct Requests {
    shared: Arc<Shared>,
    time: TimeLimit,
    slots: Arc<Semaphore>,
    /// Bytes of response bodies that the call may still receive.
    room: Arc<AtomicUsize>,
}

/// Sends the requests of all calls.
pub(super) struct Shared {
    granted: Arc<Vec<HttpGrant>>,
    /// Made for the first request: most workers send none.
    network: OnceLock<Network>,
    slots: Arc<Semaphore>,
    /// Bytes of all response bodies that one call may receive.
    room: usize,
}

impl Requests {
    /// For a call whose requests have this time.
    pub(super) fn new(shared: &Arc<Shared>, time: TimeLimit) -> Self {
        let (slots, room) = (Arc::new(Semaphore::new(CALL_REQUESTS)), Arc::new(AtomicUsize::new(shared.room)));
        Self { shared: Arc::clone(shared), time, slots, room }
    }

    /// For the next call in the same instance, which ends at `deadline`.
    pub(super) fn for_next_call(&self, deadline: Instant) -> Self {
        Self::new(&self.shared, TimeLimit::Until(deadline))
    }
}

impl Shared {
    /// Allows requests to what is granted. The responses to one call may have `room` bytes.
    pub(super) fn new(granted: Vec<HttpGrant>, room: usize) -> Self {
        let granted = Arc::new(granted);
        Self { granted, network: OnceLock::new(), slots: Arc::new(Semaphore::new(ALL_REQUESTS)), room }
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
        let (shared, time) = (Arc::clone(&self.shared), self.time);
        let (slots, room) = (Arc::clone(&self.slots), Arc::clone(&self.room));
        Box::new(async move {
            let (mut head, body) = request.into_parts();
            let url = Url::parse(&head.uri.to_string()).map_err(|_| Error::HttpRequestUriInvalid)?;
            if !shared.granted.allows_url(&url) {
                return Err(Error::HttpRequestDenied);
            }
            let body = Limited::new(body, BODY_LIMIT).collect();
            let body = match time.of_body() {
                Some(deadline) => {
                    tokio::time::timeout_at(deadline.into(), body).await.map_err(|_| Error::ConnectionWriteTimeout)?
                }
                None => body.await,
            };
            let body = body.map_err(|_| Error::HttpRequestBodySize(None))?.to_bytes();
            let deadline = time.of_request();
            let taking = take_slots(slots, Arc::clone(&shared.slots));
            let held = tokio::time::timeout_at(deadline.into(), taking).await;
            let held = held.ok().and_then(Result::ok).ok_or(Error::ConnectionLimitReached)?;
            // The HTTP client sets these itself.
            for own in [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE, TE] {
                head.headers.remove(own);
            }
            let deadline =
                options.as_ref().and_then(longest_wait).map_or(deadline, |wait| deadline.min(Instant::now() + wait));
            let exchanging = Arc::clone(&shared);
            let exchange = move || {
                // Held until the exchange is over, even if its call is dropped before.
                let _held = held;
                let answer =
                    exchanging.network().send(&head.method, &url, &head.headers, &body, deadline).map_err(failed)?;
                read(answer, &room)
            };
            let answer = tokio::task::spawn_blocking(exchange).await;
            let answer = answer.map_err(|_| Error::InternalError(Some("the request was abandoned".to_owned())))??;
            Ok((answer, Box::new(async { Ok(()) }) as Rest))
        })
    }
}

/// A place among the requests of a call, and one among all.
async fn take_slots(
    of_call: Arc<Semaphore>,
    of_all: Arc<Semaphore>,
) -> Result<[OwnedSemaphorePermit; 2], AcquireError> {
    Ok([of_call.acquire_owned().await?, of_all.acquire_owned().await?])
}

/// How long a request may take, if the function limits each part of it.
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
