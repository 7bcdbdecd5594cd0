//! Deploying over HTTP: MetaCall's deploy API, and releases and rollback beside it. What each does is left to `gateway`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::StreamExt;
use http::StatusCode;
use http::header::{ACCEPT, HeaderMap, USER_AGENT};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::check_variable;
use crate::deployment::MetaCallJson;
use crate::gateway::VERSION;
use crate::gateway::create::{Deployed, Deploying};
use crate::gateway::deploy_error::DeployError;
use crate::gateway::deployer::Deployer;
use crate::gateway::packages::{Existing, Package};
use crate::http::admin::{answer_json, from_problem};
use crate::http::error::{Code, Problem, from_deploy};
use crate::http::logs;
use crate::http::upload::{self, UploadSlots};
use crate::http::{json_body, request_id};
use crate::registry::record::{Origin, Variables};

/// Variables that a deploy may set, and bytes that they may have in all.
const VARIABLES: usize = 256;
const VARIABLE_BYTES: usize = 64 * 1024;
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What the routes work with.
#[derive(Clone)]
struct Deploys {
    deployer: Arc<Deployer>,
    slots: UploadSlots,
    max_upload: u64,
}

/// The routes that change deployments, and those that show what may be deployed. A package has at most `max_upload` bytes.
pub fn routes(deployer: Arc<Deployer>, max_upload: u64) -> Router {
    let deploys = Deploys { deployer, slots: UploadSlots::default(), max_upload };
    Router::new()
        .route("/api/package/create", post(create_package))
        .route("/api/repository/branchlist", post(list_branches))
        .route("/api/repository/filelist", post(list_files))
        .route("/api/repository/add", post(add_repository))
        .route("/api/deploy/create", post(create))
        .route("/api/deploy/delete", post(delete))
        .route("/api/releases/{name}", get(releases))
        .route("/api/rollback/{name}", post(rollback))
        .with_state(deploys)
}

/// The query of `POST /api/package/create`.
#[derive(Debug, Deserialize)]
struct PackageQuery {
    /// Whether a deployment of the name may be there.
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

/// The body of `POST /api/deploy/create`; `resourceType`, `release`, `plan` and `version` do not matter here.
#[derive(Debug, Deserialize)]
struct Create {
    suffix: String,
    #[serde(default)]
    env: Vec<Variable>,
}

#[derive(Debug, Deserialize)]
struct Variable {
    name: String,
    /// MetaCall's client leaves it out where nothing was typed.
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

/// Takes a package in: the archive goes to disk as it comes.
async fn create_package(
    State(deploys): State<Deploys>,
    query: Result<Query<PackageQuery>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
    body: axum::body::Body,
) -> Response {
    let taken = async {
        let Query(PackageQuery { replace }) =
            query.map_err(|_| Problem::new(Code::BadRequest, "replace is true or false"))?;
        let slot = deploys.slots.take()?;
        let deployer = &deploys.deployer;
        let staging = deployer.make_staging().await.map_err(|error| from_deploy(&error))?;
        let upload = upload::receive(&headers, body, staging.path(), deploys.max_upload).await?;
        let package = Package {
            name: upload.id.clone(),
            archive: upload.archive,
            staging,
            origin: Origin::Package,
            jsons: upload.jsons,
            // Clients that have found none say so with an empty list; there may be some below.
            runners: upload.runners.filter(|runners| !runners.is_empty()),
            slot,
        };
        let existing = if replace { Existing::Replace } else { Existing::Keep };
        deployer.add_package(package, existing).await.map_err(|error| from_deploy(&error))?;
        Ok(upload.id)
    };
    match taken.await {
        Ok(id) => (StatusCode::CREATED, Json(Id { id: id.as_str() })).into_response(),
        Err(problem) => refusal(problem, &headers),
    }
}

async fn list_branches(State(deploys): State<Deploys>, headers: HeaderMap, body: Bytes) -> Response {
    let listed = async {
        let Repository { url, .. } = json_body::read(&body)?;
        let branches = deploys.deployer.branches(&url).await.map_err(|error| from_deploy(&error))?;
        Ok(json!({ "branches": branches }))
    };
    answer(listed.await, &headers)
}

async fn list_files(State(deploys): State<Deploys>, headers: HeaderMap, body: Bytes) -> Response {
    let listed = async {
        let Repository { url, branch, .. } = json_body::read(&body)?;
        let branch = branch.ok_or_else(|| Problem::new(Code::BadRequest, "\"branch\" is missing"))?;
        let files = deploys.deployer.repository_files(&url, &branch).await.map_err(|error| from_deploy(&error))?;
        Ok(json!({ "files": files }))
    };
    answer(listed.await, &headers)
}

async fn add_repository(State(deploys): State<Deploys>, headers: HeaderMap, body: Bytes) -> Response {
    let added = async {
        let Repository { url, branch, jsons } = json_body::read(&body)?;
        let added = deploys.deployer.add_repository(&url, branch.as_deref(), jsons).await;
        added.map_err(|error| from_deploy(&error))
    };
    match added.await {
        Ok(name) => (StatusCode::CREATED, Json(Id { id: name.as_str() })).into_response(),
        Err(problem) => refusal(problem, &headers),
    }
}

/// Deploys what was taken in; answers when it serves.
async fn create(State(deploys): State<Deploys>, headers: HeaderMap, body: Bytes) -> Response {
    let begun = || {
        let Create { suffix, env } = json_body::read(&body)?;
        let env = variables(env)?;
        deploys.deployer.create(&suffix, env).map_err(|error| from_deploy(&error))
    };
    follow(&deploys.deployer, begun(), &headers).await
}

/// Makes an earlier release the one that serves.
async fn rollback(
    State(deploys): State<Deploys>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let begun = || {
        let Rollback { release } = if body.is_empty() { Rollback::default() } else { json_body::read(&body)? };
        deploys.deployer.rollback(&name, release).map_err(|error| from_deploy(&error))
    };
    follow(&deploys.deployer, begun(), &headers).await
}

async fn delete(State(deploys): State<Deploys>, headers: HeaderMap, body: Bytes) -> Response {
    let deleted = async {
        let Delete { suffix, prefix, version } = json_body::read(&body)?;
        let here = deploys.deployer.gateway.prefix.as_str();
        if prefix.is_some_and(|prefix| prefix != here) || version.is_some_and(|version| version != VERSION) {
            return Err(from_deploy(&DeployError::NotFound(suffix)));
        }
        deploys.deployer.delete(&suffix).await.map_err(|error| from_deploy(&error))?;
        Ok(Value::from("Deploy Delete Succeed"))
    };
    answer(deleted.await, &headers)
}

async fn releases(State(deploys): State<Deploys>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    match deploys.deployer.releases(&name) {
        Ok(releases) => Json(releases).into_response(),
        Err(error) => refusal(from_deploy(&error), &headers),
    }
}

/// Waits for what comes of a change; for who asked for events, tells its steps meanwhile.
async fn follow(deployer: &Arc<Deployer>, begun: Result<Deploying, Problem>, headers: &HeaderMap) -> Response {
    let Deploying { logs: book, first_line, result: done } = match begun {
        Ok(deploying) => deploying,
        Err(problem) => return refusal(problem, headers),
    };
    let prefix = deployer.gateway.prefix.as_str().to_owned();
    if !accepts_events(headers) {
        return match done.await.unwrap_or(Err(DeployError::Internal)) {
            Ok(served) => Json(told(&prefix, &served, false)).into_response(),
            Err(error) => refusal(from_deploy(&error), headers),
        };
    }
    let id = headers.get(request_id::HEADER).map_or("", request_id::text).to_owned();
    let (tell, told_at_end) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let ended = done.await.unwrap_or(Err(DeployError::Internal));
        let event = match ended {
            Ok(served) => Event::default().event("deployed").data(told(&prefix, &served, true).to_string()),
            Err(error) => Event::default().event("failed").data(failed(&from_deploy(&error), &id)),
        };
        let _gone = tell.send(event);
    });
    let lines = logs::lines(book, first_line, told_at_end);
    let events = lines.map(|line| {
        Ok::<_, Infallible>(match line {
            logs::Line::Text(text) => Event::default().event("log").data(text),
            logs::Line::End(event) => event,
        })
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

fn told(prefix: &str, served: &Deployed, with_release: bool) -> Value {
    let mut told = json!({ "prefix": prefix, "suffix": served.name.as_str(), "version": VERSION });
    if with_release {
        told["release"] = served.release.into();
    }
    told
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

/// Checks what a deploy puts into its workers' environment.
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
        Ok(value) => answer_json(&value),
        Err(problem) => refusal(problem, headers),
    }
}

/// MetaCall's command line shows what a text says, and of an object only that it is one.
fn refusal(problem: Problem, headers: &HeaderMap) -> Response {
    let shows_only_text = headers.get(USER_AGENT).is_some_and(|agent| agent.as_bytes().starts_with(b"axios/0."));
    from_problem(if shows_only_text { problem.in_words() } else { problem }, headers)
}
