//! Requests that come by a route of the configuration: calls of functions, and whole requests to a deployment. They run
//! through the same checks and plugins as at the deployment's own addresses.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, Response};
use hyper::body::{Body, Incoming};

use crate::deployment::Takes;
use crate::gateway::Gateway;
use crate::http::bodies::Bodies;
use crate::http::call::arguments::{self, Keys};
use crate::http::call::body_kind::BodyKind;
use crate::http::call::deferral;
use crate::http::call::lookup::{self, Client};
use crate::http::call::record::{CallRecord, Refused};
use crate::http::call::route_arguments::{self, Given};
use crate::http::call::{spooled_form, stream_answer, whole_request};
use crate::http::front::routes::Route;
use crate::http::path;
use crate::http::problem::{self, Code, Problem};
use crate::http::reply_body::ReplyBody;
use crate::http::request_body::{self, ReadBody};
use crate::invocation::Arguments;
use crate::registry::Deployment;

/// Tells an app the part of the path that it does not see.
const PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// Has the target of a route answer a request.
pub async fn serve(
    gateway: &Arc<Gateway>,
    route: &Route,
    request: Request<Incoming>,
    client: Client<'_>,
    bodies: &Bodies,
) -> Result<Response<ReplyBody>, Problem> {
    let client = Client { route: Some(&route.path), ..client };
    match &route.to.function {
        Some(function) => call(gateway, route, function, request, client, bodies).await,
        None => pass_on(gateway, route, request, client, bodies).await,
    }
}

/// Calls the function of a route.
async fn call(
    gateway: &Arc<Gateway>,
    route: &Route,
    function: &str,
    request: Request<Incoming>,
    client: Client<'_>,
    bodies: &Bodies,
) -> Result<Response<ReplyBody>, Problem> {
    let (mut head, body) = request.into_parts();
    let refused = Refused { client, function, head: &head };
    let named = deployment_of(gateway, route).inspect_err(|problem| refused.record(gateway, None, problem));
    let checked = named.and_then(|deployment| {
        let found = lookup::check_call(gateway, &deployment, function, Takes::Arguments, &head, &body);
        match found.and_then(|()| route.parameters(head.uri.path())) {
            Ok(path) => Ok((deployment, path)),
            Err(problem) => {
                refused.record(gateway, Some(&deployment), &problem);
                Err(problem)
            }
        }
    });
    let (deployment, path) = match checked {
        Ok(checked) => checked,
        Err(problem) => return Err(request_body::refuse(&head, body, problem).await),
    };
    let mut record = CallRecord::begin(client, &deployment, function, &head, &body.size_hint());
    let by_route = ByRoute { path, is_async: route.is_async };
    let answered = answer(gateway, by_route, &mut head, body, client, bodies, &mut record).await;
    record.end(answered)
}

/// What a route says about a call.
struct ByRoute {
    /// The arguments that the path has.
    path: Vec<(String, String)>,
    is_async: bool,
}

/// Reads the arguments, adds those of the path, and calls the function.
async fn answer(
    gateway: &Arc<Gateway>,
    ByRoute { path, is_async }: ByRoute,
    head: &mut Parts,
    body: Incoming,
    client: Client<'_>,
    bodies: &Bodies,
    record: &mut CallRecord<'_>,
) -> Result<Response<ReplyBody>, Problem> {
    let (deployment, function) = (record.deployment, record.function);
    let deferral = deferral::of_request(gateway, deployment, head, is_async)?;
    let (keys, kind) = lookup::body_of(deployment, function, head);
    let query = head.uri.query().filter(|query| !query.is_empty()).map(str::to_owned);
    let function_of = if body.is_end_stream() { None } else { lookup::exported(deployment, function) };
    let with_address = move |from_body: Arguments| {
        let given =
            Given { path, query: query.as_deref(), signature: function_of.as_deref().map(|own| &own.signature) };
        route_arguments::arguments(given, from_body, keys)
    };
    let buffers = &client.connection.buffers;
    let (arguments, _held) = match kind {
        BodyKind::Multipart(boundary) if deferral.is_none() && lookup::may_be_taken_in_pieces(head, &body) => {
            let read = spooled_form::read(deployment, head, body, &boundary, Keys::Keep, buffers, bodies);
            let (from_body, held) = Box::pin(read).await?;
            (with_address(from_body)?, held)
        }
        kind => {
            let arguments = move |body: &mut ReadBody| {
                body.hold_line()?;
                with_address(arguments::from_body(&body.bytes, &kind, Keys::Keep)?)
            };
            let (arguments, body) = bodies.read(head, body, buffers, arguments).await?;
            record.request_bytes = body.bytes.len() as u64;
            (arguments, body.into_held())
        }
    };
    let mut call = record.call(Takes::Arguments, arguments, head);
    if let Some(target) = &mut call.target {
        target.base = Some(0);
    }
    if let Some(deferral) = &deferral {
        lookup::check_function(gateway, deployment, function, Takes::Arguments)?;
        // Boxed: it would enlarge the future of every call.
        return Box::pin(deferral::answer(gateway, call, deferral, client, bodies, record)).await;
    }
    let outcome = gateway.call(deployment, call).await;
    record.answered(&outcome);
    stream_answer::of_outcome(outcome, deployment, function, client, bodies).await
}

/// Passes the whole request on. The target of a route with a tail sees the tail as its path.
async fn pass_on(
    gateway: &Arc<Gateway>,
    route: &Route,
    mut request: Request<Incoming>,
    client: Client<'_>,
    bodies: &Bodies,
) -> Result<Response<ReplyBody>, Problem> {
    let whole = request.uri().path().to_owned();
    let (mounted, rest) = route.split(&whole);
    let checked = path::check_rest(&whole).map_err(|message| Problem::new(Code::BadName, message));
    let deployment = checked.and_then(|()| deployment_of(gateway, route));
    if !mounted.is_empty()
        && let Ok(prefix) = HeaderValue::from_str(mounted)
    {
        request.headers_mut().insert(PREFIX, prefix);
    }
    whole_request::serve_deployment(gateway, deployment, rest, Some(mounted.len()), request, client, bodies).await
}

fn deployment_of(gateway: &Gateway, route: &Route) -> Result<Arc<Deployment>, Problem> {
    let name = route.to.deployment.as_str();
    gateway.deployment(name).ok_or_else(|| problem::deployment_not_found(name))
}
