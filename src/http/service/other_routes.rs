//! The requests that are no calls: files of deployments, and what the router answers.

use std::sync::Arc;

use http::header::CONNECTION;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, Version};
use hyper::body::Incoming;
use tower::ServiceExt;

use crate::http::api::access::Peer;
use crate::http::api::call_from_page::{self, Entrance, ServesCalls};
use crate::http::api::packages::takes_upload;
use crate::http::api::unread_body::UnreadBody;
use crate::http::buffers::{Class, Held};
use crate::http::call::lookup::Client;
use crate::http::client_connection::ClientConnection;
use crate::http::front::cors;
use crate::http::path::{StaticAddress, ToolsAddress};
use crate::http::problem::{Code, Problem};
use crate::http::reply_body::ReplyBody;
use crate::http::request_body;
use crate::http::request_id;
use crate::http::service::Service;
use crate::http::static_files;
use crate::http::streamed_body;
use crate::queue::CallId;

/// Bytes of a refused package that are read and dropped on a stream of HTTP/2.
const UNWANTED_BYTES: usize = 256 * 1024 * 1024;
/// Bytes that a file holds while it is sent: the part that waits, and the one being read.
const STREAM_BUFFER: usize = 128 * 1024;
/// Bytes that an upload holds while it is written to disk: the frames that wait, and its fields.
const UPLOAD_BUFFER: usize = 1024 * 1024;

impl Service {
    /// Answers with a file. The body of the request, if it has one, is left unread.
    pub(super) async fn serve_file(
        &self,
        address: &StaticAddress<'_>,
        request: Request<Incoming>,
        client: Client<'_>,
    ) -> Result<Response<ReplyBody>, Problem> {
        let mut held = Held::nothing(&client.connection.buffers);
        held.grow_to(STREAM_BUFFER, Class::Answer)?;
        let (head, body) = request.into_parts();
        let file = static_files::file(&self.gateway, address, &head, client.id).await;
        let file = file.map(|answer| answer.map(|body| body.guarded(held)));
        if request_body::drop_unread(&head, body).await {
            return file;
        }
        let mut response = file.map_err(Problem::closing)?;
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        Ok(response)
    }

    /// The deployment of an asynchronous call, if that is kept.
    pub(super) async fn deployment_of_call(&self, id: CallId) -> Option<Box<str>> {
        let calls = self.gateway.async_calls().filter(|calls| calls.queue.has_file())?;
        let kept = calls.queue.read(move |database| database.kept(id)).await.ok()?;
        kept.map(|kept| kept.deployment)
    }

    /// Answers a request of no page about an asynchronous call. Caches must not give the answer to a page.
    pub(super) async fn answer_without_origin(
        &self,
        request: Request<Incoming>,
        id: &HeaderValue,
        connection: &ClientConnection,
    ) -> Result<Response<ReplyBody>, Problem> {
        let mut response = self.route_to_api(request, id, connection).await?;
        cors::add_vary(response.headers_mut());
        Ok(response)
    }

    /// Whether an address is one of tools.
    pub(super) fn offers_tools(&self, address: Option<&ToolsAddress<'_>>) -> bool {
        self.tools.as_ref().is_some_and(|tools| tools.offers(address))
    }

    /// Answers a request to the tools of one deployment, or of all.
    pub(super) async fn serve_tools(
        &self,
        address: Option<&ToolsAddress<'_>>,
        request: Request<Incoming>,
        client: Client<'_>,
    ) -> Result<Response<ReplyBody>, Problem> {
        match &self.tools {
            Some(tools) => tools.serve(&self.gateway, address, request, client, &self.bodies).await,
            None => Err(Problem::new(Code::NotFound, "there are no tools here")),
        }
    }

    /// Answers a request for what no deployment has. Next to a web app that is a slip: the answer has its address.
    pub(super) async fn answer_nowhere(
        &self,
        path: &str,
        request: Request<Incoming>,
        id: &HeaderValue,
        connection: &ClientConnection,
    ) -> Result<Response<ReplyBody>, Problem> {
        let name = path.split('/').nth(2).unwrap_or_default();
        let deployment = self.gateway.deployment(name);
        if is_description(path) {
            return self.route_to_api(request, id, connection).await;
        }
        let Some(app) = deployment.and_then(|deployment| self.gateway.address_of_app(&deployment)) else {
            return self.route_to_api(request, id, connection).await;
        };
        let path: String = path.chars().take(200).collect();
        let problem =
            Problem::new(Code::NotFound, format!("nothing is at {path:?}; the web app of {name:?} is at {app}"));
        let (head, body) = request.into_parts();
        Err(request_body::refuse(&head, body, problem).await)
    }

    /// Has the router answer: health, metrics, the API, and what is nowhere.
    pub(super) async fn route_to_api(
        &self,
        request: Request<Incoming>,
        id: &HeaderValue,
        connection: &ClientConnection,
    ) -> Result<Response<ReplyBody>, Problem> {
        let (mut head, body) = request.into_parts();
        head.headers.insert(request_id::HEADER, id.clone());
        head.extensions.insert(Peer(connection.peer));
        head.extensions.insert(Arc::clone(&connection.program));
        head.extensions.insert(Arc::clone(&connection.buffers));
        head.extensions.insert(ServesCalls(self.serves_calls));
        if head.uri.path().starts_with(call_from_page::PREFIX) {
            let (observers, bodies) = (Arc::clone(&self.observers), Arc::clone(&self.bodies));
            head.extensions.insert(Entrance { connection: connection.clone(), observers, bodies });
        }
        if head.method == Method::POST && takes_upload(head.uri.path()) {
            let mut held = Held::nothing(&connection.buffers);
            held.grow_to(UPLOAD_BUFFER, Class::Upload)?;
            return Ok(self.route_upload(head, body).await);
        }
        let unread = UnreadBody::new(body, &connection.buffers);
        head.extensions.insert(unread.clone());
        let request = Request::from_parts(head.clone(), axum::body::Body::empty());
        let Ok(mut response) = self.router.clone().oneshot(request).await;
        if let Some(body) = unread.take()
            && !request_body::drop_unread(&head, body).await
        {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response.map(ReplyBody::Streamed))
    }

    /// Streams the body to the router. An answer before the end of the body closes an HTTP/1 connection.
    async fn route_upload(&self, head: Parts, body: Incoming) -> Response<ReplyBody> {
        let version = head.version;
        let (body, unread) = streamed_body::streamed(body, self.bodies.limits().stall);
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

/// Whether an address below a deployment's is that of its description.
fn is_description(path: &str) -> bool {
    let below = path.splitn(5, '/').nth(4).unwrap_or_default();
    ["openapi.json", "signatures.json", "docs"].contains(&below) || below.starts_with("docs/")
}
