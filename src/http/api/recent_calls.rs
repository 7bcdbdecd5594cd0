//! `GET /api/recent-calls`: the last calls, as far as the caller may see them, and one of them with its parts and the
//! lines of its log.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use http::HeaderMap;
use serde_json::{Map, Value, json};

use crate::clock;
use crate::gateway::deployer::Deployer;
use crate::http::api::caller::{Caller, Need};
use crate::http::api::event_query::kind_of;
use crate::http::api::reply;
use crate::http::problem::{Code, Problem};
use crate::http::recent_calls::{KeptCall, Kind, RecentCalls, Wanted};
use crate::traces::timeline::{Part, Step};

/// Calls of a list: unless asked for another number, and at most.
const USUAL: usize = 50;
const MOST: usize = 500;
/// Lines of a log that are shown with a call.
const LINES: usize = 200;

/// The last calls, and whose log lines they have.
type Shown = (Arc<Deployer>, Arc<RecentCalls>);

/// The routes of the last calls.
pub fn routes(deployer: &Arc<Deployer>, recent: &Arc<RecentCalls>) -> Router {
    let router = Router::new().route("/api/recent-calls", get(list)).route("/api/recent-calls/{*id}", get(one));
    router.with_state((Arc::clone(deployer), Arc::clone(recent)))
}

/// The query of a list.
struct ListQuery {
    deployment: Option<String>,
    kind: Option<Kind>,
    limit: usize,
}

impl ListQuery {
    fn parse(query: &str) -> Result<Self, Problem> {
        let mut parsed = Self { deployment: None, kind: None, limit: USUAL };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match (&*name, &*value) {
                ("deployment", _) => parsed.deployment = Some(value.into_owned()),
                ("kind", kind) => parsed.kind = kind_of(kind)?,
                ("limit", _) => match value.parse() {
                    Ok(limit) if (1..=MOST).contains(&limit) => parsed.limit = limit,
                    _ => return Err(bad_request(&format!("limit is a number from 1 to {MOST}"))),
                },
                _ => {
                    let name: String = name.chars().take(40).collect();
                    return Err(bad_request(&format!(
                        "there is no parameter {name:?}, only deployment, kind and limit"
                    )));
                }
            }
        }
        Ok(parsed)
    }
}

fn bad_request(message: &str) -> Problem {
    Problem::new(Code::BadRequest, message)
}

async fn list(
    State((_, recent)): State<Shown>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = ListQuery::parse(query.as_deref().unwrap_or_default());
    let allowed = query.and_then(|query| {
        query.deployment.as_ref().map_or(Ok(()), |name| caller.check(Need::ReadOf(name)))?;
        Ok(query)
    });
    let ListQuery { deployment, kind, limit } = match allowed {
        Ok(query) => query,
        Err(problem) => return reply::problem(problem, &headers),
    };
    let wanted = Wanted { deployment: deployment.as_deref(), kind, from: 0, limit };
    let found = recent.list(wanted, |name| may_see(&caller, name));
    let calls: Vec<Value> = found.iter().map(|(number, call)| numbered(*number, call, recent.slow())).collect();
    reply::json(&json!({ "slow_ms": milliseconds(recent.slow()), "calls": calls }))
}

async fn one(
    State((deployer, recent)): State<Shown>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Some((_, call)) = recent.find(&id, |name| may_see(&caller, name)) else {
        let id: String = id.chars().take(128).collect();
        let message = format!("no call with the request id {id:?} is kept: only the last calls are");
        return reply::problem(Problem::new(Code::CallNotFound, message), &headers);
    };
    let mut shown = head(&call, recent.slow());
    shown.insert("parts".into(), parts(&call).into());
    shown.insert("log".into(), log(&deployer, &call).into());
    reply::json(&Value::Object(shown))
}

/// Whether someone may see the calls of a deployment; of what is not deployed, if there is no name.
pub(super) fn may_see(caller: &Caller, deployment: Option<&str>) -> bool {
    caller.may(deployment.map_or(Need::Read, Need::ReadOf))
}

/// A call of a list. Of two calls, the later to end has the higher number.
pub(super) fn numbered(number: u64, call: &KeptCall, slow: Duration) -> Value {
    let mut shown = head(call, slow);
    shown.insert("number".into(), number.into());
    Value::Object(shown)
}

/// A call without its parts.
fn head(call: &KeptCall, slow: Duration) -> Map<String, Value> {
    let KeptCall { of, ended, .. } = call;
    let fields = json!({
        "request_id": of.id,
        "deployment": of.deployment,
        "release": of.release,
        "function": of.function,
        "called": of.called,
        "method": of.method.as_str(),
        "path": of.path,
        "status": ended.status,
        "code": Some(&ended.code).filter(|code| !code.is_empty()),
        "is_error": call.is_error(),
        "is_slow": call.is_slow(slow),
        "started": humantime::format_rfc3339_millis(clock::time_of_day(of.begun)).to_string(),
        "duration_ms": milliseconds(ended.duration),
        "request_bytes": ended.request_bytes,
        "answer_bytes": ended.answer_bytes,
    });
    let Value::Object(fields) = fields else { return Map::new() };
    fields
}

/// The parts of a call in the order in which they began.
fn parts(call: &KeptCall) -> Vec<Value> {
    let KeptCall { of, ended, steps } = call;
    let times = ended.times;
    let mut parts = Vec::new();
    let read = of.read.unwrap_or(ended.duration);
    parts.push(part("request", "", Duration::ZERO, read));
    if !steps.is_empty() {
        // What a plugin does within its hook is for traces.
        let own = steps.iter().filter(|step| step.within.is_none());
        parts.extend(own.map(|step| part_of_step(call, step)));
    } else if of.read.is_some() {
        let function = of.function.as_deref().unwrap_or_default();
        parts.push(part("queue", "", read, times.queue));
        parts.extend(times.worker.map(|worker| part("worker", function, read + times.queue, worker)));
        if let Some(last) = parts.last_mut().filter(|_| call.is_error() && ended.stream.is_none()) {
            last["code"] = (*ended.code).into();
        }
    }
    parts.extend(ended.stream.map(|stream| part("stream", "", ended.duration.saturating_sub(stream), stream)));
    parts
}

fn part_of_step(call: &KeptCall, step: &Step) -> Value {
    let start = step.begun.saturating_duration_since(call.of.begun);
    // A step that went on when the call ended ended with it, for the same reason.
    let (end, fault) = match step.ended {
        Some(ended) => (ended.saturating_duration_since(call.of.begun), step.fault.as_deref()),
        None => (call.ended.duration, Some(&*call.ended.code)),
    };
    let name = if step.part == Part::Queue { "" } else { &*step.name };
    let mut part = part(step.part.as_str(), name, start, end.saturating_sub(start));
    part["result"] = Some(&*step.result).filter(|result| !result.is_empty()).into();
    part["code"] = fault.filter(|code| !code.is_empty()).into();
    part
}

fn part(part: &str, name: &str, start: Duration, duration: Duration) -> Value {
    json!({
        "part": part,
        "name": Some(name).filter(|name| !name.is_empty()),
        "start_ms": milliseconds(start),
        "duration_ms": milliseconds(duration),
    })
}

/// The lines that belong to a call, and those that its deployment has printed meanwhile.
fn log(deployer: &Deployer, call: &KeptCall) -> Vec<Value> {
    let book = call.of.deployment.as_ref().and_then(|name| deployer.log_of(name.as_str()));
    let Some(book) = book else { return Vec::new() };
    let time = |instant| humantime::format_rfc3339_millis(clock::time_of_day(instant)).to_string();
    let (begun, ended) = (time(call.of.begun), time(call.of.begun + call.ended.duration));
    let lines = book.of_call(&call.of.id, &begun, &ended, LINES);
    lines.iter().map(|(line, is_own)| json!({ "line": line, "of_call": is_own })).collect()
}

/// Three digits behind the point are enough.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
