//! `/api/cluster`: how the cluster of this gateway is, and what an operator does about it.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::header::HeaderMap;
use serde::Deserialize;

use crate::gateway::deployer::Deployer;
use crate::http::api::failures::from_deploy;
use crate::http::api::{json_body, reply};
use crate::http::problem::{Code, Problem};

/// The routes of the cluster.
pub(super) fn routes(deployer: Arc<Deployer>) -> Router {
    Router::new()
        .route("/api/cluster", get(status))
        .route("/api/cluster/drain", post(drain))
        .route("/api/cluster/restore", post(restore))
        .with_state(deployer)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Drain {
    #[serde(default = "yes")]
    drained: bool,
}

fn yes() -> bool {
    true
}

/// Answers with the state of the cluster, as this gateway sees it.
async fn status(State(deployer): State<Arc<Deployer>>, headers: HeaderMap) -> Response {
    match deployer.cluster_status() {
        Some(status) => Json(status).into_response(),
        None => reply::problem(alone(), &headers),
    }
}

/// Has deploys no longer wait for this gateway, or wait again.
async fn drain(State(deployer): State<Arc<Deployer>>, headers: HeaderMap, body: Bytes) -> Response {
    let read = async { if body.is_empty() { Ok(Drain { drained: true }) } else { json_body::read(body).await } };
    let Drain { drained } = match read.await {
        Ok(drain) => drain,
        Err(problem) => return reply::problem(problem, &headers),
    };
    if !deployer.drain_node(drained) {
        return reply::problem(alone(), &headers);
    }
    status(State(deployer), headers).await
}

/// Writes back what the cluster's servers have lost.
async fn restore(State(deployer): State<Arc<Deployer>>, headers: HeaderMap) -> Response {
    match deployer.restore_cluster().await {
        Ok(Some(restored)) => Json(restored).into_response(),
        Ok(None) => reply::problem(alone(), &headers),
        Err(error) => reply::problem(from_deploy(&error), &headers),
    }
}

fn alone() -> Problem {
    Problem::new(Code::NotFound, "this gateway is not part of a cluster: its configuration has no [cluster]")
}
