//! Requests of functions to other servers through wasi:http: to granted origins only, without following redirects, within
//! the call's time.

use std::io::Read;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http_body_util::{BodyExt, Full, Limited};
use url::Url;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::config::HttpGrant;
use crate::outbound::{Network, Reach, SendError};

/// Longest body, of a request and of an answer.
const BODY_LIMIT: usize = 16 << 20;

/// Sends the requests of one call.
#[derive(Clone)]
pub(super) struct Requests {
    shared: Arc<Shared>,
    deadline: Instant,
}

struct Shared {
    granted: Arc<Granted>,
    /// Made when the first request is sent.
    network: OnceLock<Network>,
}

struct Granted(Vec<HttpGrant>);

impl Reach for Granted {
    fn allows_url(&self, url: &Url) -> bool {
        self.0.iter().any(|grant| grant.allows_url(url))
    }

    fn allows_private(&self, host: &str, address: IpAddr) -> bool {
        self.0.iter().any(|grant| grant.allows_private(host, address))
    }
}

impl Requests {
    /// Requests to what is granted.
    pub(super) fn new(granted: Vec<HttpGrant>) -> Self {
        let shared = Shared { granted: Arc::new(Granted(granted)), network: OnceLock::new() };
        Self { shared: Arc::new(shared), deadline: Instant::now() }
    }

    /// The same, for a call that has time until then.
    pub(super) fn until(&self, deadline: Instant) -> Self {
        Self { shared: Arc::clone(&self.shared), deadline }
    }
}

impl Shared {
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
            // The client sets these itself.
            for own in [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE, TE] {
                head.headers.remove(own);
            }
            let deadline =
                options.as_ref().and_then(longest_wait).map_or(deadline, |wait| deadline.min(Instant::now() + wait));
            let exchange = move || {
                let answer =
                    shared.network().send(&head.method, &url, &head.headers, &body, deadline).map_err(failed)?;
                read(answer)
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

fn read(answer: http::Response<ureq::Body>) -> Result<http::Response<WasiBody>, Error> {
    let (head, mut body) = answer.into_parts();
    let mut bytes = Vec::new();
    let longest = BODY_LIMIT as u64 + 1;
    body.as_reader().take(longest).read_to_end(&mut bytes).map_err(|_| Error::HttpResponseIncomplete)?;
    if bytes.len() > BODY_LIMIT {
        return Err(Error::HttpResponseBodySize(None));
    }
    let body = Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed_unsync();
    Ok(http::Response::from_parts(head, body))
}
