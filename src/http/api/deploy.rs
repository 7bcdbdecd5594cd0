//! Handlers that change deployments: MetaCall's deploy API, and the gateway's own releases and rollback. What each
//! does is left to `gateway`.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Extension;
use axum::Json;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::StreamExt;
use http::StatusCode;
use http::header::{ACCEPT, HeaderMap, USER_AGENT};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::check_variable;
use crate::deployment::{DeploymentName, MetaCallJson};
use crate::gateway::VERSION;
use crate::gateway::create::{Deployed, Deploying};
use crate::gateway::deploy_error::DeployError;
use crate::gateway::deployer::Deployer;
use crate::gateway::packages::{Existing, Package};
use crate::http::api::caller::{Caller, Need};
use crate::http::api::failures::from_deploy;
use crate::http::api::upload::{self, UploadSlots};
use crate::http::api::{json_body, logs, reply};
use crate::http::problem::{Code, Problem};
use crate::http::request_id;
use crate::invocation::trace_context::TraceContext;
use crate::registry::record::{Origin, Variables};

/// Limits of the variables that a deploy sets: their number, and the bytes of all of them.
const VARIABLES: usize = 256;
const VARIABLE_BYTES: usize = 64 * 1024;

/// The address for uploads of packages, whose bodies may be longer than others and are streamed.
pub const UPLOAD_PATH: &str = "/api/package/create";

/// The state of the handler of uploads.
#[derive(Clone)]
struct Uploads {
    deployer: Arc<Deployer>,
    slots: UploadSlots,
    max_upload: u64,
}

/// The route of uploads. A package has at most `max_upload` bytes.
pub fn upload(deployer: Arc<Deployer>, max_upload: u64) -> Router {
    let uploads = Uploads { deployer, slots: UploadSlots::default(), max_upload };
    Router::new().route(UPLOAD_PATH, post(create_package)).with_state(uploads)
}

/// The other routes of the deploy API.
pub fn routes(deployer: Arc<Deployer>) -> Router {
    Router::new()
        .route("/api/repository/branchlist", post(list_branches))
        .route("/api/repository/filelist", post(list_files))
        .route("/api/repository/add", post(add_repository))
        .route("/api/deploy/create", post(create))
        .route("/api/deploy/delete", post(delete))
        .route("/api/releases/{name}", get(releases))
        .route("/api/rollback/{name}", post(rollback))
        .with_state(deployer)
}

/// The query of `POST /api/package/create`.
#[derive(Debug, Deserialize)]
struct PackageQuery {
    /// Whether the package may be a new release of an existing deployment.
    #[serde(default)]
    replace: bool,
}

#[derive(Debug, Deserialize)]
struct Repository {
    url: String,
    #[serde(default)]
    branch: Option<String>,
    #[serde(default)]
    jsons: Vec<MetaCallJson>,
}

/// The body of `POST /api/deploy/create`. Its other fields in MetaCall's protocol, `resourceType`, `release`, `plan`
/// and `version`, are ignored.
#[derive(Debug, Deserialize)]
struct Create {
    suffix: String,
    #[serde(default)]
    env: Vec<Variable>,
}

#[derive(Debug, Deserialize)]
struct Variable {
    name: String,
    /// MetaCall's client leaves it out if the user typed nothing.
    #[serde(default)]
    value: String,
}

#[derive(Debug, Deserialize)]
struct Delete {
    suffix: String,
    #[serde(default)]
    prefix: Option<String>,
    #[serde(default)]
    version: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rollback {
    #[serde(default)]
    release: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Id<'a> {
    id: &'a str,
}

/// Stores a package, written to disk as it arrives.
async fn create_package(
    State(uploads): State<Uploads>,
    query: Result<Query<PackageQuery>, axum::extract::rejection::QueryRejection>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: axum::body::Body,
) -> Response {
    let stored = async {
        let Query(PackageQuery { replace }) =
            query.map_err(|_| Problem::new(Code::BadRequest, "replace is true or false"))?;
        let slot = uploads.slots.take()?;
        let deployer = &uploads.deployer;
        let staging = deployer.make_staging().await.map_err(|error| from_deploy(&error))?;
        let upload = upload::receive(&headers, body, staging.path(), uploads.max_upload).await?;
        caller.check(Need::ChangeOf(upload.id.as_str()))?;
        let package = Package {
            name: upload.id.clone(),
            archive: upload.archive,
            staging,
            origin: Origin::Package,
            jsons: upload.jsons,
            // An empty list means that the client found no dependencies; the gateway looks for them itself.
            runners: upload.runners.filter(|runners| !runners.is_empty()),
            slot,
        };
        let existing = if replace { Existing::Replace } else { Existing::Keep };
        deployer.add_package(package, existing).await.map_err(|error| from_deploy(&error))?;
        Ok(upload.id)
    };
    match stored.await {
        Ok(id) => (StatusCode::CREATED, Json(Id { id: id.as_str() })).into_response(),
        Err(problem) => refusal(problem, &headers),
    }
}

async fn list_branches(State(deployer): State<Arc<Deployer>>, headers: HeaderMap, body: Bytes) -> Response {
    let listed = async {
        let Repository { url, .. } = json_body::read(body).await?;
        let branches = deployer.branches(&url).await.map_err(|error| from_deploy(&error))?;
        Ok(json!({ "branches": branches }))
    };
    answer(listed.await, &headers)
}

async fn list_files(State(deployer): State<Arc<Deployer>>, headers: HeaderMap, body: Bytes) -> Response {
    let listed = async {
        let Repository { url, branch, .. } = json_body::read(body).await?;
        let branch = branch.ok_or_else(|| Problem::new(Code::BadRequest, "\"branch\" is missing"))?;
        let files = deployer.repository_files(&url, &branch).await.map_err(|error| from_deploy(&error))?;
        Ok(json!({ "files": files }))
    };
    answer(listed.await, &headers)
}

async fn add_repository(
    State(deployer): State<Arc<Deployer>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let added = async {
        let Repository { url, branch, jsons } = json_body::read(body).await?;
        let may_change = |name: &DeploymentName| caller.check(Need::ChangeOf(name.as_str())).is_ok();
        let added = deployer.add_repository(&url, branch.as_deref(), jsons, may_change).await;
        added.map_err(|error| from_deploy(&error))
    };
    match added.await {
        Ok(name) => (StatusCode::CREATED, Json(Id { id: name.as_str() })).into_response(),
        Err(problem) => refusal(problem, &headers),
    }
}

/// Deploys a stored package; answers when it serves.
async fn create(
    State(deployer): State<Arc<Deployer>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let begun = async {
        let read = json_body::read_and(body, |Create { suffix, env }| Ok((suffix, variables(env)?)));
        let (suffix, env) = read.await?;
        caller.check(Need::ChangeOf(&suffix))?;
        deployer.create(&suffix, env, TraceContext::of_headers(&headers)).map_err(|error| from_deploy(&error))
    };
    follow(&deployer, begun.await, &headers).await
}

/// Serves an earlier release again.
async fn rollback(
    State(deployer): State<Arc<Deployer>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let begun = async {
        let Rollback { release } = if body.is_empty() { Rollback::default() } else { json_body::read(body).await? };
        deployer.rollback(&name, release, TraceContext::of_headers(&headers)).map_err(|error| from_deploy(&error))
    };
    follow(&deployer, begun.await, &headers).await
}

async fn delete(
    State(deployer): State<Arc<Deployer>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let deleted = async {
        let Delete { suffix, prefix, version } = json_body::read(body).await?;
        caller.check(Need::ChangeOf(&suffix))?;
        let here = deployer.gateway.prefix.as_str();
        if prefix.is_some_and(|prefix| prefix != here) || version.is_some_and(|version| version != VERSION) {
            return Err(from_deploy(&DeployError::NotFound(suffix)));
        }
        deployer.delete(&suffix).await.map_err(|error| from_deploy(&error))?;
        Ok(Value::from("Deploy Delete Succeed"))
    };
    answer(deleted.await, &headers)
}

async fn releases(State(deployer): State<Arc<Deployer>>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    match deployer.releases(&name) {
        Ok(releases) => Json(releases).into_response(),
        Err(error) => refusal(from_deploy(&error), &headers),
    }
}

/// Waits for the end of a change. A client that accepts events gets the lines of the log meanwhile.
async fn follow(deployer: &Arc<Deployer>, begun: Result<Deploying, Problem>, headers: &HeaderMap) -> Response {
    let Deploying { logs: book, first_line, result: done } = match begun {
        Ok(deploying) => deploying,
        Err(problem) => return refusal(problem, headers),
    };
    let prefix = deployer.gateway.prefix.as_str().to_owned();
    let problem = |deployer: &Deployer, error: &DeployError| {
        from_deploy(error).map_message(|message| deployer.server_paths.strip(message))
    };
    if !accepts_events(headers) {
        return match done.await.unwrap_or(Err(DeployError::Internal)) {
            Ok(served) => Json(deployed(&prefix, &served, false)).into_response(),
            Err(error) => refusal(problem(deployer, &error), headers),
        };
    }
    let id = headers.get(request_id::HEADER).map_or("", request_id::text).to_owned();
    let (send_last, last_event) = tokio::sync::oneshot::channel();
    let (failed_on, logged_on) = (Arc::clone(deployer), Arc::clone(deployer));
    tokio::spawn(async move {
        let ended = done.await.unwrap_or(Err(DeployError::Internal));
        let event = match ended {
            Ok(served) => Event::default().event("deployed").data(deployed(&prefix, &served, true).to_string()),
            Err(error) => Event::default().event("failed").data(failed(&problem(&failed_on, &error), &id)),
        };
        let _client_left = send_last.send(event);
    });
    let lines = logs::lines(book, first_line, last_event);
    let events = lines.map(move |line| {
        Ok::<_, Infallible>(match line {
            logs::Line::Text(text) => Event::default().event("log").data(logged_on.server_paths.strip(&text)),
            logs::Line::End(event) => event,
        })
    });
    reply::events(events)
}

/// `{"prefix":"local","suffix":"math","version":"v1"}`; events have `release` too.
fn deployed(prefix: &str, served: &Deployed, with_release: bool) -> Value {
    let mut deployed = json!({ "prefix": prefix, "suffix": served.name.as_str(), "version": VERSION });
    if with_release {
        deployed["release"] = served.release.into();
    }
    deployed
}

/// `{"status":422,"error":{…}}`, on one line.
fn failed(problem: &Problem, request_id: &str) -> String {
    let body: Value = serde_json::from_slice(&problem.body(request_id)).unwrap_or_default();
    json!({ "status": problem.status().as_u16(), "error": body["error"] }).to_string()
}

fn accepts_events(headers: &HeaderMap) -> bool {
    let accepts = |value: &http::HeaderValue| value.to_str().is_ok_and(|text| text.contains("text/event-stream"));
    headers.get_all(ACCEPT).iter().any(accepts)
}

/// Checks the variables that a deploy sets for its workers.
fn variables(env: Vec<Variable>) -> Result<Variables, Problem> {
    let bad = |message: String| Problem::new(Code::BadRequest, message);
    let bytes: usize = env.iter().map(|variable| variable.name.len() + variable.value.len()).sum();
    if env.len() > VARIABLES || bytes > VARIABLE_BYTES {
        return Err(bad(format!("more than {VARIABLES} variables or {VARIABLE_BYTES} bytes of them")));
    }
    for Variable { name, value } in &env {
        check_variable(name).map_err(bad)?;
        if value.contains('\0') {
            return Err(bad(format!("the value of {name:?} has a NUL byte")));
        }
    }
    Ok(env.into_iter().map(|variable| (variable.name, variable.value)).collect())
}

fn answer(result: Result<Value, Problem>, headers: &HeaderMap) -> Response {
    match result {
        Ok(value) => reply::json(&value),
        Err(problem) => refusal(problem, headers),
    }
}

/// Old versions of MetaCall's command line (axios 0.x) print a text, but show an object as `[object Object]`.
fn refusal(problem: Problem, headers: &HeaderMap) -> Response {
    let shows_only_text = headers.get(USER_AGENT).is_some_and(|agent| agent.as_bytes().starts_with(b"axios/0."));
    reply::problem(if shows_only_text { problem.as_text() } else { problem }, headers)
}
