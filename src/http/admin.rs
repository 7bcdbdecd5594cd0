//! The routes beside calls: health for everybody; inspection, logs and the deploy API's first addresses behind the token.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, ORIGIN};
use http::{Method, StatusCode};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use crate::config::Secret;
use crate::gateway::deployer::Deployer;
use crate::gateway::reload_request::{Rejected, ReloadFailure};
use crate::http::body::ReplyBody;
use crate::http::error::{self, Code, Problem};
use crate::http::{deploy, logs, metacall, metrics, request_id};

/// Liveness and readiness.
pub fn health(deployer: Arc<Deployer>, token: Option<&Secret>) -> Router {
    let token = token.map(|token| Digest::of(token.expose().as_bytes()));
    let readyz = get(readyz).with_state((deployer, token));
    Router::new().route("/healthz", get(|| async { "ok\n" })).route("/readyz", readyz)
}

/// The API for those who run the gateway; with a token, only for those who have it.
pub fn api(deployer: &Arc<Deployer>, token: Option<&Secret>, max_upload: u64) -> Router {
    let token = token.map(|token| Digest::of(token.expose().as_bytes()));
    let guarded = Router::new()
        .route("/api/inspect", get(inspect))
        .route("/api/plugins", get(plugins))
        .route("/api/reload", post(reload))
        .route("/metrics", get(metrics))
        .route("/api/deploy/logs", post(logs::deploy_logs))
        .route("/api/logs/{name}", get(logs::logs))
        .with_state(Arc::clone(deployer))
        .merge(metacall::routes(Arc::clone(deployer)))
        .merge(deploy::routes(Arc::clone(deployer), max_upload))
        .layer(middleware::from_fn_with_state(token, check_token))
        .layer(middleware::from_fn_with_state(token.is_some(), refuse_pages));
    // MetaCall's client asks for readiness without its token.
    guarded.route("/api/readiness", get(|| async { "OK" }))
}

/// What every listener answers to what it does not have.
pub fn with_fallbacks(router: Router) -> Router {
    // The service has bounded the body already.
    router.fallback(any(not_found)).layer(middleware::from_fn(shape_errors)).layer(DefaultBodyLimit::disable())
}

/// Everybody may know how the gateway does; why, those only who may see the rest.
async fn readyz(State((deployer, token)): State<(Arc<Deployer>, Option<Digest>)>, headers: HeaderMap) -> Response {
    let mut readiness = deployer.readiness();
    if token.is_some_and(|token| !is_authorized(&headers, &token)) {
        readiness.hide_details();
    }
    let status = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

async fn inspect(State(deployer): State<Arc<Deployer>>) -> Response {
    Json(deployer.gateway.inspect()).into_response()
}

async fn plugins(State(deployer): State<Arc<Deployer>>) -> Response {
    Json(deployer.gateway.inspect_plugins()).into_response()
}

async fn metrics(State(deployer): State<Arc<Deployer>>, headers: HeaderMap) -> Response {
    match metrics::render(&deployer) {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(_) => from_problem(Problem::new(Code::Internal, "the metrics cannot be written"), &headers),
    }
}

/// Has the configuration read again and tells what came of it.
async fn reload(State(deployer): State<Arc<Deployer>>, headers: HeaderMap) -> Response {
    let problem = match deployer.reloads.request("request over HTTP").await {
        None => Problem::new(Code::Draining, "the gateway is stopping"),
        Some(Err(Rejected::Faults(faults))) => Problem::new(Code::BadConfig, faults),
        Some(Err(error @ Rejected::Internal)) => Problem::new(Code::Internal, error.to_string()),
        Some(Ok(reloaded)) => match reloaded.failures.first() {
            None => return Json(&*reloaded).into_response(),
            Some(failure) => Problem::new(code_of(failure), failure.to_string()),
        },
    };
    from_problem(problem, &headers)
}

fn code_of(failure: &ReloadFailure) -> Code {
    match failure {
        ReloadFailure::Plugin(_) => Code::BadPlugin,
        ReloadFailure::Deployment { failure, .. } => error::of_load(failure.kind),
    }
}

async fn not_found(request: Request) -> Response {
    let path: String = request.uri().path().chars().take(200).collect();
    let message = format!("nothing is at {path:?}; functions are at /<prefix>/<name>/v1/call/<function>");
    from_problem(Problem::new(Code::NotFound, message), request.headers())
}

/// Gives the router's own refusals the one shape of errors.
async fn shape_errors(request: Request, next: Next) -> Response {
    let (method, headers) = (request.method().clone(), request.headers().clone());
    let response = next.run(request).await;
    if response.status() != StatusCode::METHOD_NOT_ALLOWED || response.headers().contains_key(CONTENT_TYPE) {
        return response;
    }
    let allow = response.headers().get(http::header::ALLOW).cloned();
    let problem = Problem::new(Code::MethodNotAllowed, format!("{method} is not for this address"));
    let mut response = from_problem(problem, &headers);
    if let Some(allow) = allow {
        response.headers_mut().insert(http::header::ALLOW, allow);
    }
    response
}

/// Refuses what a page in somebody's browser sends: without a token, the gateway trusts whoever is on this machine.
async fn refuse_pages(State(has_token): State<bool>, request: Request, next: Next) -> Response {
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    if changes && request.headers().contains_key(ORIGIN) {
        let problem = Problem::new(Code::Forbidden, "the admin API takes no changes from web pages");
        return from_problem(problem, request.headers());
    }
    if !has_token && may_be_rebound(&request) {
        let message = "without a token the admin API answers to localhost and to IP addresses, not to other names";
        return from_problem(Problem::new(Code::Forbidden, message), request.headers());
    }
    next.run(request).await
}

/// Whether a request names this machine by a name that somebody may have made lead here: a page under such a name would be
/// of our own origin to its browser. Nobody can do that to an IP address, nor to a name without a dot.
fn may_be_rebound(request: &Request) -> bool {
    let host = match request.uri().host() {
        Some(host) => host,
        None => match request.headers().get(HOST).and_then(|host| host.to_str().ok()) {
            Some(host) => host.rsplit_once(':').filter(|(_, port)| !port.contains(']')).map_or(host, |(host, _)| host),
            None => return true,
        },
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    let is_ours = host.parse::<IpAddr>().is_ok() || host.to_ascii_lowercase().ends_with(".localhost");
    host.contains('.') && !is_ours
}

async fn check_token(State(token): State<Option<Digest>>, request: Request, next: Next) -> Response {
    match &token {
        Some(token) if !is_authorized(request.headers(), token) => {
            let problem = Problem::new(Code::Unauthorized, "a valid token is needed: Authorization: Bearer <token>");
            from_problem(problem, request.headers())
        }
        _ => next.run(request).await,
    }
}

/// `Authorization: Bearer <token>`, or `jwt <token>` as MetaCall's client has it; once.
fn is_authorized(headers: &HeaderMap, token: &Digest) -> bool {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let value = value.as_bytes();
    let given = value.strip_prefix(b"Bearer ").or_else(|| value.strip_prefix(b"jwt "));
    given.is_some_and(|given| Digest::of(given).0.ct_eq(&token.0).into())
}

/// The SHA-256 of a token: of one length whatever was given, so that comparing tells nothing.
#[derive(Clone, Copy)]
struct Digest([u8; 32]);

impl Digest {
    fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }
}

/// A value as the router's answer.
pub fn answer_json(value: &serde_json::Value) -> Response {
    Json(value).into_response()
}

/// A problem as the router's answer. The service has put the request's id into its headers.
pub fn from_problem(problem: Problem, headers: &HeaderMap) -> Response {
    let id = headers.get(request_id::HEADER).cloned().unwrap_or_else(|| HeaderValue::from_static(""));
    problem.into_response(request_id::text(&id)).map(|body| match body {
        ReplyBody::Full(bytes) => bytes.unwrap_or_default().into(),
        ReplyBody::Streamed(body) | ReplyBody::Guarded(body, _) => body,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authorized(values: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_static(value));
        }
        is_authorized(&headers, &Digest::of(b"right"))
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
