//! Handlers that show the state of the gateway: readiness, deployments, plugins.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::HeaderMap;

use crate::gateway::deployer::Deployer;
use crate::http::api::access::TokenDigest;

/// `GET /readyz`: 200 or 503 for everyone. The details name deployments and errors, so with a token only its holders
/// get them.
pub async fn readyz(
    State((deployer, token)): State<(Arc<Deployer>, Option<TokenDigest>)>,
    headers: HeaderMap,
) -> Response {
    let mut readiness = deployer.readiness();
    if token.is_some_and(|token| !token.authorizes(&headers)) {
        readiness.hide_details();
    }
    let status = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

/// `GET /api/inspect`: the deployments and their functions, in MetaCall's shape.
pub async fn deployments(State(deployer): State<Arc<Deployer>>) -> Response {
    Json(deployer.gateway.inspect()).into_response()
}

/// `GET /api/plugins`: the plugins with their state and figures.
pub async fn plugins(State(deployer): State<Arc<Deployer>>) -> Response {
    Json(deployer.gateway.inspect_plugins()).into_response()
}
