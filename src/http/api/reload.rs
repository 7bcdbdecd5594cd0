//! `POST /api/reload`: reads the configuration again and answers with what changed.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::HeaderMap;

use crate::gateway::deployer::Deployer;
use crate::gateway::reload_request::{OVER_HTTP, Rejected, ReloadFailure};
use crate::http::api::{failures, reply};
use crate::http::disk_fault::read_only;
use crate::http::problem::{Code, Problem};

/// Waits for the reload. The first failure makes the answer an error; the others are in the log and in `/readyz`.
pub async fn reload(State(deployer): State<Arc<Deployer>>, headers: HeaderMap) -> Response {
    if let Some(reason) = deployer.held_changes() {
        return reply::problem(read_only(reason), &headers);
    }
    let problem = match deployer.reloads.request(OVER_HTTP).await {
        None => Problem::new(Code::Draining, "the gateway is stopping"),
        Some(Err(Rejected::Faults(faults))) => Problem::new(Code::BadConfig, faults),
        Some(Err(error @ Rejected::Internal)) => Problem::new(Code::Internal, error.to_string()),
        Some(Ok(reloaded)) => match reloaded.failures.first() {
            None => return Json(&*reloaded).into_response(),
            Some(failure) => Problem::new(code_of(failure), failure.to_string()),
        },
    };
    reply::problem(problem, &headers)
}

fn code_of(failure: &ReloadFailure) -> Code {
    match failure {
        ReloadFailure::Plugin(_) => Code::BadPlugin,
        ReloadFailure::Deployment { failure, .. } => failures::code_of_load(failure.kind),
    }
}
