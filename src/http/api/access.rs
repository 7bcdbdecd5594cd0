//! Who may use the API: holders of the token, or without a token every program on this machine, but never a web page.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::Method;
use http::header::{AUTHORIZATION, HOST, HeaderMap, ORIGIN};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use crate::config::Secret;
use crate::http::api::reply;
use crate::http::api::wrong_tokens::{Guess, WrongTokens};
use crate::http::problem::{Code, Problem};

/// The SHA-256 of a token. All digests have one length, so the time of a comparison reveals nothing about the token.
#[derive(Debug, Clone, Copy)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// The digest of a configured token.
    #[must_use]
    pub fn of_secret(token: &Secret) -> Self {
        Self::of(token.expose().as_bytes())
    }

    fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Whether a request carries this token, once: `Authorization: Bearer <token>`, or `jwt <token>` as MetaCall's
    /// client sends it.
    #[must_use]
    pub fn authorizes(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return false };
        let value = value.as_bytes();
        let given = value.strip_prefix(b"Bearer ").or_else(|| value.strip_prefix(b"jwt "));
        given.is_some_and(|given| Self::of(given).0.ct_eq(&self.0).into())
    }
}

/// The check of tokens, with the wrong ones so far.
#[derive(Debug, Clone)]
pub struct TokenCheck {
    token: TokenDigest,
    wrong: Arc<WrongTokens>,
}

impl TokenCheck {
    /// A check for this token.
    #[must_use]
    pub fn new(token: TokenDigest) -> Self {
        Self { token, wrong: Arc::default() }
    }

    fn check(&self, request: &Request) -> Result<(), Problem> {
        if self.token.authorizes(request.headers()) {
            return Ok(());
        }
        // A request without any token is not a guess.
        let peer = request.extensions().get::<Peer>().filter(|_| request.headers().contains_key(AUTHORIZATION));
        match peer.map(|Peer(peer)| self.wrong.add(*peer, Instant::now())) {
            Some(Guess::TooMany(wait)) => {
                let problem = Problem::new(Code::RateLimited, "too many wrong tokens from this address");
                Err(problem.retry_after(wait).closing())
            }
            Some(Guess::Refused) | None => {
                let message = "a valid token is needed: Authorization: Bearer <token>";
                Err(Problem::new(Code::Unauthorized, message))
            }
        }
    }
}

/// The client's address, in the extensions of a request.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// Answers 401 to requests without the token, if there is one, and 429 to peers that have tried too many.
pub async fn require_token(State(token): State<Option<TokenCheck>>, request: Request, next: Next) -> Response {
    match token.map_or(Ok(()), |token| token.check(&request)) {
        Ok(()) => next.run(request).await,
        Err(problem) => reply::problem(problem, request.headers()),
    }
}

/// Answers 403 to requests of web pages. Without a token the gateway trusts the programs on this machine, and a
/// browser runs the programs of every page.
pub async fn refuse_pages(State(has_token): State<bool>, request: Request, next: Next) -> Response {
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    if changes && request.headers().contains_key(ORIGIN) {
        let problem = Problem::new(Code::Forbidden, "the admin API accepts no changes from web pages");
        return reply::problem(problem, request.headers());
    }
    if !has_token && may_be_rebound(&request) {
        let message = "without a token the admin API answers to localhost and to IP addresses, not to other names";
        return reply::problem(Problem::new(Code::Forbidden, message), request.headers());
    }
    next.run(request).await
}

/// Whether a request names this machine by a name that an attacker's DNS server may have pointed here (DNS rebinding):
/// to a browser, a page under that name has the gateway's own origin. IP addresses and names without a dot are safe
/// from that.
fn may_be_rebound(request: &Request) -> bool {
    let host = match request.uri().host() {
        Some(host) => host,
        None => match request.headers().get(HOST).and_then(|host| host.to_str().ok()) {
            Some(host) => host.rsplit_once(':').filter(|(_, port)| !port.contains(']')).map_or(host, |(host, _)| host),
            None => return true,
        },
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    let is_safe = host.parse::<IpAddr>().is_ok() || host.to_ascii_lowercase().ends_with(".localhost");
    host.contains('.') && !is_safe
}

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;

    use super::*;

    fn authorized(values: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_static(value));
        }
        TokenDigest::of(b"right").authorizes(&headers)
    }

    #[test]
    fn only_the_right_token_in_one_header_counts() {
        assert!(authorized(&["Bearer right"]));
        assert!(authorized(&["jwt right"]));
        for wrong in [&[][..], &["Bearer wrong"], &["Bearer "], &["Basic right"], &["right"], &["bearer right"]] {
            assert!(!authorized(wrong), "{wrong:?}");
        }
        assert!(!authorized(&["Bearer right", "Bearer right"]));
    }
}
