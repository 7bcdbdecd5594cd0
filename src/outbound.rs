//! Requests to other servers: one exchange at a time, to permitted addresses only. Names are resolved here, so that the
//! connection goes to the address that was checked. Callers decide about redirects and permissions.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, Method};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, AsSendBody};
use url::Url;

use crate::addresses::{Reach, is_public};

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The address names a user.
    #[error("an address with a user's name in it")]
    User,
    /// The address is not permitted.
    #[error("{0} is not granted")]
    NotGranted(String),
    /// The host is at an address of a private network that is not permitted.
    #[error("{0:?} is at a private address, which is not granted")]
    Private(String),
    /// The time was over before anything was sent.
    #[error("no time is left")]
    NoTime,
    /// The time was over before the answer had come.
    #[error("no answer in time")]
    TimedOut,
    /// The network or the other side.
    #[error("{0}")]
    Failed(String),
}

/// The permitted part of the network. Connections are kept for later requests.
#[derive(Clone)]
pub struct Network {
    agent: Agent,
    reach: Arc<dyn Reach>,
}

impl Network {
    /// The network within this reach.
    #[must_use]
    pub fn new(reach: Arc<dyn Reach>) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .user_agent(concat!("metagate/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
            .build();
        let resolver = ReachableAddresses { inner: DefaultResolver::default(), reach: Arc::clone(&reach) };
        Self { agent: Agent::with_parts(config, DefaultConnector::default(), resolver), reach }
    }

    /// Sends a request and waits for the head of the answer, whatever its status. Blocks; the body can be read until
    /// `deadline`.
    pub fn send(
        &self,
        method: &Method,
        url: &Url,
        headers: &HeaderMap,
        body: &[u8],
        deadline: Instant,
    ) -> Result<http::Response<ureq::Body>, SendError> {
        if !url.username().is_empty() || url.password().is_some() {
            return Err(SendError::User);
        }
        if !self.reach.allows_url(url) {
            return Err(SendError::NotGranted(url.origin().ascii_serialization()));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left < Duration::from_millis(1) {
            return Err(SendError::NoTime);
        }
        let mut request = http::Request::builder().method(method.clone()).uri(url.as_str());
        if let Some(all) = request.headers_mut() {
            all.clone_from(headers);
        }
        let is_empty =
            body.is_empty() && matches!(*method, Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS);
        let sent =
            if is_empty { self.run(request.body(()), left) } else { self.run(request.body(body.to_vec()), left) };
        sent.map_err(|error| match error {
            ureq::Error::Timeout(_) => SendError::TimedOut,
            ureq::Error::Other(error) => match error.downcast::<PrivateHost>() {
                Ok(host) => SendError::Private(host.0),
                Err(error) => SendError::Failed(error.to_string()),
            },
            other => SendError::Failed(other.to_string()),
        })
    }

    fn run<B: AsSendBody + 'static>(
        &self,
        request: Result<http::Request<B>, http::Error>,
        left: Duration,
    ) -> Result<http::Response<ureq::Body>, ureq::Error> {
        self.agent.run(self.agent.configure_request(request?).timeout_global(Some(left)).build())
    }
}

/// All addresses of the host are private.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is at a private address")]
struct PrivateHost(String);

/// Looks names up and leaves out the addresses that may not be connected to.
struct ReachableAddresses {
    inner: DefaultResolver,
    reach: Arc<dyn Reach>,
}

impl fmt::Debug for ReachableAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReachableAddresses")
    }
}

impl Resolver for ReachableAddresses {
    fn resolve(
        &self,
        uri: &http::Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.inner.resolve(uri, config, timeout)?;
        let host = uri.host().unwrap_or_default();
        let mut allowed = self.empty();
        let reachable = |address: IpAddr| is_public(address) || self.reach.allows_private(host, address);
        for address in found.iter().filter(|address| reachable(address.ip())) {
            allowed.push(*address);
        }
        if allowed.is_empty() {
            return Err(ureq::Error::Other(PrivateHost(host.to_owned()).into()));
        }
        Ok(allowed)
    }
}
