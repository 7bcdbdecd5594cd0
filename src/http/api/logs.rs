//! Handlers of logs: the lines that are kept, or new lines as they come.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Extension;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use tokio::sync::{oneshot, watch};

use crate::gateway::deployer::Deployer;
use crate::http::api::caller::{Caller, Need};
use crate::http::api::{json_body, reply};
use crate::http::problem::{Code, Problem, deployment_not_found};
use crate::logs::book::LogBook;

/// The query of `GET /api/logs/<name>`.
#[derive(Debug, Deserialize)]
pub struct LogsQuery {
    /// Whether to go on with new lines as they come.
    #[serde(default)]
    follow: bool,
}

/// The body of MetaCall's `POST /api/deploy/logs`; other fields are ignored.
#[derive(Debug, Deserialize)]
struct DeployLogs {
    suffix: String,
}

/// `GET /api/logs/<name>`: text, or server-sent events with `follow=true`.
pub async fn logs(
    State(deployer): State<Arc<Deployer>>,
    Path(name): Path<String>,
    query: Result<Query<LogsQuery>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let Ok(Query(query)) = query else {
        return reply::problem(Problem::new(Code::BadRequest, "follow is true or false"), &headers);
    };
    let Some(book) = deployer.log_of(&name) else {
        return reply::problem(deployment_not_found(&name), &headers);
    };
    if query.follow {
        reply::events(follow(book).take_until(deployer.gateway.drain_begins()))
    } else {
        ([(CONTENT_TYPE, "text/plain; charset=utf-8")], book.text()).into_response()
    }
}

/// `POST /api/deploy/logs`: the logs as one JSON string.
pub async fn deploy_logs(
    State(deployer): State<Arc<Deployer>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: bytes::Bytes,
) -> Response {
    let request: DeployLogs = match json_body::read(body).await {
        Ok(request) => request,
        Err(problem) => return reply::problem(problem, &headers),
    };
    if let Err(problem) = caller.check(Need::ReadOf(&request.suffix)) {
        return reply::problem(problem, &headers);
    }
    match deployer.log_of(&request.suffix) {
        Some(book) => Json(book.text()).into_response(),
        None => reply::problem(deployment_not_found(&request.suffix), &headers),
    }
}

/// An item of a log that is followed.
pub enum Line {
    /// A line.
    Text(Arc<str>),
    /// The last item: the event that ended the following.
    End(Event),
}

/// The kept lines, then each new one, without an end.
fn follow(book: Arc<LogBook>) -> impl Stream<Item = Result<Event, Infallible>> {
    let (never_sent, end) = oneshot::channel();
    lines(book, 0, end).map(move |line| {
        // Held by the closure: dropping it would end the stream.
        let _kept_open: &oneshot::Sender<Event> = &never_sent;
        Ok(match line {
            Line::Text(text) => Event::default().data(text),
            Line::End(event) => event,
        })
    })
}

/// The lines from number `from` on as they come, until `end` has an event.
pub fn lines(book: Arc<LogBook>, from: u64, end: oneshot::Receiver<Event>) -> impl Stream<Item = Line> {
    let changes = book.watch();
    stream::unfold(Some(Following { book, changes, from, end }), next_lines).flat_map(stream::iter)
}

struct Following {
    book: Arc<LogBook>,
    changes: watch::Receiver<u64>,
    from: u64,
    end: oneshot::Receiver<Event>,
}

async fn next_lines(following: Option<Following>) -> Option<(Vec<Line>, Option<Following>)> {
    let mut following = following?;
    loop {
        following.changes.mark_unchanged();
        let (lines, next) = following.book.since(following.from);
        if !lines.is_empty() {
            following.from = next;
            return Some((lines.into_iter().map(Line::Text).collect(), Some(following)));
        }
        tokio::select! {
            biased;
            changed = following.changes.changed() => changed.ok()?,
            event = &mut following.end => {
                let (lines, _) = following.book.since(following.from);
                let lines = lines.into_iter().map(Line::Text);
                return Some((lines.chain(event.ok().map(Line::End)).collect(), None));
            }
        }
    }
}
