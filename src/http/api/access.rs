//! Who may use the API: holders of the token, or without a token every program on this machine that the gateway has not
//! started, but never a web page.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::Method;
use http::header::{AUTHORIZATION, HeaderMap};
use http::request::Parts;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use crate::addresses::UNIX_PEER;
use crate::config::AdminConfig;
use crate::http::api::caller::{self, Caller, Need};
use crate::http::api::reply;
use crate::http::api::wrong_tokens::{Guess, WrongTokens};
use crate::http::client_connection::Program;
use crate::http::problem::{Code, Problem};
use crate::http::web_pages;
use crate::process::connection_owner::{Owner, Owners};

/// The SHA-256 of a token. All digests have one length, so the time of a comparison reveals nothing about the token.
#[derive(Debug, Clone, Copy)]
struct TokenDigest([u8; 32]);

impl TokenDigest {
    fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// The digest of the token that a request carries, once: `Authorization: Bearer <token>`, or `jwt <token>` as
    /// MetaCall's client sends it.
    fn of_request(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        let value = value.as_bytes();
        // The names of schemes are case-insensitive (RFC 9110, 11.1).
        let (scheme, given) = value.split_at(value.iter().position(|byte| *byte == b' ')?);
        let is_known = scheme.eq_ignore_ascii_case(b"Bearer") || scheme.eq_ignore_ascii_case(b"jwt");
        is_known.then(|| Self::of(&given[1..]))
    }
}

/// The check of tokens, with the wrong ones so far.
#[derive(Debug, Clone)]
pub struct TokenCheck {
    holders: Arc<[(TokenDigest, Caller)]>,
    wrong: Arc<WrongTokens>,
}

impl TokenCheck {
    fn new(config: &AdminConfig) -> Self {
        let owner = config.token.as_ref();
        let owner = owner.map(|token| (TokenDigest::of(token.expose().as_bytes()), Caller::with_everything("token")));
        let others = config.tokens.iter().filter_map(|token| {
            let digest = match (&token.token, &token.sha256) {
                (Some(secret), _) => TokenDigest::of(secret.expose().as_bytes()),
                (None, Some(digest)) => TokenDigest(*digest.bytes()),
                (None, None) => return None,
            };
            Some((digest, Caller::new(&token.name, &token.may)))
        });
        Self { holders: owner.into_iter().chain(others).collect(), wrong: Arc::default() }
    }

    /// The holder of the token that a request carries.
    fn holder(&self, headers: &HeaderMap) -> Option<&Caller> {
        let given = TokenDigest::of_request(headers)?;
        // All are compared: the time does not show which one was right.
        let is_given = |digest: &TokenDigest| bool::from(digest.0.ct_eq(&given.0));
        self.holders.iter().fold(None, |found, (digest, caller)| if is_given(digest) { Some(caller) } else { found })
    }

    fn check(&self, head: &Parts) -> Result<Caller, Problem> {
        if let Some(caller) = self.holder(&head.headers) {
            return Ok(caller.for_request());
        }
        // A request without any token is not a guess.
        let peer = head.extensions.get::<Peer>().filter(|_| head.headers.contains_key(AUTHORIZATION));
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

/// What a request needs to use the API.
#[derive(Debug, Clone)]
pub enum Access {
    /// A token.
    Token(TokenCheck),
    /// A program that the gateway has not started: no worker, no installer, none of their descendants.
    OtherPrograms(Owners),
}

impl Access {
    /// With configured tokens, one of them.
    #[must_use]
    pub fn new(config: &AdminConfig, owners: &Owners) -> Self {
        if config.has_tokens() { Self::Token(TokenCheck::new(config)) } else { Self::OtherPrograms(owners.clone()) }
    }

    /// Who makes a request. Fails if they may not use the API. A wrong token counts as a guess.
    async fn check(&self, head: &Parts) -> Result<Caller, Problem> {
        match self {
            Self::Token(token) => token.check(head),
            Self::OtherPrograms(owners) => {
                check_program(owners, head).await?;
                Ok(Caller::with_everything("local"))
            }
        }
    }

    /// Who makes a request, where the address is not one of the admin API's. A wrong token counts as a guess.
    ///
    /// # Errors
    ///
    /// As for the API: 401 `unauthorized`, 403 `forbidden`, 429 `rate_limited`.
    pub async fn reader(&self, head: &Parts) -> Result<Caller, Problem> {
        if matches!(self, Self::OtherPrograms(_)) && web_pages::may_be_rebound(&head.uri, &head.headers) {
            return Err(rebound());
        }
        self.check(head).await
    }

    /// Whether a request carries a token of the admin API.
    #[must_use]
    pub fn has_token(&self, headers: &HeaderMap) -> bool {
        matches!(self, Self::Token(check) if check.holder(headers).is_some())
    }

    /// Whether an answer may have what the API shows.
    pub async fn shows_details(&self, head: &Parts) -> bool {
        match self {
            Self::Token(check) => check.holder(&head.headers).is_some_and(|caller| caller.may(Need::Read)),
            Self::OtherPrograms(owners) => check_program(owners, head).await.is_ok(),
        }
    }
}

async fn check_program(owners: &Owners, head: &Parts) -> Result<(), Problem> {
    // The proxy is a program of this machine, but its client may not be.
    if head
        .extensions
        .get::<Peer>()
        .is_some_and(|Peer(client)| *client != UNIX_PEER && !client.to_canonical().is_loopback())
    {
        let message = "without a token the admin API answers callers on this machine only: set token in [admin]";
        return Err(Problem::new(Code::Forbidden, message));
    }
    let owner = match head.extensions.get::<Arc<Program>>() {
        Some(program) => program.find(owners).await,
        None => Owner::Unknown,
    };
    let message = match owner {
        Owner::Other => return Ok(()),
        Owner::Descendant => {
            "functions, installers and the programs that they start may use the admin API only with a token: set \
             token in [admin]"
        }
        Owner::OtherUser => {
            "over a UNIX socket, without a token, only programs of the gateway's own user and of root may use the \
             admin API: set token in [admin] and send it"
        }
        Owner::Unknown => {
            "the program behind this connection was not found, it may have been started by a function: set token in \
             [admin] and send it"
        }
    };
    Err(Problem::new(Code::Forbidden, message))
}

/// Answers 401 or 403 to requests that may not use the API, or not for this, and 429 to peers that have tried too many
/// tokens. Handlers find the [`Caller`] in the extensions.
pub async fn require_access(State(access): State<Access>, request: Request, next: Next) -> Response {
    let (mut head, body) = request.into_parts();
    let caller = match access.check(&head).await {
        Ok(caller) => caller,
        Err(problem) => return reply::problem(problem, &head.headers),
    };
    let mut response = match caller.check(Need::of(&head.method, &caller::decoded(head.uri.path()))) {
        Ok(()) => {
            head.extensions.insert(caller.clone());
            next.run(Request::from_parts(head, body)).await
        }
        Err(problem) => reply::problem(problem, &head.headers),
    };
    // For the audit log.
    response.extensions_mut().insert(caller);
    response
}

/// Answers 403 to changes by web pages of other origins. Without a token the gateway trusts the programs on this
/// machine, and a browser runs the programs of every page.
pub async fn refuse_pages(State(access): State<Access>, request: Request, next: Next) -> Response {
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    if changes && !web_pages::is_of_own_page(request.uri(), request.headers()) {
        let problem = Problem::new(Code::Forbidden, "the admin API accepts no changes from web pages of other origins");
        return reply::problem(problem, request.headers());
    }
    if matches!(access, Access::OtherPrograms(_)) && web_pages::may_be_rebound(request.uri(), request.headers()) {
        return reply::problem(rebound(), request.headers());
    }
    next.run(request).await
}

fn rebound() -> Problem {
    let message = "without a token the admin API answers to localhost and to IP addresses, not to other names";
    Problem::new(Code::Forbidden, message)
}

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;

    use super::*;
    use crate::config::Secret;

    fn authorized(values: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_static(value));
        }
        let token = Some(Secret::new("right".to_owned()));
        TokenCheck::new(&AdminConfig { token, ..AdminConfig::default() }).holder(&headers).is_some()
    }

    #[test]
    fn only_the_right_token_in_one_header_counts() {
        assert!(authorized(&["Bearer right"]));
        assert!(authorized(&["jwt right"]) && authorized(&["bearer right"]));
        for wrong in [&[][..], &["Bearer wrong"], &["Bearer "], &["Basic right"], &["right"]] {
            assert!(!authorized(wrong), "{wrong:?}");
        }
        assert!(!authorized(&["Bearer right", "Bearer right"]));
    }
}
