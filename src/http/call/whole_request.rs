//! The route of whole HTTP requests: a request to `/<prefix>/<name>/<version>/http` and below goes to the deployment's
//! function that takes requests, and the function's answer goes back. The envelopes are left to
//! `gateway::whole_request`.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, HOST, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use hyper::body::{Body, Incoming};

use crate::deployment::{HTTP_FUNCTION, Takes};
use crate::gateway::{Gateway, whole_request};
use crate::http::bodies::Bodies;
use crate::http::call::lookup::{self, Client};
use crate::http::call::record::{CallRecord, Refused};
use crate::http::call::stream_answer;
use crate::http::call::tied_body::tied;
use crate::http::path::HttpAddress;
use crate::http::problem::{Code, Problem};
use crate::http::reply_body::ReplyBody;
use crate::http::request_body::{self, ReadBody};
use crate::http::request_id;
use crate::http::streamed_upload::{self, Begun, Fault};
use crate::invocation::Arguments;
use crate::invocation::body::HeldBody;
use crate::registry::Deployment;
use crate::worker::uploads::UploadPlace;

const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Has the deployment that an address names answer a request.
pub async fn serve(
    gateway: &Arc<Gateway>,
    address: HttpAddress<'_>,
    request: Request<Incoming>,
    client: Client<'_>,
    bodies: &Bodies,
) -> Result<Response<ReplyBody>, Problem> {
    let HttpAddress { prefix, name, version, rest } = address;
    let deployment = lookup::deployment_at(gateway, &prefix, &name, &version);
    serve_deployment(gateway, deployment, rest, None, request, client, bodies).await
}

/// Has a deployment answer a request, whose path it sees as `path`. `base`: bytes of the path before that, where they
/// are not those of the deployment's own address.
pub async fn serve_deployment(
    gateway: &Arc<Gateway>,
    deployment: Result<Arc<Deployment>, Problem>,
    path: &str,
    base: Option<usize>,
    request: Request<Incoming>,
    client: Client<'_>,
    bodies: &Bodies,
) -> Result<Response<ReplyBody>, Problem> {
    let (head, body) = request.into_parts();
    let refused = Refused { client, function: HTTP_FUNCTION, head: &head };
    let found = deployment.inspect_err(|problem| refused.record(gateway, None, problem));
    let checked = found.and_then(|deployment| match check(gateway, &deployment, &head, &body) {
        Ok(()) => Ok(deployment),
        Err(problem) => {
            refused.record(gateway, Some(&deployment), &problem);
            Err(problem)
        }
    });
    let deployment = match checked {
        Ok(deployment) => deployment,
        Err(problem) => return Err(Box::pin(request_body::refuse(&head, body, problem)).await),
    };
    let mut record = CallRecord::begin(client, &deployment, HTTP_FUNCTION, &head, &body.size_hint());
    let answered = take(gateway, path, base, (head, body), client, bodies, &mut record).await;
    record.end(answered)
}

/// Reads the request, or begins to, and has the function answer.
async fn take(
    gateway: &Arc<Gateway>,
    path: &str,
    base: Option<usize>,
    (mut head, body): (Parts, Incoming),
    client: Client<'_>,
    bodies: &Bodies,
    record: &mut CallRecord<'_>,
) -> Result<Response<ReplyBody>, Problem> {
    let (method, uri) = (head.method.clone(), uri_of(path, head.uri.query()));
    let buffers = &client.connection.buffers;
    if let Some(place) = upload_place(record.deployment, &head, &body) {
        let (_, body) = request_body::check_announced(&head, body, bodies.limits()).await?;
        // Boxed: it would enlarge the future of every request.
        return match Box::pin(streamed_upload::begin(body, bodies.limits(), buffers, place)).await? {
            Begun::Whole(bytes, held) => {
                adjust_headers(&mut head, Some(bytes.len()), client.id);
                let arguments = whole_request::request(method.as_str(), &uri, &bytes);
                let response = answer(gateway, arguments, base, head, client, bodies, record).await;
                drop(held);
                response
            }
            Begun::Partly(upload) => {
                adjust_headers(&mut head, None, client.id);
                let (pieces, fault) = upload.into_pieces();
                let arguments = whole_request::request_followed_by(method.as_str(), &uri, HeldBody::new(pieces));
                let answered = Box::pin(answer(gateway, arguments, base, head, client, bodies, record));
                unless_fault(answered, fault).await
            }
        };
    }
    let envelope = move |body: &mut ReadBody| {
        body.hold_line()?;
        Ok(whole_request::request(method.as_str(), &uri, &body.bytes))
    };
    let (arguments, body) = bodies.read(&head, body, buffers, envelope).await?;
    record.request_bytes = body.bytes.len() as u64;
    adjust_headers(&mut head, Some(body.bytes.len()), client.id);
    answer(gateway, arguments, base, head, client, bodies, record).await
}

/// Has the function answer.
async fn answer(
    gateway: &Arc<Gateway>,
    arguments: Arguments,
    base: Option<usize>,
    mut head: Parts,
    client: Client<'_>,
    bodies: &Bodies,
    record: &mut CallRecord<'_>,
) -> Result<Response<ReplyBody>, Problem> {
    let (is_head, deployment) = (head.method == Method::HEAD, record.deployment);
    let mut call = record.call(Takes::Request, arguments, &mut head);
    if let Some(target) = &mut call.target {
        target.base = base;
    }
    let outcome = gateway.call(deployment, call).await;
    record.answered(&outcome);
    let response = stream_answer::of_outcome(outcome, deployment, HTTP_FUNCTION, client, bodies).await?;
    Ok(if is_head { with_unknown_length(response) } else { response })
}

/// The answer; or the fault of the client that comes before, while it sends the body. An answer that begins before the
/// body has ended breaks off with it.
async fn unless_fault(
    answered: impl Future<Output = Result<Response<ReplyBody>, Problem>>,
    mut fault: Fault,
) -> Result<Response<ReplyBody>, Problem> {
    let mut answered = pin!(answered);
    let response = tokio::select! {
        biased;
        fault = &mut fault => match fault {
            Ok(problem) => return Err(problem),
            // The body ended without one.
            Err(_) => return answered.await,
        },
        response = &mut answered => response?,
    };
    Ok(response.map(|body| tied(body, fault)))
}

/// A place for the body to follow the call piece by piece, if it may: the function takes it so, and no plugin looks at
/// it.
fn upload_place(deployment: &Deployment, head: &Parts, body: &Incoming) -> Option<UploadPlace> {
    if !lookup::may_be_taken_in_pieces(head, body) {
        return None;
    }
    if deployment.chain_of(HTTP_FUNCTION).is_some_and(|chain| chain.uses_arguments()) {
        return None;
    }
    deployment.pool()?.open_upload(HTTP_FUNCTION)
}

fn check(gateway: &Gateway, deployment: &Deployment, head: &Parts, body: &Incoming) -> Result<(), Problem> {
    if head.method == Method::TRACE {
        // TRACE would echo headers, which may hold credentials.
        return Err(Problem::new(Code::MethodNotAllowed, "functions do not answer TRACE").allowing(METHODS));
    }
    if asks_for_websocket(&head.headers) {
        // Passed on as a GET, it would be answered with anything but what its client waits for.
        return Err(Problem::new(Code::NotImplemented, "WebSockets are not passed on to functions and web apps"));
    }
    lookup::check_call(gateway, deployment, HTTP_FUNCTION, Takes::Request, head, body)
}

fn asks_for_websocket(headers: &HeaderMap) -> bool {
    let has = |name: HeaderName, wanted: &[u8]| {
        let items = headers.get_all(name).into_iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        // A protocol may have a version behind a slash.
        items
            .map(|item| item.split(|byte| *byte == b'/').next().unwrap_or_default().trim_ascii())
            .any(|item| item.eq_ignore_ascii_case(wanted))
    };
    headers.contains_key(UPGRADE) && has(UPGRADE, b"websocket") && has(CONNECTION, b"upgrade")
}

/// Makes the headers describe what the function gets: a body of this length that is no longer compressed, `host` for
/// HTTP/2 too, and the request id.
fn adjust_headers(head: &mut Parts, length: Option<usize>, id: &HeaderValue) {
    if let Some(length) = length
        && (head.headers.remove(CONTENT_ENCODING).is_some() || head.headers.contains_key(CONTENT_LENGTH))
    {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    // HTTP/2 clients send the host as `:authority`, which hyper puts into the URI.
    let authority = head.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    if let (Some(host), false) = (authority, head.headers.contains_key(HOST)) {
        head.headers.insert(HOST, host);
    }
    head.headers.insert(request_id::HEADER, id.clone());
}

fn uri_of(path: &str, query: Option<&str>) -> String {
    let path = if path.is_empty() { "/" } else { path };
    query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
}

/// Replaces an empty body by one of unknown length. A function may leave the body out for HEAD, so `content-length: 0`
/// would be wrong about the answer to GET.
fn with_unknown_length(response: Response<ReplyBody>) -> Response<ReplyBody> {
    response.map(|body| match body {
        ReplyBody::Full(None) => {
            let empty = futures_util::stream::empty::<Result<Bytes, Infallible>>();
            ReplyBody::Streamed(axum::body::Body::from_stream(empty))
        }
        body => body,
    })
}
