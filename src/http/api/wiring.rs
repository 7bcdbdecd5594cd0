//! `GET /api/chain/<deployment>`: the plugins that its calls run through, with their cost, and the names of its
//! variables. `GET /api/wiring`: routes, plugins and workers of many deployments, for a picture.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use http::HeaderMap;
use serde::{Deserialize, Serialize};

use crate::gateway::deployer::Deployer;
use crate::gateway::wiring::DeploymentDetail;
use crate::http::api::call_from_page::ServesCalls;
use crate::http::api::caller::{Caller, Need};
use crate::http::api::reply;
use crate::http::problem::{self, Code, Problem};

/// The routes.
pub fn routes(deployer: Arc<Deployer>) -> Router {
    Router::new().route("/api/chain/{name}", get(chain)).route("/api/wiring", get(wiring)).with_state(deployer)
}

#[derive(Serialize)]
struct Chain {
    #[serde(flatten)]
    detail: DeploymentDetail,
    /// Whether functions can be called at the address that the request came to.
    calls_here: bool,
}

/// Deployments in a picture, and the most of them.
const LANES: usize = 40;
const MOST_LANES: usize = 500;

#[derive(Debug, Deserialize)]
struct Wanted {
    /// Part of the name of a deployment, of a route or of a plugin.
    #[serde(default)]
    filter: String,
    first: Option<usize>,
}

async fn wiring(
    State(deployer): State<Arc<Deployer>>,
    Extension(caller): Extension<Caller>,
    wanted: Result<Query<Wanted>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let Ok(Query(Wanted { filter, first })) = wanted else {
        return reply::problem(Problem::new(Code::BadRequest, "first is a number, filter is text"), &headers);
    };
    let most = first.unwrap_or(LANES).min(MOST_LANES);
    // With thousands of deployments it takes milliseconds.
    let made = tokio::task::spawn_blocking(move || {
        deployer.gateway.wiring(&filter, most, |name| caller.may(Need::ReadOf(name)))
    });
    match made.await {
        Ok(wiring) => Json(wiring).into_response(),
        Err(_) => reply::problem(Problem::new(Code::Internal, "the wiring was not read"), &headers),
    }
}

async fn chain(
    State(deployer): State<Arc<Deployer>>,
    Path(name): Path<String>,
    Extension(ServesCalls(calls_here)): Extension<ServesCalls>,
    headers: HeaderMap,
) -> Response {
    match deployer.gateway.deployment(&name) {
        Some(deployment) => Json(Chain { detail: deployer.gateway.detail_of(&deployment), calls_here }).into_response(),
        None => reply::problem(problem::deployment_not_found(&name), &headers),
    }
}
