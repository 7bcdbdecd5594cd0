//! Requests of plugins to other servers. Only granted origins are reached, and private IP addresses only if they are
//! granted by name. Redirects, time and size are limited.

use std::io::Read;
use std::sync::Arc;
use std::time::Instant;

use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, LOCATION};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use tokio::runtime::Handle;
use url::Url;

use crate::config::HttpGrant;
use crate::outbound::{self, SendError};
use crate::plugin::headers;
use crate::plugin::outside::{Boxed, HttpRequest, HttpResponse, SendHttp};

/// Longest body of an answer, in bytes.
const BODY_LIMIT: u64 = 4 << 20;
/// Largest number of redirects that are followed.
const REDIRECTS: usize = 5;
/// Headers that the gateway's HTTP client sets itself.
const OWN: [&str; 6] = ["host", "connection", "content-length", "transfer-encoding", "upgrade", "te"];

/// The part of the network that one plugin was granted.
pub struct Network {
    network: outbound::Network,
    threads: Handle,
}

impl Network {
    /// The network for these grants; requests run on these threads.
    #[must_use]
    pub fn new(granted: Vec<HttpGrant>, threads: Handle) -> Self {
        Self { network: outbound::Network::new(Arc::new(granted)), threads }
    }
}

impl SendHttp for Network {
    fn send(&self, request: HttpRequest, deadline: Instant) -> Boxed<Result<HttpResponse, String>> {
        let network = self.network.clone();
        let sent = self.threads.spawn_blocking(move || send(&network, request, deadline));
        Box::pin(async move { sent.await.unwrap_or_else(|_| Err("the request was cancelled".to_owned())) })
    }
}

fn send(network: &outbound::Network, request: HttpRequest, deadline: Instant) -> Result<HttpResponse, String> {
    let mut url = Url::parse(&request.url).map_err(|error| format!("{:?} is not a valid URL: {error}", request.url))?;
    let mut method = Method::from_bytes(request.method.as_bytes())
        .map_err(|_| format!("{:?} is not a valid method", request.method))?;
    let mut headers = checked_headers(&request.headers)?;
    let mut body = request.body;
    for _ in 0..=REDIRECTS {
        let sent = network.send(&method, &url, &headers, &body, deadline);
        let response = sent.map_err(|error| match error {
            SendError::NotGranted(_) | SendError::Private(_) => format!("{error} to this plugin"),
            other => other.to_string(),
        })?;
        let Some(next) = redirect(&response, &url)? else { return read(response) };
        if response.status() == StatusCode::SEE_OTHER || (method == Method::POST && is_moved(response.status())) {
            method = Method::GET;
            body.clear();
            headers.remove(CONTENT_TYPE);
        }
        if next.origin() != url.origin() {
            headers.remove(AUTHORIZATION);
            headers.remove(COOKIE);
        }
        url = next;
    }
    Err(format!("more than {REDIRECTS} redirects"))
}

fn is_moved(status: StatusCode) -> bool {
    matches!(status, StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND)
}

fn checked_headers(pairs: &[(String, String)]) -> Result<HeaderMap, String> {
    let mut checked = HeaderMap::new();
    for (name, value) in pairs {
        let (name, value) = headers::header(name, value)?;
        if OWN.contains(&name.as_str()) {
            return Err(format!("the header {:?} is set by the gateway", name.as_str()));
        }
        checked.append::<HeaderName>(name, value);
    }
    Ok(checked)
}

fn redirect(response: &http::Response<ureq::Body>, url: &Url) -> Result<Option<Url>, String> {
    let status = response.status();
    let follows = is_moved(status)
        || matches!(status, StatusCode::SEE_OTHER | StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
    let Some(location) = response.headers().get(LOCATION).filter(|_| follows) else { return Ok(None) };
    let location = location.to_str().map_err(|_| "a redirect whose location is not text".to_owned())?;
    url.join(location).map(Some).map_err(|error| format!("a redirect to {location:?}: {error}"))
}

fn read(response: http::Response<ureq::Body>) -> Result<HttpResponse, String> {
    let (head, mut body) = response.into_parts();
    let announced = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let too_long = || format!("the answer is longer than {BODY_LIMIT} bytes");
    if announced.is_some_and(|length| length > BODY_LIMIT) {
        return Err(too_long());
    }
    let mut bytes = Vec::new();
    body.as_reader().take(BODY_LIMIT + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > BODY_LIMIT {
        return Err(too_long());
    }
    let text = |(name, value): (&HeaderName, &http::HeaderValue)| {
        value.to_str().ok().map(|value| (name.as_str().to_owned(), value.to_owned()))
    };
    let headers = head.headers.iter().filter_map(text).collect();
    Ok(HttpResponse { status: head.status.as_u16(), headers, body: bytes })
}
