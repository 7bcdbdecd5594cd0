//! The call route: the address names a function, the query or the body has its arguments.

use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response};
use hyper::body::Incoming;

use crate::deployment::Takes;
use crate::gateway::Gateway;
use crate::http::call::answer;
use crate::http::call::arguments::{self, BodyKind, Keys};
use crate::http::call::lookup::{self, Client};
use crate::http::path::CallAddress;
use crate::http::problem::{Code, Problem};
use crate::http::reply_body::ReplyBody;
use crate::http::request_body::{self, BodyLimits, ReadBody};
use crate::http::request_id;
use crate::invocation::Arguments;

/// Calls the function that an address names.
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
    let deployment = lookup::deployment_at(gateway, &address.prefix, &address.name, &address.version)?;
    // Names cost an allocation per call: they are kept only where the runtime passes them on.
    let keys = if deployment.pool().is_some_and(|pool| pool.wants_names()) { Keys::Keep } else { Keys::Drop };
    let (head, arguments, _body) = read_arguments(request, limits, keys, client).await?;
    let Parts { method, headers, .. } = head;
    let call = client.call(&deployment, &address.function, Takes::Arguments, arguments, &method, headers);
    Ok(answer::render(gateway.call(&deployment, call).await, request_id::text(client.id)))
}

/// The arguments of a request, and its body, which counts in the budgets until the call has ended.
async fn read_arguments(
    request: Request<Incoming>,
    limits: BodyLimits,
    keys: Keys,
    client: Client<'_>,
) -> Result<(Parts, Arguments, ReadBody), Problem> {
    let (head, body) = request.into_parts();
    let kind = BodyKind::of(head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes));
    let mut body = request_body::read(&head, body, limits, &client.connection.buffers).await?;
    body.hold_line()?;
    let arguments = arguments::from_body(&body.bytes, kind, keys)?;
    Ok((head, arguments, body))
}
