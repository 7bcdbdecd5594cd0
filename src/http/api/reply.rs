//! Answers of the API's handlers.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{HeaderMap, HeaderValue};

use crate::http::problem::Problem;
use crate::http::reply_body::ReplyBody;
use crate::http::request_id;

/// A JSON value as an answer with status 200.
pub fn json(value: &serde_json::Value) -> Response {
    Json(value).into_response()
}

/// A problem as an answer. `headers` are the request's: the service has put the request id there.
pub fn problem(problem: Problem, headers: &HeaderMap) -> Response {
    let id = headers.get(request_id::HEADER).cloned().unwrap_or_else(|| HeaderValue::from_static(""));
    problem.into_response(request_id::text(&id)).map(|body| match body {
        ReplyBody::Full(bytes) => bytes.unwrap_or_default().into(),
        ReplyBody::Streamed(body) | ReplyBody::Guarded(body, _) => body,
    })
}
