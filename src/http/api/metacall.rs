//! Addresses that MetaCall's clients request before they deploy: permissions and subscriptions. What a
//! holder of a token may not do is refused where it is tried.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use serde_json::{Value, json};

use crate::gateway::deployer::Deployer;
use crate::http::api::caller::{Caller, Need};

/// The subscription plan of every deployment, with its name in MetaCall's hub.
const PLAN: &str = "Essential";

/// The routes, without `/api/readiness`, which clients request without a token.
pub fn routes(deployer: Arc<Deployer>) -> Router {
    Router::new()
        .route("/validate", get(valid).post(valid))
        .route("/api/account/deploy-enabled", get(valid).post(valid))
        .route("/api/account/refresh-token", get(same_token))
        .route("/api/billing/list-subscriptions", get(plans).post(plans))
        .route("/api/billing/list-subscriptions-deploys", get(plans_in_use).post(plans_in_use))
        .with_state(deployer)
}

async fn valid() -> Json<Value> {
    Json(json!({ "status": "success", "data": true }))
}

/// Tokens do not expire: the answer is the token of the request.
async fn same_token(headers: HeaderMap) -> Response {
    let authorization = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let token = authorization.split_once(' ').map_or("local", |(_, token)| token);
    ([(CONTENT_TYPE, "text/plain; charset=utf-8")], token.to_owned()).into_response()
}

async fn plans() -> Json<Value> {
    Json(json!([PLAN, PLAN]))
}

/// The deployments, which the client needs to replace one (`metacall-deploy --force`).
async fn plans_in_use(State(deployer): State<Arc<Deployer>>, Extension(caller): Extension<Caller>) -> Json<Value> {
    let seen = deployer.stored_names().into_iter().filter(|(name, _)| caller.may(Need::ReadOf(name.as_str())));
    let in_use = seen.map(
        |(name, created)| json!({ "id": name.as_str(), "plan": PLAN, "date": created * 1000, "deploy": name.as_str() }),
    );
    Json(in_use.collect())
}
