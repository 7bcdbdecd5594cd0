//! `/api/calls`: asynchronous calls. Who has the id of a call may look at it and take it back, without a token; lists
//! and changes of others' calls are for those who may use the API.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::config::Delay;
use crate::gateway::Gateway;
use crate::gateway::async_calls::AsyncCalls;
use crate::gateway::async_calls::accept::code_of;
use crate::http::api::call_selection::CallSelection;
use crate::http::api::caller::{Caller, Need};
use crate::http::api::{foreign_page, reply};
use crate::http::buffers::{Class, ConnectionBuffers, Held, SMALL};
use crate::http::problem::{Code, Problem};
use crate::queue::progress::State as CallState;
use crate::queue::shown;
use crate::queue::{Answer, AnswerHead, CallId, Changed, Database, Fault, Kept, Watch};

/// The longest wait for the end of a call.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How often a call is looked at that another process may change.
const LOOK: Duration = Duration::from_secs(5);
/// Calls of a list, unless asked for another number.
const USUAL: u32 = 50;
/// The largest result that an event has; larger ones are asked for.
const LARGEST_OF_EVENTS: u64 = 256 << 10;
/// Calls that one transaction changes.
const BATCH: u32 = 500;

/// A call, and the head of what it came to.
type Looked = (Kept, Option<AnswerHead>);

/// The routes for who has an id.
pub fn of_ids(gateway: &Arc<Gateway>) -> Router {
    Router::new()
        .route("/api/calls/{id}", get(look).delete(cancel))
        .route("/api/calls/{id}/result", get(result))
        .with_state(Arc::clone(gateway))
}

/// The routes for those who may use the API.
pub fn routes(gateway: &Arc<Gateway>) -> Router {
    Router::new()
        .route("/api/calls", get(list))
        .route("/api/calls/{id}/retry", post(retry))
        .route("/api/calls/redrive", post(redrive))
        .route("/api/calls/purge", post(purge))
        .with_state(Arc::clone(gateway))
}

fn not_found() -> Problem {
    Problem::new(Code::CallNotFound, "no call with this id is kept")
}

pub(super) fn problem_of(fault: &Fault) -> Problem {
    tracing::warn!(%fault, "asynchronous calls could not be read or changed");
    Problem::new(code_of(fault), fault.to_string()).retry_after(LOOK)
}

/// The calls and an id in an address.
pub(super) fn named<'a>(gateway: &'a Gateway, id: &str) -> Result<(&'a Arc<AsyncCalls>, CallId), Problem> {
    let calls = gateway.async_calls().ok_or_else(not_found)?;
    Ok((calls, id.parse().map_err(|_| not_found())?))
}

pub(super) async fn found(calls: &AsyncCalls, id: CallId) -> Result<Looked, Problem> {
    calls.queue.look(id).await.map_err(|fault| problem_of(&fault))?.ok_or_else(not_found)
}

/// A call as an answer. It changes, so nobody may keep it.
fn shown(json: Bytes) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, json).into_response()
}

/// Reads what a call came to, once the budgets of the client have room for that many times its bytes.
async fn answer_of(
    calls: &AsyncCalls,
    (kept, head): &Looked,
    buffers: &Arc<ConnectionBuffers>,
    times: usize,
) -> Result<(Option<Answer>, Held), Problem> {
    let mut held = Held::nothing(buffers);
    let Some(head) = head else { return Ok((None, held)) };
    let bytes = usize::try_from(head.bytes).unwrap_or(usize::MAX);
    held.grow_to(bytes.saturating_mul(times), Class::Answer)?;
    let answer = calls.queue.answer(kept.clone(), head.clone()).await.map_err(|fault| problem_of(&fault))?;
    Ok((answer, held))
}

/// A call as JSON, with what it came to. It counts in the budgets until it is written.
async fn json_of(calls: &AsyncCalls, looked: Looked, buffers: &Arc<ConnectionBuffers>) -> Result<Bytes, Problem> {
    // The result is there twice while the JSON is made.
    let (answer, held) = answer_of(calls, &looked, buffers, 2).await?;
    let is_large = answer.as_ref().is_some_and(|answer| answer.body.len() > SMALL);
    let make = move || held.attach(shown::json(&looked.0, answer.as_ref()));
    if !is_large {
        return Ok(make());
    }
    let made = tokio::task::spawn_blocking(make).await;
    made.map_err(|error| Problem::new(Code::Internal, format!("the call could not be shown: {error}")))
}

async fn look(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    Extension(buffers): Extension<Arc<ConnectionBuffers>>,
    headers: HeaderMap,
) -> Response {
    let looked = async {
        let wait = wait_of(query.as_deref().unwrap_or_default())?;
        let (calls, id) = named(&gateway, &id)?;
        let events = headers.get(ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"text/event-stream"));
        if events {
            return follow(&gateway, calls, id, buffers).await;
        }
        let looked = match wait {
            Some(wait) => ended(&gateway, calls, id, wait).await?,
            None => found(calls, id).await?,
        };
        Ok(shown(json_of(calls, looked, &buffers).await?))
    };
    looked.await.unwrap_or_else(|problem| reply::problem(problem, &headers))
}

/// `wait=30s`, `wait=500ms` or `wait=30`.
fn wait_of(query: &str) -> Result<Option<Duration>, Problem> {
    let mut wait = None;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name != "wait" {
            let name: String = name.chars().take(40).collect();
            return Err(Problem::new(Code::BadRequest, format!("there is no parameter {name:?}, only wait")));
        }
        let is_digits = value.bytes().all(|byte| byte.is_ascii_digit());
        let seconds = value.parse().ok().filter(|_| is_digits).map(Duration::from_secs);
        let parsed = seconds.or_else(|| value.parse::<Delay>().ok().map(Delay::get));
        match parsed {
            Some(parsed) if parsed <= LONGEST_WAIT => wait = Some(parsed),
            _ => return Err(Problem::new(Code::BadRequest, "wait is a duration such as \"30s\", up to \"60s\"")),
        }
    }
    Ok(wait)
}

fn watch(calls: &AsyncCalls, id: CallId) -> Result<Watch, Problem> {
    let too_many = || Problem::new(Code::Overloaded, "too many wait for calls").retry_after(LOOK);
    calls.queue.watchers.watch(id).ok_or_else(too_many)
}

/// A call when it has ended, or as it is after this time.
async fn ended(gateway: &Gateway, calls: &AsyncCalls, id: CallId, wait: Duration) -> Result<Looked, Problem> {
    let looked = found(calls, id).await?;
    if looked.0.progress.state.has_ended() {
        return Ok(looked);
    }
    let watch = watch(calls, id)?;
    let over = tokio::time::sleep(wait);
    tokio::pin!(over);
    let drained = gateway.drain_begins();
    tokio::pin!(drained);
    loop {
        let changed = watch.changed();
        let looked = found(calls, id).await?;
        if looked.0.progress.state.has_ended() {
            return Ok(looked);
        }
        tokio::select! {
            () = changed => {}
            () = tokio::time::sleep(LOOK) => {}
            () = &mut over => return found(calls, id).await,
            () = &mut drained => return Ok(looked),
        }
    }
}

/// The states of a call as server-sent events, until it has ended.
async fn follow(
    gateway: &Arc<Gateway>,
    calls: &Arc<AsyncCalls>,
    id: CallId,
    buffers: Arc<ConnectionBuffers>,
) -> Result<Response, Problem> {
    found(calls, id).await?;
    let watch = watch(calls, id)?;
    let (gateway, calls) = (Arc::clone(gateway), Arc::clone(calls));
    let states = futures_util::stream::unfold(Some((watch, None)), move |following| {
        let (gateway, calls, buffers) = (Arc::clone(&gateway), Arc::clone(&calls), Arc::clone(&buffers));
        async move {
            let (watch, last) = following?;
            let (kept, head) = next(&gateway, &calls, &watch, id, last).await?;
            let progress = kept.progress;
            let small = head.filter(|head| head.bytes <= LARGEST_OF_EVENTS);
            let json = json_of(&calls, (kept, small), &buffers).await.ok()?;
            let event = Event::default().event("state").data(str::from_utf8(&json).ok()?);
            let rest = (!progress.state.has_ended()).then_some((watch, Some((progress.state, progress.serial))));
            Some((Ok::<_, Infallible>(event), rest))
        }
    });
    Ok(reply::events(states))
}

/// The next state of a call; none if it is not kept any more, or the gateway stops.
async fn next(
    gateway: &Gateway,
    calls: &AsyncCalls,
    watch: &Watch,
    id: CallId,
    last: Option<(CallState, u32)>,
) -> Option<Looked> {
    loop {
        let changed = watch.changed();
        let looked = calls.queue.look(id).await.ok()??;
        if last != Some((looked.0.progress.state, looked.0.progress.serial)) {
            return Some(looked);
        }
        tokio::select! {
            () = changed => {}
            () = tokio::time::sleep(LOOK) => {}
            () = gateway.drain_begins() => return None,
        }
    }
}

/// The answer that a plain call would have had.
async fn result(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    Extension(buffers): Extension<Arc<ConnectionBuffers>>,
    headers: HeaderMap,
) -> Response {
    let answered = async {
        let (calls, id) = named(&gateway, &id)?;
        let looked = found(calls, id).await?;
        let state = looked.0.progress.state.as_str();
        let (answer, held) = answer_of(calls, &looked, &buffers, 1).await?;
        let none = || Problem::new(Code::CallState, format!("the call is {state}, and has no result"));
        Ok(as_it_was(answer.ok_or_else(none)?, held))
    };
    answered.await.unwrap_or_else(|problem| reply::problem(problem, &headers))
}

fn as_it_was(answer: Answer, held: Held) -> Response {
    let headers = shown::headers_of(&answer);
    let mut response = Response::new(Body::from(held.attach(answer.body)));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    foreign_page::confine(response.headers_mut());
    // It is gone one day, and it may be made again.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn cancel(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let cancelled = async {
        let (calls, id) = named(&gateway, &id)?;
        if !calls.queue.has_file() {
            return Err(not_found());
        }
        let changed = calls.cancel(id).await.map_err(|fault| problem_of(&fault))?;
        changed_to(&changed, "cancelled")
    };
    cancelled.await.unwrap_or_else(|problem| reply::problem(problem, &headers))
}

fn changed_to(changed: &Changed, to: &str) -> Result<Response, Problem> {
    match changed {
        Changed::Now(kept) | Changed::Before(kept) => Ok(shown(shown::json(kept, None))),
        Changed::Refused(kept) => {
            let state = kept.progress.state.as_str();
            Err(Problem::new(Code::CallState, format!("the call is {state} and cannot be {to}")))
        }
        Changed::Unknown => Err(not_found()),
    }
}

async fn list(
    State(gateway): State<Arc<Gateway>>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let listed = async {
        let known = ["deployment", "function", "state", "before", "limit"];
        let asked = CallSelection::of_query(query.as_deref().unwrap_or_default(), &known)?;
        caller.check(asked.need())?;
        let calls = gateway.async_calls().filter(|calls| calls.queue.has_file());
        let Some(calls) = calls else { return Ok(listed_json(&caller, &[], None, (0, 0))) };
        let limit = asked.limit.unwrap_or(USUAL);
        let look =
            move |database: &Database| Ok((database.list(&asked.filter, asked.before, limit)?, database.room()?));
        let (kept, room) = calls.queue.read(look).await.map_err(|fault| problem_of(&fault))?;
        let next = (kept.len() >= limit as usize).then(|| kept.last().map(|last| last.row)).flatten();
        Ok(listed_json(&caller, &kept, next, room))
    };
    listed.await.unwrap_or_else(|problem| reply::problem(problem, &headers))
}

/// A list of calls. Who has an id may take the call back: those who may only look see a part of it.
fn listed_json(caller: &Caller, kept: &[Kept], next: Option<i64>, (waiting, bytes): (u64, u64)) -> Response {
    let mut text = Vec::from(format!(r#"{{"waiting":{waiting},"bytes":{bytes},"calls":["#));
    for (at, kept) in kept.iter().enumerate() {
        text.extend_from_slice(if at == 0 { b"" } else { b"," });
        let may_change = caller.may(Need::ChangeOf(&kept.deployment));
        text.extend_from_slice(&if may_change { shown::json(kept, None) } else { shown::json_of_list(kept) });
    }
    text.extend_from_slice(next.map_or("]}".to_owned(), |next| format!(r#"],"before":{next}}}"#)).as_bytes());
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], Bytes::from(text)).into_response()
}

async fn retry(
    State(gateway): State<Arc<Gateway>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let retried = async {
        let (calls, id) = named(&gateway, &id)?;
        let (kept, _) = found(calls, id).await?;
        caller.check(Need::ChangeOf(&kept.deployment))?;
        let rules = calls.rules();
        let max_age = move |kept: &Kept| rules.max_age_of(kept);
        let changed = calls.queue.retry(id, max_age).await.map_err(|fault| problem_of(&fault))?;
        changed_to(&changed, "tried again")
    };
    retried.await.unwrap_or_else(|problem| reply::problem(problem, &headers))
}

/// Queues all dead calls again, of one deployment or of all.
async fn redrive(
    State(gateway): State<Arc<Gateway>>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let redriven = async {
        let known = ["deployment", "function"];
        let asked = CallSelection::of_change(query.as_deref().unwrap_or_default(), body, &known).await?;
        caller.check(asked.need_of_change())?;
        let Some(calls) = gateway.async_calls().filter(|calls| calls.queue.has_file()) else { return Ok(counted(0)) };
        let rules = calls.rules();
        let max_age = move |kept: &Kept| rules.max_age_of(kept);
        let count = calls.queue.redrive(asked.filter, max_age, BATCH).await.map_err(|fault| problem_of(&fault))?;
        Ok(counted(count))
    };
    redriven.await.unwrap_or_else(|problem| reply::problem(problem, &headers))
}

/// Removes calls that have ended.
async fn purge(
    State(gateway): State<Arc<Gateway>>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let purged = async {
        let known = ["deployment", "function", "state"];
        let asked = CallSelection::of_change(query.as_deref().unwrap_or_default(), body, &known).await?;
        caller.check(asked.need_of_change())?;
        if asked.filter.state.is_some_and(|state| !state.has_ended()) {
            let message = "only calls that have ended are removed: done, dead or cancelled";
            return Err(Problem::new(Code::BadRequest, message));
        }
        let Some(calls) = gateway.async_calls().filter(|calls| calls.queue.has_file()) else { return Ok(counted(0)) };
        let count = calls.queue.purge(asked.filter, BATCH).await.map_err(|fault| problem_of(&fault))?;
        Ok(counted(count))
    };
    purged.await.unwrap_or_else(|problem| reply::problem(problem, &headers))
}

fn counted(count: usize) -> Response {
    reply::json(&serde_json::json!({ "calls": count }))
}
