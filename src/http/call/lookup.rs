//! What an address and a connection say about a call: its deployment and its client.

use std::mem;
use std::sync::Arc;

use http::HeaderValue;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, EXPECT};
use http::request::Parts;
use hyper::body::{Body, Incoming};

use crate::clock;
use crate::config::RoutePath;
use crate::deployment::{Function, Takes};
use crate::gateway::call::Call;
use crate::gateway::{Gateway, VERSION};
use crate::http::buffers::SMALL;
use crate::http::call::arguments::Keys;
use crate::http::call::body_kind::BodyKind;
use crate::http::call::observers::Observers;
use crate::http::client_connection::ClientConnection;
use crate::http::problem::{self, Code, Problem};
use crate::http::{request_body, request_id};
use crate::invocation::{Arguments, Target};
use crate::registry::Deployment;
use crate::worker::failure::CallError;

/// The client of a request.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// The request's id.
    pub id: &'a HeaderValue,
    /// The connection it arrived on.
    pub connection: &'a ClientConnection,
    /// What looks at its call.
    pub observers: &'a Arc<Observers>,
    /// The path of the route that the request came by.
    pub route: Option<&'a RoutePath>,
}

impl<'a> Client<'a> {
    /// The call that this client's request makes, from now on: the request has been read. It takes the headers and the
    /// address out of the head.
    pub fn call(
        self,
        deployment: &Deployment,
        function: &'a str,
        takes: Takes,
        arguments: Arguments,
        head: &'a mut Parts,
    ) -> Call<'a> {
        let Parts { method, headers, uri, .. } = head;
        let started = clock::now();
        Call {
            function,
            takes,
            arguments,
            request_id: request_id::text(self.id),
            method: method.as_str(),
            target: Some(Target { is_https: self.connection.is_https, ..Target::new(mem::take(uri)) }),
            peer: self.connection.peer,
            headers: mem::take(headers),
            started,
            deadline: deployment.deadline(started),
            callers: Vec::new(),
            mcp: None,
            timeline: None,
        }
    }
}

/// The deployment at an address.
///
/// # Errors
///
/// There is none: 404 `deployment_not_found`.
pub fn deployment_at(gateway: &Gateway, prefix: &str, name: &str, version: &str) -> Result<Arc<Deployment>, Problem> {
    if prefix != gateway.prefix.as_str() || version != VERSION {
        let message = format!("nothing is deployed at /{prefix}/{name}/{version}");
        return Err(Problem::new(Code::DeploymentNotFound, message));
    }
    gateway.deployment(name).ok_or_else(|| problem::deployment_not_found(name))
}

/// How the body of a request becomes arguments for a deployment: what happens to keys, and the kind of the body.
#[must_use]
pub fn body_of(deployment: &Deployment, function: &str, head: &Parts) -> (Keys, BodyKind) {
    let pool = deployment.pool();
    // Names cost an allocation per call: they are kept only where the runtime passes them on.
    let keys = if pool.is_some_and(|pool| pool.wants_names()) { Keys::Keep } else { Keys::Drop };
    let takes_files = pool.is_some_and(|pool| pool.takes_files());
    match BodyKind::of(head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes), takes_files) {
        BodyKind::Text if takes_bytes(deployment, function) => (keys, BodyKind::Bytes),
        kind => (keys, kind),
    }
}

/// Whether the first parameter of a function is declared as bytes.
fn takes_bytes(deployment: &Deployment, function: &str) -> bool {
    let function = exported(deployment, function);
    let first = function.as_ref().and_then(|function| function.signature.parameters.first());
    first.is_some_and(|first| first.schema["contentEncoding"] == "base64")
}

/// The function of this name, if the release has loaded and has it.
#[must_use]
pub fn exported(deployment: &Deployment, called: &str) -> Option<Arc<Function>> {
    deployment.pool()?.exports()?.function(called).cloned()
}

/// Checks that a deployment has a function and room for a call, if reading the body of the request would take long: a
/// call whose body is small finds out soon enough.
///
/// # Errors
///
/// No plugin applies to the function's name, and the release has loaded without it (404 `function_not_found`,
/// `ambiguous_function`), or its queue is full (503 `overloaded`), or its workers fail repeatedly (503 `crash_loop`).
pub fn check_call(
    gateway: &Gateway,
    deployment: &Deployment,
    function: &str,
    takes: Takes,
    head: &Parts,
    body: &Incoming,
) -> Result<(), Problem> {
    // Who waits for 100 Continue learns of a refusal instead of it.
    if is_small(head, body) && !head.headers.contains_key(EXPECT) {
        return Ok(());
    }
    check_function(gateway, deployment, function, takes)?;
    if deployment.chain_of(function).is_some() {
        // Its before-hooks may answer instead, or refuse the caller, who should see that first.
        return Ok(());
    }
    let (code, wait, error) = match deployment.pool().and_then(|pool| pool.refusal()) {
        Some(error @ CallError::Overloaded(wait)) => (Code::Overloaded, wait, error),
        Some(error @ CallError::CrashLoop(wait)) => (Code::CrashLoop, wait, error),
        // Other reasons may have passed when the body has arrived.
        Some(_) | None => return Ok(()),
    };
    let message = gateway.failure_of(error, deployment, function, takes).message;
    Err(Problem::new(code, message).retry_after(wait))
}

/// Checks that a call of a name may be answered by anything but 404.
///
/// # Errors
///
/// No plugin applies to the function's name, and the release has loaded without it (404 `function_not_found`,
/// `ambiguous_function`).
pub fn check_function(gateway: &Gateway, deployment: &Deployment, function: &str, takes: Takes) -> Result<(), Problem> {
    if deployment.may_answer(function, takes) {
        return Ok(());
    }
    let message = |error| gateway.failure_of(error, deployment, function, takes).message;
    Err(match deployment.namesakes(function) {
        Some(names) => Problem::new(Code::AmbiguousFunction, message(CallError::AmbiguousFunction(names))),
        None => Problem::new(Code::FunctionNotFound, message(CallError::FunctionNotFound)),
    })
}

/// Whether a body is worth taking as it arrives: it may be large, and is not compressed, because it is inflated as a
/// whole.
#[must_use]
pub fn may_be_taken_in_pieces(head: &Parts, body: &Incoming) -> bool {
    !is_small(head, body) && !head.headers.contains_key(CONTENT_ENCODING)
}

fn is_small(head: &Parts, body: &Incoming) -> bool {
    body.is_end_stream()
        || request_body::announced(&head.headers).is_some_and(|length| length <= SMALL as u64)
            && !head.headers.contains_key(CONTENT_ENCODING)
}
