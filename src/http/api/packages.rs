//! Handlers of uploaded packages: one is kept until it is deployed, or only compared with what serves.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use http::StatusCode;
use http::header::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::describe::difference;
use crate::gateway::compare::Comparison;
use crate::gateway::deployer::Deployer;
use crate::gateway::packages::{Existing, Package};
use crate::http::api::caller::{Caller, Need};
use crate::http::api::failures::from_deploy;
use crate::http::api::following::{Success, Told, follow, refusal};
use crate::http::api::upload::{self, UploadSlots};
use crate::http::api::variables::{Variable, variables};
use crate::http::problem::{Code, Problem};
use crate::registry::record::{Origin, Variables};

/// The state of the handlers of uploads.
#[derive(Clone)]
struct Uploads {
    deployer: Arc<Deployer>,
    slots: UploadSlots,
    max_upload: u64,
}

/// Whether a path is one for uploads, whose bodies may be longer than others and are streamed.
#[must_use]
pub fn takes_upload(path: &str) -> bool {
    matches!(path, "/api/package/create" | "/api/package/compare")
}

/// The routes of uploads. A package has at most `max_upload` bytes.
pub fn routes(deployer: Arc<Deployer>, max_upload: u64) -> Router {
    let uploads = Uploads { deployer, slots: UploadSlots::default(), max_upload };
    Router::new()
        .route("/api/package/create", post(create))
        .route("/api/package/compare", post(compare))
        .with_state(uploads)
}

/// The query of `POST /api/package/create`.
#[derive(Debug, Deserialize)]
struct CreateQuery {
    /// Whether the package may be a new release of an existing deployment.
    #[serde(default)]
    replace: bool,
}

impl Uploads {
    /// Receives a package, written to disk as it arrives, and the variables that came with it.
    async fn receive(
        &self,
        headers: &HeaderMap,
        body: Body,
        caller: &Caller,
    ) -> Result<(Package, Option<Variables>), Problem> {
        let slot = self.slots.take()?;
        let staging = self.deployer.make_staging().await.map_err(|error| from_deploy(&error))?;
        let upload = upload::receive(headers, body, staging.path(), self.max_upload).await?;
        caller.check(Need::ChangeOf(upload.id.as_str()))?;
        let read = |env: Vec<u8>| {
            let sent: Vec<Variable> = serde_json::from_slice(&env)
                .map_err(|error| Problem::new(Code::InvalidJson, format!("part \"env\": {error}")))?;
            variables(sent)
        };
        let env = upload.env.map(read).transpose()?;
        let package = Package {
            name: upload.id,
            archive: upload.archive,
            staging,
            origin: Origin::Package,
            jsons: upload.jsons,
            // An empty list means that the client found no dependencies; the gateway looks for them itself.
            runners: upload.runners.filter(|runners| !runners.is_empty()),
            slot,
        };
        Ok((package, env))
    }
}

/// Stores a package.
async fn create(
    State(uploads): State<Uploads>,
    query: Result<Query<CreateQuery>, QueryRejection>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let stored = async {
        let Query(CreateQuery { replace }) =
            query.map_err(|_| Problem::new(Code::BadRequest, "replace is true or false"))?;
        let (package, _) = uploads.receive(&headers, body, &caller).await?;
        let name = package.name.clone();
        let existing = if replace { Existing::Replace } else { Existing::Keep };
        uploads.deployer.add_package(package, existing).await.map_err(|error| from_deploy(&error))?;
        Ok(name)
    };
    match stored.await {
        Ok(name) => (StatusCode::CREATED, Json(json!({ "id": name.as_str() }))).into_response(),
        Err(problem) => refusal(problem, &headers),
    }
}

/// Loads a package as a release of the deployment `id`, and says what it would change for callers. Nothing of it stays.
async fn compare(
    State(uploads): State<Uploads>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let begun = async {
        let (package, env) = uploads.receive(&headers, body, &caller).await?;
        let comparing = uploads.deployer.compare(package, env, caller.may(Need::Admin));
        comparing.map_err(|error| from_deploy(&error))
    };
    let success = Success { event: "compared", body: compared };
    follow(&uploads.deployer, begun.await, &headers, success).await
}

/// `{"suffix":"math","release":2,"breaks":true,"changes":[{"function":"add","effect":"breaks","message":"is gone"}]}`;
/// without `release` for a deployment of the configuration.
fn compared(comparison: &Comparison, _: Told<'_>) -> Value {
    let Comparison { name, release, changes } = comparison;
    let mut compared = json!({ "suffix": name.as_str() });
    if let Some(release) = release {
        compared["release"] = (*release).into();
    }
    compared["breaks"] = difference::breaks(changes).into();
    compared["changes"] = json!(changes);
    compared
}
