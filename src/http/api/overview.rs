//! `GET /api/overview`: a line of figures for each deployment that the caller may see, for the dashboard and
//! `metagate top`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use http::header::CONTENT_TYPE;
use serde_json::json;

use crate::deployment::DeploymentName;
use crate::gateway::overview::{Overview, Overviews};
use crate::http::api::caller::{Caller, Need};

/// The routes of overviews.
pub fn routes(overviews: &Arc<Overviews>) -> Router {
    Router::new().route("/api/overview", get(overview)).with_state(Arc::clone(overviews))
}

async fn overview(State(overviews): State<Arc<Overviews>>, Extension(caller): Extension<Caller>) -> Response {
    let overview = overviews.current().await;
    let lines: Vec<&str> = visible(&overview, &caller).map(|(_, line)| &**line).collect();
    let head = head(&overview, &caller);
    let body = format!("{},\"deployments\":[{}]}}", head.strip_suffix('}').unwrap_or(&head), lines.join(","));
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

/// The lines that a caller may see.
pub(super) fn visible<'a>(
    overview: &'a Overview,
    caller: &'a Caller,
) -> impl Iterator<Item = (&'a DeploymentName, &'a Arc<str>)> {
    overview.deployments.iter().filter(|(name, _)| caller.may(Need::ReadOf(name.as_str())))
}

/// What an overview has outside of its lines, as a JSON object: the gateway, and what the caller may do.
pub(super) fn head(overview: &Overview, caller: &Caller) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let Overview { status, prefix, .. } = overview;
    let (name, may) = (&*caller.name, caller.permissions());
    json!({ "status": status, "prefix": prefix, "version": version, "caller": { "name": name, "may": may } })
        .to_string()
}
