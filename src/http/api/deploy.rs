//! Handlers that change deployments: MetaCall's deploy API, and the gateway's own releases and rollback. What each
//! does is left to `gateway`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use bytes::Bytes;
use http::StatusCode;
use http::header::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::Wait;
use crate::deployment::{DeploymentName, MetaCallJson};
use crate::gateway::VERSION;
use crate::gateway::compare::CompatCheck;
use crate::gateway::create::{ChangeOptions, Deployed};
use crate::gateway::deploy_error::DeployError;
use crate::gateway::deployer::Deployer;
use crate::http::api::caller::{Caller, Need};
use crate::http::api::failures::from_deploy;
use crate::http::api::following::{Success, Told, follow, refusal};
use crate::http::api::variables::{Variable, variables};
use crate::http::api::{json_body, reply};
use crate::http::problem::{Code, Problem};
use crate::invocation::trace_context::TraceContext;

/// How the success of a deploy is told.
const DEPLOYED: Success<Deployed> = Success { event: "deployed", body: deployed };

/// The routes of the deploy API, without those of uploads.
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
    /// Whether changes that break callers are looked for, and such a release refused.
    #[serde(default)]
    check_compat: bool,
    /// With `check_compat`: whether such a release is put in service all the same, and the log names the changes.
    #[serde(default)]
    force: bool,
    /// Which gateways of a cluster it is to serve on before there is an answer: `all`, `quorum` or `one`.
    #[serde(default)]
    wait: Option<Wait>,
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
    #[serde(default, deserialize_with = "json_body::whole")]
    release: Option<u64>,
    #[serde(default)]
    wait: Option<Wait>,
}

#[derive(Debug, Serialize)]
struct Id<'a> {
    id: &'a str,
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
        let read = json_body::read_and(body, |Create { suffix, env, check_compat, force, wait }| {
            let check = match (check_compat, force) {
                (false, _) => CompatCheck::Off,
                (true, true) => CompatCheck::Note,
                (true, false) => CompatCheck::Refuse,
            };
            Ok((suffix, variables(env)?, ChangeOptions { check, wait }))
        });
        let (suffix, env, options) = read.await?;
        caller.check(Need::ChangeOf(&suffix))?;
        let begun = deployer.create(&suffix, env, options, TraceContext::of_headers(&headers)).await;
        begun.map_err(|error| from_deploy(&error))
    };
    follow(&deployer, begun.await, &headers, DEPLOYED).await
}

/// Serves an earlier release again.
async fn rollback(
    State(deployer): State<Arc<Deployer>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let begun = async {
        let Rollback { release, wait } =
            if body.is_empty() { Rollback::default() } else { json_body::read(body).await? };
        let begun = deployer.rollback(&name, release, wait, TraceContext::of_headers(&headers)).await;
        begun.map_err(|error| from_deploy(&error))
    };
    follow(&deployer, begun.await, &headers, DEPLOYED).await
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

/// `{"prefix":"local","suffix":"math","version":"v1"}`; events have `release` too.
fn deployed(served: &Deployed, told: Told<'_>) -> Value {
    let mut deployed = json!({ "prefix": told.prefix, "suffix": served.name.as_str(), "version": VERSION });
    if told.is_event {
        deployed["release"] = served.release.into();
    }
    deployed
}

fn answer(result: Result<Value, Problem>, headers: &HeaderMap) -> Response {
    match result {
        Ok(value) => reply::json(&value),
        Err(problem) => refusal(problem, headers),
    }
}
