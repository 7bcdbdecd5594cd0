//! Addresses that MetaCall's clients ask before they deploy: whether they may, and what they have paid for. Here everybody
//! with the token may do everything.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use serde_json::{Value, json};

use crate::gateway::deployer::Deployer;

/// The plan that every deployment has, in the words of MetaCall's hub.
const PLAN: &str = "Essential";

/// The routes; readiness, which is asked without a token, is not among them.
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

/// Tokens do not end: whoever asks for a new one goes on with the one that they have.
async fn same_token(headers: HeaderMap) -> Response {
    let authorization = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let token = authorization.split_once(' ').map_or("local", |(_, token)| token);
    ([(CONTENT_TYPE, "text/plain; charset=utf-8")], token.to_owned()).into_response()
}

async fn plans() -> Json<Value> {
    Json(json!([PLAN, PLAN]))
}

/// What is deployed, as the client needs it to replace a deployment (`metacall-deploy --force`).
async fn plans_in_use(State(deployer): State<Arc<Deployer>>) -> Json<Value> {
    let in_use = deployer.stored_names().into_iter().map(
        |(name, created)| json!({ "id": name.as_str(), "plan": PLAN, "date": created * 1000, "deploy": name.as_str() }),
    );
    Json(in_use.collect())
}
