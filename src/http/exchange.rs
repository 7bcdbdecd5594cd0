//! The route of whole HTTP requests: what follows `/<prefix>/<name>/<version>/http` goes to the deployment's function that
//! takes requests, and the function's answer goes back. The envelopes are left to `gateway::whole_request`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HOST};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response};
use hyper::body::Incoming;

use crate::answer::Failure;
use crate::deployment::{HTTP_FUNCTION, Takes};
use crate::gateway::{Gateway, whole_request};
use crate::http::body::ReplyBody;
use crate::http::error::{self, Code, Problem};
use crate::http::invoke::{self, Client};
use crate::http::path::HttpAddress;
use crate::http::request_body::{self, BodyLimits};
use crate::http::request_id;
use crate::plugin::invocation::Invocation;
use crate::worker::outcome::CallError;

const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Has the function that an address names answer a request.
pub async fn serve(
    gateway: &Arc<Gateway>,
    address: HttpAddress<'_>,
    request: Request<Incoming>,
    client: Client<'_>,
    limits: BodyLimits,
) -> Result<Response<ReplyBody>, Problem> {
    if *request.method() == Method::TRACE {
        let problem = Problem::new(Code::MethodNotAllowed, "no function is shown what came over the connection");
        return Err(problem.allowing(METHODS));
    }
    let live = invoke::live_at(gateway, &address.prefix, &address.name, &address.version)?;
    let (mut head, body) = request.into_parts();
    let body = request_body::read(&head, body, limits).await?;
    describe(&mut head, &body, client.id);
    let is_head = head.method == Method::HEAD;
    let request = whole_request::request(head.method.as_str(), &uri_of(&address, head.uri.query()), &body);
    let started = Instant::now();
    let deadline = live.deadline(started);
    let id = request_id::text(client.id);
    let outcome = match live.chain_of(HTTP_FUNCTION) {
        None => match gateway.exchange(&live, &request, &head.headers, deadline).await {
            Ok(outcome) => outcome,
            Err(error) => return Err(from_call(error, &address.name)),
        },
        Some(chain) => {
            let call = Invocation {
                method: head.method.as_str().into(),
                peer: client.peer,
                headers: head.headers,
                started,
                takes: Takes::Request,
                ..Invocation::new(id, live.name.clone(), HTTP_FUNCTION, request, deadline)
            };
            *gateway.invoke_through(chain, live, Box::new(call), told).await
        }
    };
    let response = invoke::answer_outcome(outcome, id);
    Ok(if is_head { of_unknown_length(response) } else { response })
}

/// Makes the headers fit what the function gets: an unpacked body, and what HTTP/2 says elsewhere.
fn describe(head: &mut Parts, body: &Bytes, id: &HeaderValue) {
    if head.headers.remove(CONTENT_ENCODING).is_some() || head.headers.contains_key(CONTENT_LENGTH) {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    let authority = head.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    if let (Some(host), false) = (authority, head.headers.contains_key(HOST)) {
        head.headers.insert(HOST, host);
    }
    head.headers.insert(request_id::HEADER, id.clone());
}

fn uri_of(address: &HttpAddress<'_>, query: Option<&str>) -> String {
    let path = if address.rest.is_empty() { "/" } else { address.rest };
    query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
}

/// A function need not make the body that HEAD leaves out: its absence says nothing about the length.
fn of_unknown_length(response: Response<ReplyBody>) -> Response<ReplyBody> {
    response.map(|body| match body {
        ReplyBody::Full(None) => {
            let empty = futures_util::stream::empty::<Result<Bytes, Infallible>>();
            ReplyBody::Streamed(axum::body::Body::from_stream(empty))
        }
        body => body,
    })
}

/// What callers are told of a failure, for after-hooks to see and change.
fn told(error: CallError, name: &str, _function: &str) -> Failure {
    from_call(error, name).into()
}

fn from_call(error: CallError, name: &str) -> Problem {
    match error {
        CallError::FunctionNotFound => {
            let message = format!("deployment {name:?} has no component that serves HTTP (wasi:http/incoming-handler)");
            Problem::new(Code::FunctionNotFound, message)
        }
        error => error::from_call(error, name, HTTP_FUNCTION),
    }
}
