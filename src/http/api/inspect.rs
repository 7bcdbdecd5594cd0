//! Handlers that show the state of the gateway: readiness, deployments, plugins.

use std::sync::Arc;

use axum::Extension;
use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use crate::gateway::deployer::Deployer;
use crate::gateway::plugin_detail::PluginDetail;
use crate::http::api::access::Access;
use crate::http::api::caller::{Caller, Need};

/// `GET /readyz`: 200 or 503 for everyone. The details have paths and output of workers, so only those who may use the
/// API get them.
pub async fn readyz(State((deployer, access)): State<(Arc<Deployer>, Access)>, request: Request) -> Response {
    let (head, _) = request.into_parts();
    let shows_details = access.shows_details(&head).await;
    let mut readiness = deployer.readiness();
    if !shows_details {
        readiness.hide_details();
    }
    let status = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

/// `GET /api/inspect`: the deployments that the caller may see and their functions, in MetaCall's shape.
pub async fn deployments(State(deployer): State<Arc<Deployer>>, Extension(caller): Extension<Caller>) -> Response {
    let mut deployments = deployer.gateway.inspect();
    deployments.retain(|deployment| caller.may(Need::ReadOf(&deployment.suffix)));
    Json(deployments).into_response()
}

/// `GET /api/plugins`: the plugins with their state and figures. What a plugin wrote when it failed is for
/// administrators.
pub async fn plugins(State(deployer): State<Arc<Deployer>>, Extension(caller): Extension<Caller>) -> Response {
    let mut plugins = deployer.gateway.inspect_plugins();
    if !caller.may(Need::Admin) {
        plugins.iter_mut().filter_map(|plugin| plugin.detail.as_mut()).for_each(PluginDetail::hide_words);
    }
    Json(plugins).into_response()
}
