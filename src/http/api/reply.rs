//! Answers of the API's handlers.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use http::header::{HeaderMap, HeaderValue};

use crate::http::problem::Problem;
use crate::http::reply_body::ReplyBody;
use crate::http::request_id;

/// The pause after which a stream without events says that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A JSON value as an answer with status 200.
pub fn json(value: &serde_json::Value) -> Response {
    Json(value).into_response()
}

/// Server-sent events as an answer.
pub fn events(events: impl Stream<Item = Result<Event, Infallible>> + Send + 'static) -> Response {
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

/// A problem as an answer. `headers` are the request's: the service has put the request id there.
pub fn problem(problem: Problem, headers: &HeaderMap) -> Response {
    let id = headers.get(request_id::HEADER).cloned().unwrap_or_else(|| HeaderValue::from_static(""));
    problem.into_response(request_id::text(&id)).map(|body| match body {
        ReplyBody::Full(bytes) => bytes.unwrap_or_default().into(),
        ReplyBody::Streamed(body) | ReplyBody::Guarded(body, _) => body,
    })
}
