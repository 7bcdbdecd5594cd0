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
use tokio::sync::{oneshot, watch};

use crate::gateway::deployer::Deployer;
use crate::http::admin::from_problem;
use crate::http::error::{Code, Problem, deployment_not_found};
use crate::http::json_body;
use crate::logs::book::LogBook;

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
    State(deployer): State<Arc<Deployer>>,
    Path(name): Path<String>,
    query: Result<Query<LogsQuery>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let Ok(Query(query)) = query else {
        return from_problem(Problem::new(Code::BadRequest, "follow is true or false"), &headers);
    };
    let Some(book) = deployer.log_of(&name) else {
        return from_problem(deployment_not_found(&name), &headers);
    };
    if query.follow {
        Sse::new(follow(book).take_until(deployer.gateway.drain_begins()))
            .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
            .into_response()
    } else {
        ([(CONTENT_TYPE, "text/plain; charset=utf-8")], book.text()).into_response()
    }
}

/// `POST /api/deploy/logs`: the logs as one JSON string.
pub async fn deploy_logs(State(deployer): State<Arc<Deployer>>, headers: HeaderMap, body: bytes::Bytes) -> Response {
    let request: DeployLogs = match json_body::read(&body) {
        Ok(request) => request,
        Err(problem) => return from_problem(problem, &headers),
    };
    match deployer.log_of(&request.suffix) {
        Some(book) => Json(book.text()).into_response(),
        None => from_problem(deployment_not_found(&request.suffix), &headers),
    }
}

/// What a log that is being followed gives.
pub enum Line {
    /// A line.
    Text(Arc<str>),
    /// What was waited for: the last of all.
    End(Event),
}

/// The lines that are kept, then each new one.
fn follow(book: Arc<LogBook>) -> impl Stream<Item = Result<Event, Infallible>> {
    let (never_ends, end) = oneshot::channel();
    lines(book, 0, end).map(move |line| {
        let _kept_open: &oneshot::Sender<Event> = &never_ends;
        Ok(match line {
            Line::Text(text) => Event::default().data(text),
            Line::End(event) => event,
        })
    })
}

/// The lines from number `from` on as they come, until there is an end to tell.
pub fn lines(book: Arc<LogBook>, from: u64, end: oneshot::Receiver<Event>) -> impl Stream<Item = Line> {
    let news = book.watch();
    stream::unfold(Some(Following { book, news, from, end }), next_lines).flat_map(stream::iter)
}

struct Following {
    book: Arc<LogBook>,
    news: watch::Receiver<u64>,
    from: u64,
    end: oneshot::Receiver<Event>,
}

async fn next_lines(following: Option<Following>) -> Option<(Vec<Line>, Option<Following>)> {
    let mut following = following?;
    loop {
        following.news.mark_unchanged();
        let (lines, next) = following.book.since(following.from);
        if !lines.is_empty() {
            following.from = next;
            return Some((lines.into_iter().map(Line::Text).collect(), Some(following)));
        }
        tokio::select! {
            biased;
            changed = following.news.changed() => changed.ok()?,
            event = &mut following.end => {
                let (lines, _) = following.book.since(following.from);
                let lines = lines.into_iter().map(Line::Text);
                return Some((lines.chain(event.ok().map(Line::End)).collect(), None));
            }
        }
    }
}
