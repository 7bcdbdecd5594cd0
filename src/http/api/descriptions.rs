//! `GET /<prefix>/<name>/<version>/openapi.json` and `GET /api/openapi.json`: what functions and the admin API take and
//! answer, for those who may know; and `signatures.json`, which `metagate client` asks for. Next to each `openapi.json`
//! is a page for people, `docs`, which holds no data itself: it asks for the document as any other client does.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::config::Describe;
use crate::deployment::{Exports, Takes};
use crate::describe::guards::Guard;
use crate::describe::openapi::{self, RouteAddress, Subject};
use crate::describe::{Abilities, gateway, signatures};
use crate::gateway::VERSION;
use crate::gateway::deployer::Deployer;
use crate::http::api::access::Access;
use crate::http::api::caller::Need;
use crate::http::api::reply;
use crate::http::call::lookup;
use crate::http::dashboard;
use crate::http::front::Front;
use crate::http::problem::{Code, Problem};
use crate::plugin::Plugin;
use crate::plugin::deployment_chain::DeploymentChain;
use crate::registry::Deployment;
use crate::worker::failure::CallError;
use crate::worker::pool::Pool;

/// Documents that are kept. Others are made again when they are asked for.
const KEPT: usize = 64;
/// `Retry-After` while a deployment has not loaded.
const RETRY: Duration = Duration::from_secs(1);

/// The documents of a gateway.
#[derive(Clone)]
pub struct Descriptions {
    deployer: Arc<Deployer>,
    access: Access,
    front: Arc<Front>,
    kept: Arc<Mutex<HashMap<(Form, String), Kept>>>,
    /// Documents are made one at a time: many who ask for one get the same.
    making: Arc<Semaphore>,
}

/// A form of the description of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Form {
    OpenApi,
    Signatures,
}

/// A document, and what it was made of.
struct Kept {
    exports: Weak<Exports>,
    release: Option<u64>,
    abilities: Abilities,
    routes: Vec<RouteAddress>,
    chain: Weak<DeploymentChain>,
    document: Document,
}

/// A document as it is sent.
#[derive(Clone)]
struct Document {
    text: Bytes,
    tag: String,
}

impl Document {
    fn new(text: String) -> Self {
        Self { tag: dashboard::tag(&text), text: text.into() }
    }

    fn answer(self, headers: &HeaderMap) -> Response {
        let is_known = dashboard::is_known(headers, &self.tag);
        let always = [(CACHE_CONTROL, "no-cache"), (ETAG, self.tag.as_str())];
        if is_known {
            return (StatusCode::NOT_MODIFIED, always).into_response();
        }
        (always, [(CONTENT_TYPE, "application/json")], self.text).into_response()
    }
}

impl Descriptions {
    /// The documents of a gateway, for those who may use its API and others if `front` says so.
    #[must_use]
    pub fn new(deployer: Arc<Deployer>, access: Access, front: Arc<Front>) -> Self {
        Self { deployer, access, front, kept: Arc::default(), making: Arc::new(Semaphore::new(1)) }
    }

    /// The routes of deployments.
    pub fn of_deployments(&self) -> Router {
        let at = |file: &str| format!("/{{prefix}}/{{name}}/{{version}}/{file}");
        Router::new()
            .route(&at("openapi.json"), get(openapi_of_deployment))
            .route(&at("signatures.json"), get(signatures_of_deployment))
            .route(&at("docs"), get(page_of_deployment))
            .with_state(self.clone())
            .route(&at("docs/{file}"), get(file_of_deployment))
    }

    /// The routes of the gateway's own document.
    pub fn of_api(&self) -> Router {
        Router::new()
            .route("/api/openapi.json", get(of_api))
            .with_state(self.clone())
            .route("/api/docs", get(|headers: HeaderMap| async move { page(&headers) }))
            .route("/api/docs/{file}", get(file_of_api))
    }

    async fn check(&self, head: &Parts, deployment: Option<&str>) -> Result<(), Problem> {
        match (self.front.describe(deployment), deployment) {
            (Describe::Public, _) => Ok(()),
            (Describe::Admin, Some(name)) => self.access.reader(head).await?.check(Need::ReadOf(name)),
            (Describe::Admin, None) => self.access.reader(head).await?.check(Need::Any),
        }
    }

    async fn document(&self, form: Form, deployment: Arc<Deployment>) -> Result<Document, Problem> {
        let Some((pool, exports)) = deployment.pool().and_then(|pool| Some((pool, pool.exports()?))) else {
            return Err(self.unknown(&deployment));
        };
        let name = deployment.name.as_str().to_owned();
        let abilities = self.abilities(&name, pool);
        let chain = deployment.chain.load_full();
        let routes = self.front.routes_to(&name);
        let release = deployment.stored().map(|stored| stored.number);
        let key = (form, name.clone());
        let known = || {
            let all = self.kept.lock();
            let is_this = |kept: &&Kept| {
                kept.exports.as_ptr() == Arc::as_ptr(&exports)
                    && (kept.release, kept.abilities) == (release, abilities)
                    && kept.routes == routes
                    && kept.chain.as_ptr() == Arc::as_ptr(&chain)
            };
            all.get(&key).filter(is_this).map(|kept| kept.document.clone())
        };
        if let Some(document) = known() {
            return Ok(document);
        }
        let _turn = self.making.acquire().await;
        // Somebody else may have asked for it meanwhile.
        if let Some(document) = known() {
            return Ok(document);
        }
        let base = format!("/{}/{name}/{}", self.deployer.gateway.prefix, VERSION);
        let made = tokio::task::spawn_blocking(move || {
            let guards = guards(&exports, &chain);
            let subject = Subject {
                name: &name,
                base: &base,
                release,
                exports: &exports,
                abilities,
                routes: &routes,
                guards: &guards,
            };
            let text = match form {
                Form::OpenApi => openapi::document(&subject),
                Form::Signatures => signatures::document(&subject),
            };
            let document = Document::new(text.ok()?);
            Some(Kept {
                exports: Arc::downgrade(&exports),
                release,
                abilities,
                routes,
                chain: Arc::downgrade(&chain),
                document,
            })
        });
        let failed = || Problem::new(Code::Internal, "the gateway failed while it wrote the document");
        let kept = made.await.ok().flatten().ok_or_else(failed)?;
        Ok(self.keep(key, kept))
    }

    fn abilities(&self, name: &str, pool: &Pool) -> Abilities {
        let calls = self.deployer.gateway.async_calls();
        let deferred = calls.is_some_and(|calls| calls.rules().of_deployment(name).enabled);
        Abilities { names: pool.wants_names(), files: pool.takes_files(), deferred }
    }

    fn keep(&self, key: (Form, String), kept: Kept) -> Document {
        let document = kept.document.clone();
        let mut all = self.kept.lock();
        // Those of deployments that are gone, or of releases before.
        all.retain(|_, kept| kept.exports.strong_count() > 0);
        if all.len() >= KEPT {
            all.clear();
        }
        all.insert(key, kept);
        document
    }

    /// Why the functions of a deployment that has not loaded are unknown: what calls of it would be told.
    fn unknown(&self, deployment: &Deployment) -> Problem {
        let (code, message) = match deployment.pool().and_then(|pool| pool.refusal_before_load()) {
            Some(error @ (CallError::NotLoaded(..) | CallError::CrashLoop(_))) => {
                let is_loop = matches!(error, CallError::CrashLoop(_));
                let failure = self.deployer.gateway.failure_of(error, deployment, "", Takes::Arguments);
                (if is_loop { Code::CrashLoop } else { Code::LoadFailed }, failure.message)
            }
            _ => {
                let message = format!("deployment {:?} has not loaded, so its functions are unknown", deployment.name);
                (Code::Starting, message)
            }
        };
        Problem::new(code, message).with_status(Code::Starting.status()).retry_after(RETRY)
    }
}

/// What the plugins of each function declare.
fn guards(exports: &Exports, chain: &DeploymentChain) -> HashMap<Box<str>, Vec<Guard>> {
    let of_plugin = |plugin: &Arc<Plugin>| Guard { plugin: plugin.name().into(), declaration: plugin.declaration() };
    let of_function = |function: &str| Some(chain.of(function, || false)?.plugins().iter().map(of_plugin).collect());
    let all = exports.functions.keys();
    all.filter_map(|function| Some((function.clone(), of_function(function)?))).collect()
}

type Address = Path<(String, String, String)>;

async fn openapi_of_deployment(descriptions: State<Descriptions>, address: Address, request: Request) -> Response {
    of_deployment(&descriptions, Form::OpenApi, address, request).await
}

async fn signatures_of_deployment(descriptions: State<Descriptions>, address: Address, request: Request) -> Response {
    of_deployment(&descriptions, Form::Signatures, address, request).await
}

async fn of_deployment(
    descriptions: &Descriptions,
    form: Form,
    Path((prefix, name, version)): Address,
    request: Request,
) -> Response {
    let (head, _) = request.into_parts();
    let found = async {
        descriptions.check(&head, Some(&name)).await?;
        let deployment = lookup::deployment_at(&descriptions.deployer.gateway, &prefix, &name, &version)?;
        descriptions.document(form, deployment).await
    };
    match found.await {
        Ok(document) => document.answer(&head.headers),
        Err(problem) => reply::problem(problem, &head.headers),
    }
}

async fn page_of_deployment(
    State(descriptions): State<Descriptions>,
    Path((prefix, name, version)): Address,
    headers: HeaderMap,
) -> Response {
    match lookup::deployment_at(&descriptions.deployer.gateway, &prefix, &name, &version) {
        Ok(_) => page(&headers),
        Err(problem) => reply::problem(problem, &headers),
    }
}

async fn file_of_deployment(
    Path((_, _, _, file)): Path<(String, String, String, String)>,
    headers: HeaderMap,
) -> Response {
    file_of_page(&file, &headers)
}

async fn file_of_api(Path(file): Path<String>, headers: HeaderMap) -> Response {
    file_of_page(&file, &headers)
}

fn page(headers: &HeaderMap) -> Response {
    file_of_page(dashboard::DOCS_PAGE, headers)
}

fn file_of_page(file: &str, headers: &HeaderMap) -> Response {
    let missing = || reply::problem(Problem::new(Code::NotFound, format!("the page has no file {file:?}")), headers);
    dashboard::docs(file, headers).unwrap_or_else(missing)
}

/// The document of the gateway's own API. `router` is described there, and nothing else.
static OF_API: LazyLock<Document> = LazyLock::new(|| Document::new(gateway::document().to_string()));

async fn of_api(State(descriptions): State<Descriptions>, request: Request) -> Response {
    let (head, _) = request.into_parts();
    match descriptions.check(&head, None).await {
        Ok(()) => OF_API.clone().answer(&head.headers),
        Err(problem) => reply::problem(problem, &head.headers),
    }
}
