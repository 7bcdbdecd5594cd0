//! `POST /api/upgrade`: replaces the running program by the one that is on disk now, and answers when that takes calls.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::HeaderMap;

use crate::gateway::deployer::Deployer;
use crate::gateway::upgrades::UpgradeError;
use crate::http::api::reply;
use crate::http::disk_fault::read_only;
use crate::http::problem::{Code, Problem};

/// Answers `{"pid", "previous"}`: the process that serves now, and the one that finishes its calls.
pub async fn upgrade(State(deployer): State<Arc<Deployer>>, headers: HeaderMap) -> Response {
    let error = match deployer.upgrades.request().await {
        Ok(upgraded) => return Json(upgraded).into_response(),
        Err(error) => error,
    };
    let message = error.to_string();
    let problem = match error {
        UpgradeError::UnderWay | UpgradeError::PreviousFinishes => read_only(message),
        UpgradeError::NotServing => Problem::new(Code::Draining, message),
        UpgradeError::Impossible(_) => Problem::new(Code::NotImplemented, message),
        UpgradeError::Failed(_) => Problem::new(Code::UpgradeFailed, message),
    };
    reply::problem(problem, &headers)
}
