//! The call route: the address names a function, the query or the body has its arguments.

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONNECTION;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response};
use hyper::body::{Body, Incoming, SizeHint};

use crate::deployment::Takes;
use crate::describe::query;
use crate::gateway::{Gateway, VERSION};
use crate::http::bodies::Bodies;
use crate::http::buffers::SMALL;
use crate::http::call::arguments::{self, Keys};
use crate::http::call::body_kind::BodyKind;
use crate::http::call::deferral::{self, Deferral};
use crate::http::call::lookup::{self, Client};
use crate::http::call::record::{CallRecord, Refused};
use crate::http::call::spooled_form;
use crate::http::call::stream_answer;
use crate::http::path::CallAddress;
use crate::http::problem::{self, Code, Problem};
use crate::http::reply_body::ReplyBody;
use crate::http::request_body::{self, ReadBody};
use crate::invocation::Arguments;
use crate::registry::Deployment;

/// The methods of a function's address.
const METHODS: &str = "GET, HEAD, POST, OPTIONS";
/// Those of an address for asynchronous calls: what answers a HEAD is a call's result, which is not there yet.
const METHODS_OF_ASYNC: &str = "GET, POST, OPTIONS";
/// Those of a function that requires what the query of a GET cannot carry.
const METHODS_WITH_BODY: &str = "POST, OPTIONS";

/// Calls the function that an address names. What the head of the request shows to be wrong is refused before its body
/// is read.
pub async fn call(
    gateway: &Arc<Gateway>,
    address: CallAddress<'_>,
    request: Request<Incoming>,
    client: Client<'_>,
    bodies: &Bodies,
) -> Result<Response<ReplyBody>, Problem> {
    let (mut head, body) = request.into_parts();
    let found = deployment_for(gateway, &address, &head, &body).and_then(|deployment| {
        let deferral = deferral::of_request(gateway, &deployment, &head, address.is_async)?;
        Ok((deployment, deferral))
    });
    let (deployment, deferral) = match found {
        Ok(found) => found,
        Err(problem) => {
            let deployment = lookup::deployment_at(gateway, &address.prefix, &address.name, &address.version).ok();
            let refused = Refused { client, function: &address.function, head: &head };
            refused.record(gateway, deployment.as_deref(), &problem);
            // Boxed: it would enlarge the future of every call.
            return Err(Box::pin(request_body::refuse(&head, body, problem)).await);
        }
    };
    if head.method == Method::OPTIONS {
        return Box::pin(options(&head, body, methods_of(&deployment, &address))).await;
    }
    let mut record = CallRecord::begin(client, &deployment, &address.function, &head, &body.size_hint());
    let answered = match deferral {
        None => answer(gateway, &mut head, body, client, bodies, &mut record).await,
        // Boxed: it would enlarge the future of every call.
        Some(deferral) => Box::pin(defer(gateway, &mut head, body, client, bodies, &mut record, &deferral)).await,
    };
    record.end(answered)
}

/// Reads the arguments, and has the call made later, or once for its key.
async fn defer(
    gateway: &Arc<Gateway>,
    head: &mut Parts,
    body: Incoming,
    client: Client<'_>,
    bodies: &Bodies,
    record: &mut CallRecord<'_>,
    deferral: &Deferral,
) -> Result<Response<ReplyBody>, Problem> {
    let (deployment, function) = (record.deployment, record.function);
    lookup::check_function(gateway, deployment, function, Takes::Arguments)?;
    let (keys, kind) = lookup::body_of(deployment, function, head);
    let read = arguments_of(head, kind, keys);
    let (arguments, body) = bodies.read(head, body, &client.connection.buffers, read).await?;
    record.request_bytes = body.bytes.len() as u64;
    let _held = body.into_held();
    let call = record.call(Takes::Arguments, arguments, head);
    deferral::answer(gateway, call, deferral, client, bodies, record).await
}

/// Makes the arguments of a body, or of the query of a request without one.
fn arguments_of(
    head: &Parts,
    kind: BodyKind,
    keys: Keys,
) -> impl FnOnce(&mut ReadBody) -> Result<Arguments, Problem> + Send + use<> {
    let query = head.uri.query().filter(|query| !query.is_empty()).map(str::to_owned);
    move |body| match query {
        Some(query) if body.bytes.is_empty() => arguments::from_query(&query, keys),
        _ => {
            body.hold_line()?;
            arguments::from_body(&body.bytes, &kind, keys)
        }
    }
}

/// Reads the arguments and calls the function.
async fn answer(
    gateway: &Arc<Gateway>,
    head: &mut Parts,
    body: Incoming,
    client: Client<'_>,
    bodies: &Bodies,
    record: &mut CallRecord<'_>,
) -> Result<Response<ReplyBody>, Problem> {
    let (deployment, function) = (record.deployment, record.function);
    let (keys, kind) = lookup::body_of(deployment, function, head);
    let buffers = &client.connection.buffers;
    // What is held of the body counts in the budgets until the call has ended.
    let (arguments, _held) = match kind {
        BodyKind::Multipart(boundary) if lookup::may_be_taken_in_pieces(head, &body) => {
            // Boxed: it would enlarge the future of every call.
            Box::pin(spooled_form::read(deployment, head, body, &boundary, keys, buffers, bodies)).await?
        }
        kind => {
            let read = arguments_of(head, kind, keys);
            let (arguments, body) = bodies.read(head, body, buffers, read).await?;
            record.request_bytes = body.bytes.len() as u64;
            (arguments, body.into_held())
        }
    };
    run(gateway, arguments, head, client, bodies, record, None).await
}

/// Calls the function with these arguments.
async fn run(
    gateway: &Arc<Gateway>,
    arguments: Arguments,
    head: &mut Parts,
    client: Client<'_>,
    bodies: &Bodies,
    record: &mut CallRecord<'_>,
    mcp: Option<Arc<str>>,
) -> Result<Response<ReplyBody>, Problem> {
    let (deployment, function) = (record.deployment, record.function);
    let mut call = record.call(Takes::Arguments, arguments, head);
    call.mcp = mcp;
    let outcome = gateway.call(deployment, call).await;
    record.answered(&outcome);
    stream_answer::of_outcome(outcome, deployment, function, client, bodies).await
}

/// The body of a request that has been read.
#[derive(Debug)]
pub struct Posted {
    /// The body.
    pub body: Bytes,
    /// What the client of a tool has said besides the arguments: the text of a JSON object.
    pub mcp: Option<Arc<str>>,
}

/// Calls a function of a deployment with a body that has been read: what a request to its address would come to.
///
/// # Errors
///
/// Those of [`call`].
pub async fn call_with_body(
    gateway: &Arc<Gateway>,
    (name, function): (&str, &str),
    mut head: Parts,
    Posted { body, mcp }: Posted,
    client: Client<'_>,
    bodies: &Bodies,
) -> Result<Response<ReplyBody>, Problem> {
    let deployment = match lookup::deployment_at(gateway, gateway.prefix.as_str(), name, VERSION) {
        Ok(deployment) => deployment,
        Err(problem) => {
            Refused { client, function, head: &head }.record(gateway, None, &problem);
            return Err(problem);
        }
    };
    let mut record = CallRecord::begin(client, &deployment, function, &head, &SizeHint::with_exact(body.len() as u64));
    record.request_bytes = body.len() as u64;
    let (keys, kind) = lookup::body_of(&deployment, function, &head);
    let read = if body.len() <= SMALL {
        arguments::from_body(&body, &kind, keys)
    } else {
        bodies.elsewhere(move || arguments::from_body(&body, &kind, keys)).await
    };
    let answered = match read {
        Ok(arguments) => run(gateway, arguments, &mut head, client, bodies, &mut record, mcp).await,
        Err(problem) => Err(problem),
    };
    record.end(answered)
}

fn deployment_for(
    gateway: &Gateway,
    address: &CallAddress<'_>,
    head: &Parts,
    body: &Incoming,
) -> Result<Arc<Deployment>, Problem> {
    let method = &head.method;
    if !matches!(*method, Method::GET | Method::POST | Method::HEAD | Method::OPTIONS) {
        let problem =
            Problem::new(Code::MethodNotAllowed, format!("a function is called with GET or POST, not {method}"));
        return Err(problem.allowing(if address.is_async { METHODS_OF_ASYNC } else { METHODS }));
    }
    let deployment = lookup::deployment_at(gateway, &address.prefix, &address.name, &address.version)?;
    if *method == Method::OPTIONS {
        lookup::check_function(gateway, &deployment, &address.function, Takes::Arguments)?;
    } else {
        lookup::check_call(gateway, &deployment, &address.function, Takes::Arguments, head, body)?;
    }
    Ok(deployment)
}

/// The methods of a function, for who asks for them. Nothing runs.
async fn options(head: &Parts, body: Incoming, methods: &str) -> Result<Response<ReplyBody>, Problem> {
    let mut response = problem::methods(methods);
    if !request_body::drop_unread(head, body).await {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

fn methods_of(deployment: &Deployment, address: &CallAddress<'_>) -> &'static str {
    let by_name = deployment.pool().is_some_and(|pool| pool.wants_names());
    let function = lookup::exported(deployment, &address.function).filter(|_| by_name);
    if function.is_some_and(|function| query::needs_body(&function.signature)) {
        return METHODS_WITH_BODY;
    }
    if address.is_async { METHODS_OF_ASYNC } else { METHODS }
}
