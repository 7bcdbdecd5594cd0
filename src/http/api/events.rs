//! `GET /api/events`: server-sent events of what a page of the dashboard shows, all over one connection. Nothing waits
//! for a reader: a look at the present is made when the connection takes more, and a slow reader misses what has been
//! replaced meanwhile.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use futures_util::{StreamExt, stream};
use http::HeaderMap;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::deployment::DeploymentName;
use crate::gateway::deployer::Deployer;
use crate::gateway::overview::{Overview, Overviews};
use crate::http::api::caller::{Caller, Need};
use crate::http::api::event_query::EventQuery;
use crate::http::api::log_lines::LogLines;
use crate::http::api::{overview, recent_calls, reply};
use crate::http::call::stream_answer::NO_BUFFERING;
use crate::http::problem::{Code, Problem, deployment_not_found};
use crate::http::recent_calls::{RecentCalls, Wanted};

/// Streams at one time. A page has one.
const STREAMS: usize = 64;
/// `Retry-After` where there are too many.
const RETRY: Duration = Duration::from_secs(5);
/// The time between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// Calls of one event.
const CALLS: usize = 100;

/// What streams are made of.
#[derive(Clone)]
pub struct Sources {
    deployer: Arc<Deployer>,
    overviews: Arc<Overviews>,
    recent: Arc<RecentCalls>,
    streams: Arc<Semaphore>,
}

/// The route of events.
pub fn routes(deployer: &Arc<Deployer>, overviews: &Arc<Overviews>, recent: &Arc<RecentCalls>) -> Router {
    let sources = Sources {
        deployer: Arc::clone(deployer),
        overviews: Arc::clone(overviews),
        recent: Arc::clone(recent),
        streams: Arc::new(Semaphore::new(STREAMS)),
    };
    Router::new().route("/api/events", get(events)).with_state(sources)
}

async fn events(
    State(sources): State<Sources>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = match EventQuery::parse(query.as_deref().unwrap_or_default()) {
        Ok(query) => query,
        Err(problem) => return reply::problem(problem, &headers),
    };
    let Ok(permit) = Arc::clone(&sources.streams).try_acquire_owned() else {
        let problem = Problem::new(Code::Overloaded, format!("{STREAMS} streams of events are open already"));
        return reply::problem(problem.retry_after(RETRY), &headers);
    };
    let ends = sources.deployer.gateway.drain_begins();
    let events = stream::unfold(Watching::new(sources, caller, query, permit), next).take_until(ends);
    ([(NO_BUFFERING, "no")], reply::events(events)).into_response()
}

/// One stream.
struct Watching {
    sources: Sources,
    caller: Caller,
    query: EventQuery,
    _permit: OwnedSemaphorePermit,
    looks: Interval,
    /// Events that are made and wait for the connection, of one look at most.
    ready: VecDeque<Event>,
    /// Those for what is refused, which follow the first overview.
    refused: VecDeque<Event>,
    /// Digests of the lines of the overview as they were sent: the lines would be held for slow readers.
    sent: HashMap<DeploymentName, u64>,
    hasher: RandomState,
    /// The head of the overview as it was sent.
    head: String,
    /// The first call that was not sent; none before the first look.
    call: Option<u64>,
    /// The first change that was not sent.
    change: u64,
    log: Option<LogLines>,
}

async fn next(mut watching: Watching) -> Option<(Result<Event, Infallible>, Watching)> {
    loop {
        if let Some(event) = watching.ready.pop_front() {
            return Some((Ok(event), watching));
        }
        let Watching { looks, log, .. } = &mut watching;
        let log = async {
            match log {
                Some(log) => log.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = looks.tick() => watching.look().await,
            lines = log => watching.ready.push_back(event("log", &lines)),
        }
    }
}

fn event(name: &str, value: &Value) -> Event {
    Event::default().event(name).data(value.to_string())
}

impl Watching {
    fn new(sources: Sources, caller: Caller, mut query: EventQuery, permit: OwnedSemaphorePermit) -> Self {
        let mut looks = interval(INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut refused = VecDeque::new();
        let mut refuse = |what: &str, problem: &Problem| {
            let (code, message) = (problem.code().as_str(), problem.message());
            refused.push_back(event("refused", &json!({ "what": what, "code": code, "message": message })));
        };
        // A refused part does not end the others: the page shows them all.
        let book_of = |name: &str| {
            caller.check(Need::ReadOf(name))?;
            sources.deployer.log_of(name).ok_or_else(|| deployment_not_found(name))
        };
        let log = query.log.as_deref();
        let log = log.and_then(|name| book_of(name).inspect_err(|problem| refuse("log", problem)).ok());
        let of_one = query.calls.as_ref().and_then(Option::as_deref);
        if let Some(Err(problem)) = of_one.map(book_of) {
            refuse("calls", &problem);
            query.calls = None;
        }
        let change = sources.deployer.changes.end();
        Self {
            sources,
            caller,
            query,
            _permit: permit,
            looks,
            ready: VecDeque::new(),
            refused,
            sent: HashMap::new(),
            hasher: RandomState::new(),
            head: String::new(),
            call: None,
            change,
            log: log.map(LogLines::new),
        }
    }

    /// Makes the events of what is new.
    async fn look(&mut self) {
        if self.query.overview {
            let overview = self.sources.overviews.current().await;
            self.add_overview(&overview);
        }
        self.ready.append(&mut self.refused);
        self.add_calls();
        self.add_changes();
    }

    /// The lines of the overview that are not as they were sent, and the names that are gone.
    fn add_overview(&mut self, overview: &Overview) {
        let (mut visible, mut lines) = (HashMap::new(), Vec::new());
        for (name, line) in overview::visible(overview, &self.caller) {
            let digest = self.hasher.hash_one(line);
            if self.sent.get(name) != Some(&digest) {
                lines.push(&**line);
            }
            visible.insert(name.clone(), digest);
        }
        let gone: Vec<&DeploymentName> = self.sent.keys().filter(|name| !visible.contains_key(*name)).collect();
        let head = overview::head(overview, &self.caller);
        if lines.is_empty() && gone.is_empty() && head == self.head {
            return;
        }
        let gone = serde_json::to_string(&gone).unwrap_or_default();
        let open = head.strip_suffix('}').unwrap_or(&head);
        let is_whole = self.head.is_empty();
        let data = format!("{open},\"whole\":{is_whole},\"gone\":{gone},\"deployments\":[{}]}}", lines.join(","));
        (self.sent, self.head) = (visible, head);
        self.ready.push_back(Event::default().event("overview").data(data));
    }

    fn add_calls(&mut self) {
        let Some(of) = &self.query.calls else { return };
        let recent = &self.sources.recent;
        let end = recent.end();
        let wanted =
            Wanted { deployment: of.as_deref(), kind: self.query.kind, from: self.call.unwrap_or(0), limit: CALLS };
        let found = recent.list(wanted, |name| recent_calls::may_see(&self.caller, name));
        let is_first = self.call.is_none();
        // A call may have got its number while others were looked through: those from `end` on are looked for again.
        let new: Vec<Value> = found
            .iter()
            .filter(|(number, _)| *number < end)
            .map(|(number, call)| recent_calls::numbered(*number, call, recent.slow()))
            .collect();
        self.call = Some(end);
        if is_first || !new.is_empty() {
            self.ready.push_back(event("calls", &json!({ "whole": is_first, "calls": new })));
        }
    }

    fn add_changes(&mut self) {
        let (changes, end) = self.sources.deployer.changes.since(self.change);
        self.change = end;
        for change in changes {
            if change.deployment.as_deref().is_none_or(|name| self.caller.may(Need::ReadOf(name))) {
                let outcome = if change.is_made { "ok" } else { "failed" };
                let (kind, deployment) = (change.kind.as_str(), change.deployment);
                let value = json!({ "kind": kind, "deployment": deployment, "outcome": outcome });
                self.ready.push_back(event("change", &value));
            }
        }
    }
}
