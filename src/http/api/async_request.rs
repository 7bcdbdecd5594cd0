//! `GET /api/calls/<id>/request`: what an asynchronous call is made of, for those who may see its deployment.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use http::HeaderMap;

use crate::gateway::Gateway;
use crate::http::api::async_calls::{found, named, problem_of};
use crate::http::api::caller::{Caller, Need};
use crate::http::api::reply;
use crate::http::problem::{Code, Problem};

/// The route.
pub fn routes(gateway: &Arc<Gateway>) -> Router {
    Router::new().route("/api/calls/{id}/request", get(request)).with_state(Arc::clone(gateway))
}

/// What a call is made of, without what its caller has sent. That is kept until it is done.
async fn request(
    State(gateway): State<Arc<Gateway>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let looked = async {
        let (calls, id) = named(&gateway, &id)?;
        let (kept, _) = found(calls, id).await?;
        caller.check(Need::ReadOf(&kept.deployment))?;
        if kept.reports.is_some() {
            let message = "the call is a callback: no request has made it, but the end of another call";
            return Err(Problem::new(Code::CallNotFound, message));
        }
        let request = calls.request_of(id).await.map_err(|fault| problem_of(&fault))?;
        let gone = || Problem::new(Code::CallNotFound, "what a call is made of is kept until it is done");
        let request = request.ok_or_else(gone)?;
        Ok(reply::json(&serde_json::to_value(request).unwrap_or_default()))
    };
    looked.await.unwrap_or_else(|problem| reply::problem(problem, &headers))
}
