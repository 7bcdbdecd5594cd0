//! Recordings of plugins' hook calls: started, stopped, shown, downloaded as cases of `metagate plugin test`, and run
//! again. They hold what callers send, so all of it needs `admin`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::gateway::deployer::Deployer;
use crate::gateway::plugin_detail::RecordingState;
use crate::http::api::{json_body, reply};
use crate::http::problem::{Code, Problem};
use crate::plugin::Plugin;
use crate::plugin::cases::{ReplayError, Replayed};
use crate::plugin::live_recording::{Bounds, Recorded};

/// The bounds of a recording, by default and at most.
const CASES: (usize, usize) = (50, 1_000);
const BYTES: (usize, usize) = (1 << 20, 4 << 20);
const SECONDS: (u64, u64) = (60, 3_600);

/// How long a replay begins further cases.
const REPLAY_TIME: Duration = Duration::from_secs(10);
/// `Retry-After` while another replay runs.
const REPLAY_RETRY: Duration = Duration::from_secs(1);

/// What the handlers use.
#[derive(Clone)]
struct Recordings {
    deployer: Arc<Deployer>,
    /// A replay compiles and runs a plugin: one at a time.
    replays: Arc<Semaphore>,
}

/// The bounds of a new recording.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wanted {
    #[serde(deserialize_with = "json_body::whole")]
    cases: Option<usize>,
    #[serde(deserialize_with = "json_body::whole")]
    bytes: Option<usize>,
    #[serde(deserialize_with = "json_body::whole")]
    seconds: Option<u64>,
}

/// The case to run again; without a number all of them, in order.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Again {
    #[serde(deserialize_with = "json_body::whole")]
    case: Option<usize>,
}

/// The routes.
pub fn routes(deployer: Arc<Deployer>) -> Router {
    let recordings = Recordings { deployer, replays: Arc::new(Semaphore::new(1)) };
    Router::new()
        .route("/api/plugins/{name}/recording", get(show).post(start).delete(discard))
        .route("/api/plugins/{name}/recording/stop", post(stop))
        .route("/api/plugins/{name}/recording/cases", get(download))
        .route("/api/plugins/{name}/recording/replay", post(replay))
        .with_state(recordings)
}

impl Recordings {
    fn plugin(&self, name: &str) -> Result<Arc<Plugin>, Problem> {
        let missing = || Problem::new(Code::NotFound, format!("no plugin {name:?} is in service"));
        self.deployer.gateway.plugin(name).ok_or_else(missing)
    }
}

fn answered(answer: Result<Response, Problem>, headers: &HeaderMap) -> Response {
    answer.unwrap_or_else(|problem| reply::problem(problem, headers))
}

fn looked_at<T>(plugin: &Plugin, look: impl FnOnce(&Recorded) -> T) -> Result<T, Problem> {
    let message = || format!("plugin {:?} has no recording: POST to this plugin's recording starts one", plugin.name());
    plugin.live_recording().look(look).ok_or_else(|| Problem::new(Code::NotFound, message()))
}

fn within<T: PartialOrd + std::fmt::Display + Copy>(
    name: &str,
    given: Option<T>,
    (usual, most): (T, T),
    least: T,
) -> Result<T, Problem> {
    let value = given.unwrap_or(usual);
    if value < least || value > most {
        let message = format!("{name:?} is from {least} to {most}, not {value}");
        return Err(Problem::new(Code::BadRequest, message));
    }
    Ok(value)
}

async fn start(
    State(recordings): State<Recordings>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let started = async {
        let wanted = if body.is_empty() { Wanted::default() } else { json_body::read(body).await? };
        let bounds = Bounds {
            cases: within("cases", wanted.cases, CASES, 1)?,
            bytes: within("bytes", wanted.bytes, BYTES, 1)?,
            time: Duration::from_secs(within("seconds", wanted.seconds, SECONDS, 1)?),
        };
        let plugin = recordings.plugin(&name)?;
        plugin.live_recording().start(bounds);
        tracing::info!(plugin = %name, ?bounds, "recording hook calls");
        Ok(Json(looked_at(&plugin, RecordingState::of)?).into_response())
    };
    answered(started.await, &headers)
}

async fn stop(State(recordings): State<Recordings>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    let stopped = recordings.plugin(&name).and_then(|plugin| {
        plugin.live_recording().stop();
        Ok(Json(looked_at(&plugin, RecordingState::of)?).into_response())
    });
    answered(stopped, &headers)
}

async fn discard(State(recordings): State<Recordings>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    let discarded = recordings.plugin(&name).map(|plugin| {
        let had = plugin.live_recording().discard();
        Json(json!({ "discarded": had })).into_response()
    });
    answered(discarded, &headers)
}

async fn show(State(recordings): State<Recordings>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    let shown = recordings.plugin(&name).map(|plugin| {
        let shown = plugin.live_recording().look(|recorded| {
            let cases = recorded.cases.iter().enumerate().map(|(number, case)| {
                json!({
                    "case": number, "name": case.name, "hook": case.hook, "verdict": case.verdict,
                    "bytes": case.line.len(),
                })
            });
            json!({ "state": RecordingState::of(recorded), "cases": cases.collect::<Vec<_>>() })
        });
        reply::json(&shown.unwrap_or_else(|| json!({ "state": null, "cases": [] })))
    });
    answered(shown, &headers)
}

/// The file that `metagate plugin test` reads: a case on each line.
async fn download(State(recordings): State<Recordings>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    let file = recordings.plugin(&name).and_then(|plugin| {
        let lines = looked_at(&plugin, |recorded| {
            recorded.cases.iter().flat_map(|case| [case.line.as_str(), "\n"]).collect::<String>()
        })?;
        let named = [
            (CONTENT_TYPE, "application/x-ndjson".to_owned()),
            (CONTENT_DISPOSITION, format!("attachment; filename=\"{}.jsonl\"", plugin.name())),
            (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        ];
        Ok((named, lines).into_response())
    });
    answered(file, &headers)
}

async fn replay(
    State(recordings): State<Recordings>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let replayed = async {
        let again = if body.is_empty() { Again::default() } else { json_body::read(body).await? };
        let plugin = recordings.plugin(&name)?;
        let lines = looked_at(&plugin, |recorded| lines_of(recorded, again.case))??;
        let busy = || Problem::new(Code::Overloaded, "another replay runs").retry_after(REPLAY_RETRY);
        let place = Arc::clone(&recordings.replays).try_acquire_owned().map_err(|_| busy())?;
        let count = lines.len();
        let deployer = Arc::clone(&recordings.deployer);
        let running = tokio::task::spawn_blocking(move || {
            // Held to the end of the work, also if the client leaves.
            let _place = place;
            deployer.gateway.replay(&plugin, &lines, REPLAY_TIME)
        });
        let results = running.await.map_err(|_| Problem::new(Code::Internal, "the replay failed"))?;
        let results = results.map_err(|error| refused(&error))?;
        let complete = results.len() == count;
        let shown: Vec<Value> = results.iter().map(shown).collect();
        Ok(reply::json(&json!({ "results": shown, "complete": complete })))
    };
    answered(replayed.await, &headers)
}

fn lines_of(recorded: &Recorded, number: Option<usize>) -> Result<Vec<String>, Problem> {
    let line = |number: usize| recorded.cases.get(number).map(|case| case.line.clone());
    match number {
        None => Ok(recorded.cases.iter().map(|case| case.line.clone()).collect()),
        Some(number) => match line(number) {
            Some(line) => Ok(vec![line]),
            None => Err(Problem::new(Code::NotFound, format!("the recording has no case {number}"))),
        },
    }
}

fn refused(error: &ReplayError) -> Problem {
    let code = match error {
        ReplayError::Apart | ReplayError::Changed => Code::BadRequest,
        ReplayError::Unusable(_) => Code::BadPlugin,
    };
    Problem::new(code, error.to_string())
}

fn shown(replayed: &Replayed) -> Value {
    let Replayed { name, hook, report } = replayed;
    let differences =
        report.differences.iter().map(|one| json!({ "what": one.what, "expected": one.expected, "got": one.got }));
    json!({
        "name": name, "hook": hook, "ok": report.passes(), "differences": differences.collect::<Vec<_>>(),
        "notes": report.missed, "log": report.log, "stack": report.stack,
        "milliseconds": (report.time.as_secs_f64() * 1e4).round() / 10.0,
    })
}
