//! Requests of plugins to other servers: to granted origins only, to no private address unless it is granted too, within
//! redirects, time and size.

use std::fmt;
use std::io::Read;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, LOCATION};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use tokio::runtime::Handle;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, AsSendBody};
use url::Url;

use crate::addresses::is_public;
use crate::config::{HttpGrant, Origin};
use crate::plugin::headers;
use crate::plugin::outside::{Boxed, HttpRequest, HttpResponse, SendHttp};

/// Longest answer.
const BODY_LIMIT: u64 = 4 << 20;
/// Redirects that are followed.
const REDIRECTS: usize = 5;
/// Headers that the client itself sets.
const OWN: [&str; 6] = ["host", "connection", "content-length", "transfer-encoding", "upgrade", "te"];

/// The network, as far as one plugin was granted it.
pub struct Network {
    agent: Agent,
    granted: Arc<[HttpGrant]>,
    threads: Handle,
}

impl Network {
    /// The network for these grants; requests run on these threads.
    #[must_use]
    pub fn new(granted: Vec<HttpGrant>, threads: Handle) -> Self {
        let granted: Arc<[HttpGrant]> = granted.into();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .user_agent(concat!("metagate/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
            .build();
        let resolver = GrantedAddresses { inner: DefaultResolver::default(), granted: Arc::clone(&granted) };
        Self { agent: Agent::with_parts(config, DefaultConnector::default(), resolver), granted, threads }
    }
}

impl SendHttp for Network {
    fn send(&self, request: HttpRequest, deadline: Instant) -> Boxed<Result<HttpResponse, String>> {
        let (agent, granted) = (self.agent.clone(), Arc::clone(&self.granted));
        let sent = self.threads.spawn_blocking(move || send(&agent, &granted, request, deadline));
        Box::pin(async move { sent.await.unwrap_or_else(|_| Err("the request was given up".to_owned())) })
    }
}

fn send(agent: &Agent, granted: &[HttpGrant], request: HttpRequest, deadline: Instant) -> Result<HttpResponse, String> {
    let mut url = Url::parse(&request.url).map_err(|error| format!("{:?} is no address: {error}", request.url))?;
    let mut method = Method::from_bytes(request.method.as_bytes()).map_err(|_| "this is no method".to_owned())?;
    let mut headers = checked_headers(&request.headers)?;
    let mut body = request.body;
    for _ in 0..=REDIRECTS {
        check_origin(&url, granted)?;
        let response = send_once(agent, &method, &url, &headers, &body, deadline)?;
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

fn check_origin(url: &Url, granted: &[HttpGrant]) -> Result<(), String> {
    let is_granted = |grant: &HttpGrant| match grant {
        HttpGrant::Origin(Origin { scheme, host, port }) => {
            url.scheme() == scheme.as_str()
                && url.host_str() == Some(host.as_str())
                && url.port_or_known_default() == Some(*port)
        }
        HttpGrant::Network(_) => false,
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("an address with a user's name in it".to_owned());
    }
    if granted.iter().any(is_granted) {
        return Ok(());
    }
    Err(format!("{} is not granted to this plugin", url.origin().ascii_serialization()))
}

fn send_once(
    agent: &Agent,
    method: &Method,
    url: &Url,
    headers: &HeaderMap,
    body: &[u8],
    deadline: Instant,
) -> Result<http::Response<ureq::Body>, String> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left < Duration::from_millis(1) {
        return Err("no time is left".to_owned());
    }
    let mut request = http::Request::builder().method(method.clone()).uri(url.as_str());
    if let Some(all) = request.headers_mut() {
        all.clone_from(headers);
    }
    let failed = |error: ureq::Error| match error {
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        other => other.to_string(),
    };
    let empty = body.is_empty() && matches!(*method, Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS);
    if empty {
        return run(agent, request.body(()), left).map_err(failed);
    }
    run(agent, request.body(body.to_vec()), left).map_err(failed)
}

fn run<B: AsSendBody + 'static>(
    agent: &Agent,
    request: Result<http::Request<B>, http::Error>,
    left: Duration,
) -> Result<http::Response<ureq::Body>, ureq::Error> {
    agent.run(agent.configure_request(request?).timeout_global(Some(left)).build())
}

fn redirect(response: &http::Response<ureq::Body>, url: &Url) -> Result<Option<Url>, String> {
    let status = response.status();
    let follows = is_moved(status)
        || matches!(status, StatusCode::SEE_OTHER | StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
    let Some(location) = response.headers().get(LOCATION).filter(|_| follows) else { return Ok(None) };
    let location = location.to_str().map_err(|_| "a redirect to no address".to_owned())?;
    url.join(location).map(Some).map_err(|error| format!("a redirect to {location:?}: {error}"))
}

fn read(response: http::Response<ureq::Body>) -> Result<HttpResponse, String> {
    let (head, mut body) = response.into_parts();
    let announced = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let too_long = || format!("an answer of more than {BODY_LIMIT} bytes");
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

/// Looks names up and leaves out the addresses that were not granted: what is connected to is what was checked.
struct GrantedAddresses {
    inner: DefaultResolver,
    granted: Arc<[HttpGrant]>,
}

impl fmt::Debug for GrantedAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GrantedAddresses")
    }
}

impl GrantedAddresses {
    fn allow(&self, host: &str, address: IpAddr) -> bool {
        is_public(address)
            || self.granted.iter().any(|grant| match grant {
                HttpGrant::Network(network) => network.contains(&address.to_canonical()),
                // An origin that is an address, or this machine, names it.
                HttpGrant::Origin(origin) => {
                    origin.host == host && (names_address(host) || (host == "localhost" && address.is_loopback()))
                }
            })
    }
}

fn names_address(host: &str) -> bool {
    host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok()
}

impl Resolver for GrantedAddresses {
    fn resolve(
        &self,
        uri: &http::Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.inner.resolve(uri, config, timeout)?;
        let host = uri.host().unwrap_or_default();
        let mut allowed = self.empty();
        for address in found.iter().filter(|address| self.allow(host, address.ip())) {
            allowed.push(*address);
        }
        if allowed.is_empty() {
            let words = format!("{host:?} is at a private address, which is not granted to this plugin");
            return Err(ureq::Error::Other(words.into()));
        }
        Ok(allowed)
    }
}
