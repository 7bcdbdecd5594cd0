//! What workers print, over HTTP: all that is kept, or as it comes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use tokio::sync::watch;

use crate::gateway::Gateway;
use crate::http::admin::from_problem;
use crate::http::error::{Code, Problem, deployment_not_found};
use crate::worker::logs::LogBook;

const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The query of `GET /api/logs/<name>`.
#[derive(Debug, Deserialize)]
pub struct LogsQuery {
    /// Go on with new lines as they come.
    #[serde(default)]
    follow: bool,
}

/// The body of MetaCall's `POST /api/deploy/logs`; other fields do not matter here.
#[derive(Debug, Deserialize)]
struct DeployLogs {
    suffix: String,
}

/// `GET /api/logs/<name>`: text, or server-sent events with `follow=true`.
pub async fn logs(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    query: Result<Query<LogsQuery>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let Ok(Query(query)) = query else {
        return from_problem(Problem::new(Code::BadRequest, "follow is true or false"), &headers);
    };
    let Some(live) = gateway.deployment(&name) else {
        return from_problem(deployment_not_found(&name), &headers);
    };
    if query.follow {
        Sse::new(follow(Arc::clone(&live.logs)).take_until(gateway.drained()))
            .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
            .into_response()
    } else {
        ([(CONTENT_TYPE, "text/plain; charset=utf-8")], live.logs.text()).into_response()
    }
}

/// `POST /api/deploy/logs`: the logs as one JSON string.
pub async fn deploy_logs(State(gateway): State<Arc<Gateway>>, headers: HeaderMap, body: bytes::Bytes) -> Response {
    let request: DeployLogs = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => return from_problem(Problem::new(Code::InvalidJson, error.to_string()), &headers),
    };
    match gateway.deployment(&request.suffix) {
        Some(live) => Json(live.logs.text()).into_response(),
        None => from_problem(deployment_not_found(&request.suffix), &headers),
    }
}

/// The lines that are kept, then each new one.
fn follow(book: Arc<LogBook>) -> impl Stream<Item = Result<Event, Infallible>> {
    let news = book.watch();
    stream::unfold((book, news, 0), next_lines)
        .flat_map(|lines| stream::iter(lines.into_iter().map(|line| Ok(Event::default().data(line)))))
}

type Following = (Arc<LogBook>, watch::Receiver<u64>, u64);

async fn next_lines((book, mut news, from): Following) -> Option<(Vec<Arc<str>>, Following)> {
    loop {
        news.mark_unchanged();
        let (lines, next) = book.since(from);
        if !lines.is_empty() {
            return Some((lines, (book, news, next)));
        }
        news.changed().await.ok()?;
    }
}
