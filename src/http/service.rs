//! One request from hyper to its answer: its id, its route, and an answer even when something panics.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use futures_util::FutureExt;
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, Version};
use hyper::body::Incoming;
use tower::ServiceExt;
use tracing::Instrument;

use crate::gateway::Gateway;
use crate::http::body::ReplyBody;
use crate::http::call::lookup::Client;
use crate::http::call::{invoke, whole_request};
use crate::http::error::{Code, Problem};
use crate::http::head::{self, HEADER_COUNT, HEADERS_LIMIT, URI_LIMIT};
use crate::http::path::{self, Target};
use crate::http::request_body::{self, BodyLimits};
use crate::http::request_id;
use crate::http::static_files;
use crate::http::streamed_body;

/// Where packages are uploaded, which may be longer than other bodies.
const STREAMED_PATH: &str = "/api/package/create";
/// How much of a package that is refused is read over on a stream of HTTP/2.
const UNWANTED_BYTES: usize = 256 * 1024 * 1024;

/// What serves the requests of one listener.
pub struct Service {
    gateway: Arc<Gateway>,
    router: Router,
    /// Whether functions can be called and files be read here.
    calls: bool,
    body_limits: BodyLimits,
}

impl Service {
    /// Serves calls, if `calls`, and what `router` has.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, router: Router, calls: bool, body_limits: BodyLimits) -> Self {
        Self { gateway, router, calls, body_limits }
    }

    /// Answers a client's request.
    pub async fn answer(&self, request: Request<Incoming>, peer: IpAddr) -> Response<ReplyBody> {
        let is_head = *request.method() == Method::HEAD;
        let id = request_id::of(request.headers());
        let span = tracing::debug_span!("request", request_id = request_id::text(&id));
        let answer = AssertUnwindSafe(self.route(request, &id, peer)).catch_unwind().instrument(span).await;
        let mut response = match answer {
            Ok(Ok(response)) => response,
            Ok(Err(problem)) => {
                tracing::debug!(request_id = request_id::text(&id), code = problem.code().as_str(), "not answered");
                problem.into_response(request_id::text(&id))
            }
            Err(_) => {
                tracing::error!(request_id = request_id::text(&id), "a request panicked");
                Problem::new(Code::Internal, "the gateway failed").into_response(request_id::text(&id))
            }
        };
        if self.gateway.is_draining() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response.headers_mut().insert(request_id::HEADER, id);
        if is_head { without_content(response) } else { response }
    }

    async fn route(
        &self,
        request: Request<Incoming>,
        id: &HeaderValue,
        peer: IpAddr,
    ) -> Result<Response<ReplyBody>, Problem> {
        if request.uri().path_and_query().is_some_and(|target| target.as_str().len() > URI_LIMIT) {
            return Err(Problem::new(Code::UriTooLong, format!("an address of more than {URI_LIMIT} bytes")));
        }
        if request.version() == Version::HTTP_2 {
            check_h2_head(&request)?;
        }
        if *request.method() == Method::CONNECT {
            let problem = Problem::new(Code::MethodNotAllowed, "the gateway is no proxy");
            return Err(problem.allowing("GET, POST").closing());
        }
        let uri = request.uri().clone();
        match path::parse(uri.path())? {
            Target::Call(address) if self.calls => {
                let client = Client { id, peer };
                invoke::call(&self.gateway, address, request, client, self.body_limits).await
            }
            Target::Http(address) if self.calls => {
                let client = Client { id, peer };
                whole_request::serve(&self.gateway, address, request, client, self.body_limits).await
            }
            Target::Static(address) if self.calls => {
                static_files::file(&self.gateway, &address, request.method(), request.headers(), id).await
            }
            Target::Call(_) | Target::Http(_) | Target::Static(_) | Target::Other => self.ask_router(request, id).await,
        }
    }

    async fn ask_router(&self, request: Request<Incoming>, id: &HeaderValue) -> Result<Response<ReplyBody>, Problem> {
        let (mut head, body) = request.into_parts();
        head.headers.insert(request_id::HEADER, id.clone());
        if head.method == Method::POST && head.uri.path() == STREAMED_PATH {
            return Ok(self.ask_router_streaming(head, body).await);
        }
        let body = request_body::read(&head, body, self.body_limits).await?;
        let Ok(response) = self.router.clone().oneshot(Request::from_parts(head, axum::body::Body::from(body))).await;
        Ok(response.map(ReplyBody::Streamed))
    }

    /// Lets the router read the body as it comes. An answer that it gives before the body's end ends an HTTP/1 connection.
    async fn ask_router_streaming(&self, head: Parts, body: Incoming) -> Response<ReplyBody> {
        let version = head.version;
        let (body, unread) = streamed_body::streamed(body, self.body_limits.stall);
        let request = Request::from_parts(head, axum::body::Body::new(body));
        let Ok(mut response) = self.router.clone().oneshot(request).await;
        if let Some(rest) = unread.take() {
            if version == Version::HTTP_2 {
                request_body::discard(rest, UNWANTED_BYTES).await;
            } else {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
        }
        response.map(ReplyBody::Streamed)
    }
}

/// What `head` checks of HTTP/1's heads.
fn check_h2_head(request: &Request<Incoming>) -> Result<(), Problem> {
    if request.uri().authority().is_none() {
        return Err(Problem::new(Code::BadRequest, "no host"));
    }
    // RFC 9113, section 10.5.1: a field counts with 32 bytes beside its texts.
    let size: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
    if request.headers().len() > HEADER_COUNT || size > HEADERS_LIMIT {
        return Err(head::headers_too_large());
    }
    Ok(())
}

/// The answer to HEAD: HTTP/1 would drop the body by itself, HTTP/2 would not.
fn without_content(response: Response<ReplyBody>) -> Response<ReplyBody> {
    let (mut head, body) = response.into_parts();
    let (length, body) = body.without_content();
    if let Some(length) = length {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(head, body)
}
