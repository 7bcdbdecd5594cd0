//! `POST /api/invoke/<deployment>/<function>`: calls a function for a page of the admin API, as the function's own
//! address would. The answer is text inside JSON: what a function returns is never a page of the admin API's origin.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{self, CONTENT_TYPE, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::gateway::deployer::Deployer;
use crate::http::api::caller::{Caller, Need};
use crate::http::api::{json_body, reply};
use crate::http::bodies::Bodies;
use crate::http::call::invoke::{self, Posted};
use crate::http::call::lookup::Client;
use crate::http::call::observers::Observers;
use crate::http::client_connection::ClientConnection;
use crate::http::path;
use crate::http::problem::{Code, Problem};
use crate::http::reply_body::ReplyBody;
use crate::http::request_id;

/// The first part of the addresses.
pub const PREFIX: &str = "/api/invoke/";

/// Bytes of an answer that are shown, and how long a stream is read.
const SHOWN_BYTES: usize = 1 << 20;
const STREAM_TIME: Duration = Duration::from_secs(10);

/// Headers that belong to the connection or that only the gateway or a proxy sets.
const NOT_OWN: [&str; 14] = [
    "connection",
    "content-encoding",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-client-subject",
    "x-real-ip",
];
const OF_PROXIES: &str = "x-forwarded-";

/// Whether functions can be called at the address that a request came to, in the extensions of the request.
#[derive(Debug, Clone, Copy)]
pub struct ServesCalls(pub bool);

/// What a request to call a function came by, in its extensions.
#[derive(Debug, Clone)]
pub struct Entrance {
    /// The connection.
    pub connection: ClientConnection,
    /// What looks at its call.
    pub observers: Arc<Observers>,
    /// The streams of answers.
    pub bodies: Arc<Bodies>,
}

/// A call as a page asks for it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// The body.
    #[serde(default)]
    body: String,
    /// Names and values. The default content type is JSON.
    #[serde(default)]
    headers: Vec<(String, String)>,
}

/// The answer to a call.
#[derive(Debug, Serialize)]
struct Answered {
    status: u16,
    headers: Vec<(String, String)>,
    /// Text; base64 if it is no UTF-8.
    body: String,
    encoding: &'static str,
    /// False if the body is longer than what is shown, or a stream went on for too long or broke off.
    complete: bool,
    request_id: String,
    milliseconds: f64,
}

/// The route.
pub fn routes(deployer: Arc<Deployer>) -> Router {
    Router::new().route("/api/invoke/{name}/{*function}", post(call)).with_state(deployer)
}

async fn call(
    State(deployer): State<Arc<Deployer>>,
    Path((name, function)): Path<(String, String)>,
    Extension(caller): Extension<Caller>,
    Extension(entrance): Extension<Entrance>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let called = async {
        caller.check(Need::ChangeOf(&name))?;
        let (asked, own) = json_body::read_and(body, |asked: Asked| {
            let own = own_headers(&asked.headers)?;
            Ok((asked, own))
        })
        .await?;
        let id = if own.contains_key(request_id::HEADER) { request_id::of(&own) } else { request_id::of(&headers) };
        let head = head_of(&deployer, &name, &function, own, &headers)?;
        Ok(answer(&deployer, (&name, &function), head, asked.body.into(), &entrance, &id).await)
    };
    match called.await {
        Ok(answered) => Json(answered).into_response(),
        Err(problem) => reply::problem(problem, &headers),
    }
}

/// The headers that the page gives.
fn own_headers(given: &[(String, String)]) -> Result<HeaderMap, Problem> {
    let mut own = HeaderMap::new();
    for (name, value) in given {
        let refused = |why: &str| Problem::new(Code::BadRequest, format!("the header {name:?} {why}"));
        let known: HeaderName = name.parse().map_err(|_| refused("has no valid name"))?;
        if NOT_OWN.contains(&known.as_str()) || known.as_str().starts_with(OF_PROXIES) {
            return Err(refused("cannot be set by the caller of a function"));
        }
        let value = HeaderValue::from_str(value).map_err(|_| refused("has no valid value"))?;
        if own.try_append(known, value).is_err() {
            return Err(Problem::new(Code::HeadersTooLarge, "too many headers"));
        }
    }
    own.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    Ok(own)
}

/// The head of a request to the function's own address.
fn head_of(
    deployer: &Deployer,
    name: &str,
    function: &str,
    mut own: HeaderMap,
    asked: &HeaderMap,
) -> Result<Parts, Problem> {
    let of_proxies = asked.iter().filter(|(name, _)| name.as_str().starts_with(OF_PROXIES));
    for (name, value) in of_proxies.chain(asked.get(HOST).map(|host| (&HOST, host))) {
        own.append(name, value.clone());
    }
    if let Some(agent) = asked.get(header::USER_AGENT) {
        own.entry(header::USER_AGENT).or_insert(agent.clone());
    }
    let address = path::of_call(deployer.gateway.prefix.as_str(), name, function);
    let made = Request::builder().method(Method::POST).uri(address).body(());
    let (mut head, ()) =
        made.map_err(|error| Problem::new(Code::BadRequest, format!("no such address: {error}")))?.into_parts();
    head.headers = own;
    Ok(head)
}

async fn answer(
    deployer: &Deployer,
    (name, function): (&str, &str),
    head: Parts,
    body: Bytes,
    entrance: &Entrance,
    id: &HeaderValue,
) -> Answered {
    let Entrance { connection, observers, bodies } = entrance;
    let client = Client { id, connection, observers, route: None };
    let begun = clock::now();
    let posted = Posted { body, mcp: None };
    let called = invoke::call_with_body(&deployer.gateway, (name, function), head, posted, client, bodies).await;
    let response = called.unwrap_or_else(|problem| problem.into_response(request_id::text(id)));
    let (head, body) = response.into_parts();
    let (bytes, complete) = read_shown(body).await;
    let milliseconds = (clock::since(begun).as_secs_f64() * 1e6).round() / 1e3;
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    let (body, encoding) = match String::from_utf8(bytes) {
        Ok(text) => (text, "utf-8"),
        Err(error) => (STANDARD.encode(error.as_bytes()), "base64"),
    };
    let (headers, request_id) = (headers.collect(), request_id::text(id).to_owned());
    Answered { status: head.status.as_u16(), headers, body, encoding, complete, request_id, milliseconds }
}

/// The body as far as it is shown, and whether that is all of it.
async fn read_shown(mut body: ReplyBody) -> (Vec<u8>, bool) {
    let mut shown = Vec::new();
    let reading = async {
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return false };
            let Ok(data) = frame.into_data() else { continue };
            let room = SHOWN_BYTES - shown.len();
            shown.extend_from_slice(&data[..data.len().min(room)]);
            if data.len() > room {
                return false;
            }
        }
        true
    };
    let complete = tokio::time::timeout(STREAM_TIME, reading).await.unwrap_or(false);
    // Where it was cut, the last character may be half of one.
    if !complete
        && let Err(error) = std::str::from_utf8(&shown)
        && error.error_len().is_none()
    {
        shown.truncate(error.valid_up_to());
    }
    (shown, complete)
}
