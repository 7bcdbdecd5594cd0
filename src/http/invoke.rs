//! The call route: address and body to a function's arguments, its result or what went wrong to an answer.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;

use crate::answer::Failure;
use crate::deployment::Takes;
use crate::gateway::{Gateway, VERSION};
use crate::http::arguments::{self, BodyKind, Keys};
use crate::http::body::ReplyBody;
use crate::http::error::{self, Code, ERROR_HEADER, Problem};
use crate::http::path::CallAddress;
use crate::http::request_body::{self, BodyLimits};
use crate::http::request_id;
use crate::invocation::{Arguments, Returned};
use crate::plugin::invocation::Invocation;
use crate::plugin::outcome::{Content, Outcome};
use crate::registry::Live;
use crate::worker::outcome::CallError;

/// Who calls.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// The request's id.
    pub id: &'a HeaderValue,
    /// The client's address.
    pub peer: IpAddr,
}

/// Calls what an address names.
pub async fn call(
    gateway: &Arc<Gateway>,
    address: CallAddress<'_>,
    request: Request<Incoming>,
    client: Client<'_>,
    limits: BodyLimits,
) -> Result<Response<ReplyBody>, Problem> {
    let method = request.method();
    if !matches!(*method, Method::GET | Method::POST) {
        let problem =
            Problem::new(Code::MethodNotAllowed, format!("a function is called with GET or POST, not {method}"));
        return Err(problem.allowing("GET, POST"));
    }
    let live = live_at(gateway, &address.prefix, &address.name, &address.version)?;
    let keys = if live.pool().is_some_and(|pool| pool.wants_names()) { Keys::Keep } else { Keys::Drop };
    let (head, arguments) = read_arguments(request, limits, keys).await?;
    let started = Instant::now();
    let deadline = live.deadline(started);
    let named = live.name_of(&address.function, deadline).await;
    // What it has waited for in vain the call itself will tell, after its hooks.
    let function = named.as_deref().unwrap_or(&address.function);
    let Some(chain) = live.chain_of(function) else {
        let called = match &named {
            Err(error @ CallError::Starting) => Err(error.clone()),
            Ok(_) | Err(_) => gateway.invoke(&live, function, Takes::Arguments, &arguments, deadline).await,
        };
        return match called {
            Ok(Returned(value)) => Ok(answer(value)),
            Err(error) => Err(error::from_call(error, &address.name, function)),
        };
    };
    let call = Invocation {
        method: head.method.as_str().into(),
        peer: client.peer,
        headers: head.headers,
        started,
        ..Invocation::new(request_id::text(client.id), live.name.clone(), function, arguments, deadline)
    };
    let outcome = gateway.invoke_through(chain, live, Box::new(call), told).await;
    Ok(answer_outcome(*outcome, request_id::text(client.id)))
}

/// What is deployed at an address.
pub(super) fn live_at(gateway: &Gateway, prefix: &str, name: &str, version: &str) -> Result<Arc<Live>, Problem> {
    if prefix != gateway.prefix.as_str() || version != VERSION {
        let message = format!("nothing is deployed at /{prefix}/{name}/{version}");
        return Err(Problem::new(Code::DeploymentNotFound, message));
    }
    gateway.deployment(name).ok_or_else(|| error::deployment_not_found(name))
}

/// What callers are told of a failure, for after-hooks to see and change.
pub fn told(error: CallError, name: &str, function: &str) -> Failure {
    error::from_call(error, name, function).into()
}

async fn read_arguments(
    request: Request<Incoming>,
    limits: BodyLimits,
    keys: Keys,
) -> Result<(Parts, Arguments), Problem> {
    let (head, body) = request.into_parts();
    let kind = BodyKind::of(head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes));
    let body = request_body::read(&head, body, limits).await?;
    let arguments = arguments::from_body(&body, kind, keys)?;
    Ok((head, arguments))
}

fn answer(value: Option<Bytes>) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::full(value.unwrap_or_default()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The answer that a call's outcome makes.
pub(super) fn answer_outcome(outcome: Outcome, request_id: &str) -> Response<ReplyBody> {
    let status = StatusCode::from_u16(outcome.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // These have no body (RFC 9110, section 6.4.1); HTTP/2 would send one.
    let has_body = !matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED);
    let body = if has_body { outcome.body(request_id) } else { Bytes::new() };
    let mut response = match outcome.content {
        Content::Answer(_) => Response::new(ReplyBody::full(body)),
        Content::Result(_) | Content::Problem { .. } => answer(Some(body)),
    };
    *response.status_mut() = status;
    let headers = response.headers_mut();
    // An answer without a body may still name its type: so does that of a function that gave nothing.
    for (name, value) in outcome.headers {
        if name == CONTENT_TYPE {
            headers.insert(name, value);
        } else {
            headers.append(name, value);
        }
    }
    if let Content::Problem { code, .. } = &outcome.content
        && let Ok(code) = HeaderValue::from_str(code)
    {
        headers.insert(ERROR_HEADER, code);
    }
    response
}
