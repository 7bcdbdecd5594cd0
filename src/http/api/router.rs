//! The routes other than calls: health for everyone, the API behind the token, and what answers for unknown addresses.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{any, get, post};
use http::StatusCode;
use http::header::{ALLOW, CONTENT_TYPE};

use crate::gateway::deployer::Deployer;
use crate::gateway::overview::Overviews;
use crate::http::api::access::{self, Access};
use crate::http::api::metrics::Figures;
use crate::http::api::{
    async_calls, async_request, audited, call_from_page, cluster, deploy, events, inspect, logs, metacall, metrics,
    overview, packages, plugins, recent_calls, reload, reply, unread_body, upgrade, wiring,
};
use crate::http::bodies::Bodies;
use crate::http::problem::{Code, Problem};
use crate::http::recent_calls::RecentCalls;
use crate::telemetry::audit::AuditLog;

/// Liveness and readiness. Details of readiness are for those who may use the API.
pub fn health(deployer: Arc<Deployer>, access: Access) -> Router {
    let readyz = get(inspect::readyz).with_state((deployer, access));
    Router::new().route("/healthz", get(|| async { "ok\n" })).route("/readyz", readyz)
}

/// The API of the gateway, for those who may use it: others' bodies are not read. An uploaded package has at most
/// `max_upload` bytes. `figures` are what the metrics show of `http`, `recent` the last calls if they are kept.
pub fn api(
    deployer: &Arc<Deployer>,
    access: &Access,
    audit: &AuditLog,
    max_upload: u64,
    figures: Figures,
    bodies: Arc<Bodies>,
    recent: Option<&Arc<RecentCalls>>,
) -> Router {
    let overviews = Arc::new(Overviews::new(deployer));
    let guarded = Router::new()
        .route("/api/inspect", get(inspect::deployments))
        .route("/api/plugins", get(inspect::plugins))
        .route("/api/reload", post(reload::reload))
        .route("/api/upgrade", post(upgrade::upgrade))
        .route("/api/deploy/logs", post(logs::deploy_logs))
        .route("/api/logs/{name}", get(logs::logs))
        .with_state(Arc::clone(deployer))
        .merge(Router::new().route("/metrics", get(metrics::metrics)).with_state((Arc::clone(deployer), figures)))
        .merge(overview::routes(&overviews))
        .merge(recent.map(|recent| recent_calls::routes(deployer, recent)).unwrap_or_default())
        .merge(recent.map(|recent| events::routes(deployer, &overviews, recent)).unwrap_or_default())
        .merge(plugins::routes(Arc::clone(deployer)))
        .merge(wiring::routes(Arc::clone(deployer)))
        .merge(call_from_page::routes(Arc::clone(deployer)))
        .merge(async_calls::routes(&deployer.gateway))
        .merge(async_request::routes(&deployer.gateway))
        .merge(cluster::routes(Arc::clone(deployer)))
        .merge(metacall::routes(Arc::clone(deployer)))
        .merge(deploy::routes(Arc::clone(deployer)))
        .layer(middleware::from_fn_with_state(bodies, unread_body::read_whole))
        // Its body is streamed.
        .merge(packages::routes(Arc::clone(deployer), max_upload))
        .layer(middleware::from_fn_with_state(access.clone(), access::require_access))
        .layer(middleware::from_fn_with_state(audit.clone(), audited::audit))
        .layer(middleware::from_fn_with_state(access.clone(), access::refuse_pages));
    // MetaCall's client asks for readiness without its token.
    guarded.route("/api/readiness", get(|| async { "OK" }))
}

/// Adds the answers of every listener to requests that no route takes.
pub fn with_fallbacks(router: Router) -> Router {
    // The service has limited the body already.
    router.fallback(any(not_found)).layer(middleware::from_fn(shape_errors)).layer(DefaultBodyLimit::disable())
}

async fn not_found(request: Request) -> Response {
    let path: String = request.uri().path().chars().take(200).collect();
    let message = format!("nothing is at {path:?}; functions are at /<prefix>/<name>/v1/call/<function>");
    reply::problem(Problem::new(Code::NotFound, message), request.headers())
}

/// Gives axum's own 405 the shape of all errors.
async fn shape_errors(request: Request, next: Next) -> Response {
    let (method, headers) = (request.method().clone(), request.headers().clone());
    let response = next.run(request).await;
    if response.status() != StatusCode::METHOD_NOT_ALLOWED || response.headers().contains_key(CONTENT_TYPE) {
        return response;
    }
    let allow = response.headers().get(ALLOW).cloned();
    let problem = Problem::new(Code::MethodNotAllowed, format!("{method} is not allowed at this address"));
    let mut response = reply::problem(problem, &headers);
    if let Some(allow) = allow {
        response.headers_mut().insert(ALLOW, allow);
    }
    response
}
