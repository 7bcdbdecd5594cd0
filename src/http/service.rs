//! One request from hyper to its answer: its id, its route, and an answer even when a handler panics. Files and the
//! API are left to `other_routes`.

mod other_routes;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures_util::FutureExt;
use http::header::{CONNECTION, CONTENT_LENGTH, ORIGIN};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, Version};
use hyper::body::Incoming;
use tracing::Instrument;

use crate::gateway::Gateway;
use crate::http::api::call_from_page;
use crate::http::bodies::Bodies;
use crate::http::buffers::Held;
use crate::http::call::lookup::Client;
use crate::http::call::observers::Observers;
use crate::http::call::{invoke, routed, whole_request};
use crate::http::client_certificate;
use crate::http::client_connection::{ClientConnection, Place};
use crate::http::connection::head::{self, HEADER_COUNT, HEADERS_LIMIT, URI_LIMIT};
use crate::http::forwarded::{ProxyClient, TrustedProxies};
use crate::http::front::{Entry, Front, Taken, cors};
use crate::http::mcp;
use crate::http::path::{self, Target};
use crate::http::problem::{self, Code, Problem};
use crate::http::reply_body::ReplyBody;
use crate::http::request_body;
use crate::http::request_id;
use crate::http::response_headers::{self, After};
use crate::invocation::trace_context::TraceId;
use crate::supervise;

/// `Retry-After` when there are too many connections.
const CONNECTIONS_RETRY: Duration = Duration::from_secs(1);

/// Answers the requests of one listener.
pub struct Service {
    gateway: Arc<Gateway>,
    router: Router,
    /// Whether functions can be called and files read on this listener.
    serves_calls: bool,
    bodies: Arc<Bodies>,
    proxies: TrustedProxies,
    front: Arc<Front>,
    observers: Arc<Observers>,
    /// Whether plugins and functions see the subjects of clients' certificates.
    shows_certificates: bool,
    tools: Option<Arc<mcp::server::Server>>,
}

impl Service {
    /// Serves the routes of `router`, and calls if `serves_calls`.
    #[must_use]
    pub fn new(
        gateway: Arc<Gateway>,
        router: Router,
        serves_calls: bool,
        bodies: Arc<Bodies>,
        proxies: TrustedProxies,
        front: Arc<Front>,
    ) -> Self {
        let observers = Arc::default();
        Self {
            gateway,
            router,
            serves_calls,
            bodies,
            proxies,
            front,
            observers,
            shows_certificates: false,
            tools: None,
        }
    }

    /// With these looking at each call.
    #[must_use]
    pub fn with_observers(self, observers: Arc<Observers>) -> Self {
        Self { observers, ..self }
    }

    /// With a header for the subject of the client's certificate, if there may be one.
    #[must_use]
    pub fn with_certificates(self, shows_certificates: bool) -> Self {
        Self { shows_certificates, ..self }
    }

    /// With functions as tools, where the configuration wants that.
    #[must_use]
    pub fn with_tools(self, tools: Arc<mcp::server::Server>) -> Self {
        Self { tools: Some(tools), ..self }
    }

    fn client<'a>(&'a self, id: &'a HeaderValue, connection: &'a ClientConnection) -> Client<'a> {
        Client { id, connection, observers: &self.observers, route: None }
    }

    /// The proxies that are believed about their clients.
    #[must_use]
    pub fn proxies(&self) -> &TrustedProxies {
        &self.proxies
    }

    /// Answers a client's request.
    pub async fn answer(&self, mut request: Request<Incoming>, client: &ClientConnection) -> Response<ReplyBody> {
        let is_head = *request.method() == Method::HEAD;
        let id = request_id::of(request.headers());
        let span = match self.begin_trace(&mut request) {
            Some(trace) => tracing::info_span!("request", request_id = request_id::text(&id), trace_id = %trace),
            None => tracing::debug_span!("request", request_id = request_id::text(&id)),
        };
        let answer = AssertUnwindSafe(self.answer_held(request, &id, client)).catch_unwind().instrument(span).await;
        let mut response = match answer {
            Ok(Ok(response)) => response,
            Ok(Err(problem)) => {
                report_refusal(&problem, &id);
                problem.into_response(request_id::text(&id))
            }
            Err(_) => {
                tracing::error!(request_id = request_id::text(&id), "handler of a request panicked");
                Problem::new(Code::Internal, "the gateway failed").into_response(request_id::text(&id))
            }
        };
        let after = if self.gateway.ends_connections() || client.place == Place::Reserved {
            After::Close
        } else {
            After::Continue
        };
        response_headers::set(response.headers_mut(), id, after);
        if is_head { without_content(response) } else { response }
    }

    /// Gives a request its place in a trace, where there are traces. Returns the trace if it is recorded.
    fn begin_trace(&self, request: &mut Request<Incoming>) -> Option<TraceId> {
        let begun = self.observers.tracer.as_ref()?.begin(request.headers());
        let recorded = begun.context.is_sampled.then_some(begun.context.trace);
        request.extensions_mut().insert(begun);
        recorded
    }

    /// Routes a request, and counts its answer in the budgets until it is written.
    async fn answer_held(
        &self,
        mut request: Request<Incoming>,
        id: &HeaderValue,
        client: &ClientConnection,
    ) -> Result<Response<ReplyBody>, Problem> {
        supervise::panic_point("request");
        if self.shows_certificates {
            client_certificate::set_header(request.headers_mut(), client.subject.as_ref());
        }
        let behind_proxy = self.client_behind_proxy(&mut request, client).map_err(Problem::closing)?;
        let client = behind_proxy.as_deref().unwrap_or(client);
        check_head(&request)?;
        let entry = if self.serves_calls { self.front.find(&request) } else { None };
        let answer = match entry {
            // Boxed: it would enlarge the future of every request.
            Some(entry) => Box::pin(self.answer_in_front(entry, request, id, client)).await,
            None => self.route(request, id, client).await,
        };
        let (head, body) = answer?.into_parts();
        let ReplyBody::Full(Some(bytes)) = body else { return Ok(Response::from_parts(head, body)) };
        Ok(Response::from_parts(head, ReplyBody::full(Held::answer(&client.buffers, bytes)?)))
    }

    /// Answers a request for which the front has something.
    async fn answer_in_front(
        &self,
        entry: Box<Entry>,
        request: Request<Incoming>,
        id: &HeaderValue,
        connection: &ClientConnection,
    ) -> Result<Response<ReplyBody>, Problem> {
        let Entry { taken, mut cors } = *entry;
        let origin = request.headers().get(ORIGIN).cloned();
        if let Taken::OfCall(call) = taken {
            let Some(origin) = &origin else { return self.answer_without_origin(request, id, connection).await };
            cors = self.front.policy_of_call(self.deployment_of_call(call).await.as_deref(), origin);
        }
        let Some(cors) = cors else { return self.take(taken, request, id, connection).await };
        let is_preflight = cors::is_preflight(request.method(), request.headers());
        let answer = if is_preflight && !self.gateway.is_draining() && connection.place != Place::Reserved {
            let (head, body) = request.into_parts();
            let answer = cors.preflight(&head.headers);
            self.front.count_preflight(answer.is_ok());
            answer_unread(&head, body, answer).await
        } else {
            self.take(taken, request, id, connection).await
        };
        let mut response = answer.unwrap_or_else(|problem| {
            report_refusal(&problem, id);
            problem.into_response(request_id::text(id))
        });
        cors.set_headers(origin.as_ref(), is_preflight, response.headers_mut());
        Ok(response)
    }

    /// Has the route that takes a request answer it, if there is one.
    async fn take(
        &self,
        taken: Taken,
        request: Request<Incoming>,
        id: &HeaderValue,
        connection: &ClientConnection,
    ) -> Result<Response<ReplyBody>, Problem> {
        let answer = match taken {
            Taken::No | Taken::OfCall(_) => return self.route(request, id, connection).await,
            _ if self.gateway.is_draining() => return Err(problem::draining()),
            _ if connection.place == Place::Reserved => return Err(too_many_connections()),
            Taken::By(route) => {
                let client = self.client(id, connection);
                return routed::serve(&self.gateway, &route, request, client, &self.bodies).await;
            }
            Taken::Refused(problem) => Err(problem),
            Taken::Methods(methods) => Ok(problem::methods(&methods)),
        };
        let (head, body) = request.into_parts();
        answer_unread(&head, body, answer).await
    }

    /// The client of a request that a trusted proxy passes on, if it is not the connection's own. Boxed: the futures
    /// of other requests need not hold it.
    fn client_behind_proxy(
        &self,
        request: &mut Request<Incoming>,
        connection: &ClientConnection,
    ) -> Result<Option<Box<ClientConnection>>, Problem> {
        if self.proxies.is_empty() {
            return Ok(None);
        }
        let ProxyClient { address, is_https } = self.proxies.client_of(connection.peer, request.headers_mut())?;
        let is_own = address == connection.peer.to_canonical() && !is_https;
        if !is_own {
            tracing::debug!(client = %address, proxy = %connection.peer, is_https, "request through a trusted proxy");
        }
        Ok((!is_own).then(|| Box::new(connection.of_client(address, is_https || connection.is_https))))
    }

    async fn route(
        &self,
        request: Request<Incoming>,
        id: &HeaderValue,
        connection: &ClientConnection,
    ) -> Result<Response<ReplyBody>, Problem> {
        let uri = request.uri().clone();
        let target = match path::parse(uri.path()) {
            Ok(target) => target,
            Err(problem) => {
                let (head, body) = request.into_parts();
                // Boxed: it would enlarge the future of every request.
                return Err(Box::pin(request_body::refuse(&head, body, problem)).await);
            }
        };
        // Requests of health checks and of the admin API are served until the end.
        let is_call = !matches!(target, Target::Other) || uri.path().starts_with(call_from_page::PREFIX);
        match connection.place {
            _ if is_call && self.gateway.is_draining() => return Err(problem::draining()),
            Place::Reserved if is_call || !is_for_operators(uri.path()) => return Err(too_many_connections()),
            Place::Reserved | Place::Ordinary => {}
        }
        match target {
            Target::Call(address) if self.serves_calls => {
                let client = self.client(id, connection);
                invoke::call(&self.gateway, address, request, client, &self.bodies).await
            }
            Target::Http(address) if self.serves_calls => {
                let client = self.client(id, connection);
                whole_request::serve(&self.gateway, address, request, client, &self.bodies).await
            }
            Target::Static(address) if self.serves_calls => {
                Box::pin(self.serve_file(&address, request, self.client(id, connection))).await
            }
            Target::Tools(address) if self.serves_calls && self.offers_tools(address.as_ref()) => {
                let client = self.client(id, connection);
                Box::pin(self.serve_tools(address.as_ref(), request, client)).await
            }
            Target::Tools(_) | Target::Other
                if self.serves_calls && path::is_below(uri.path(), self.gateway.prefix.as_str()) =>
            {
                Box::pin(self.answer_nowhere(uri.path(), request, id, connection)).await
            }
            Target::Call(_) | Target::Http(_) | Target::Static(_) | Target::Tools(_) | Target::Other => {
                self.route_to_api(request, id, connection).await
            }
        }
    }
}

/// Gives an answer to a request whose body is not wanted.
async fn answer_unread(
    head: &Parts,
    body: Incoming,
    answer: Result<Response<ReplyBody>, Problem>,
) -> Result<Response<ReplyBody>, Problem> {
    if request_body::drop_unread(head, body).await {
        return answer;
    }
    let mut response = answer.map_err(Problem::closing)?;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(response)
}

fn report_refusal(problem: &Problem, id: &HeaderValue) {
    tracing::debug!(request_id = request_id::text(id), code = problem.code().as_str(), "refused a request");
}

/// Whether an address is for the operators of the gateway: health, metrics, the API.
fn is_for_operators(path: &str) -> bool {
    ["/healthz", "/readyz", "/metrics"].contains(&path) || path.starts_with("/api/")
}

/// The answer when all connections are taken.
pub(crate) fn too_many_connections() -> Problem {
    Problem::new(Code::Overloaded, "too many connections (max_connections)").retry_after(CONNECTIONS_RETRY).closing()
}

/// Refuses what is wrong at every address.
fn check_head(request: &Request<Incoming>) -> Result<(), Problem> {
    if request.uri().path_and_query().is_some_and(|target| target.as_str().len() > URI_LIMIT) {
        return Err(Problem::new(Code::UriTooLong, format!("an address of more than {URI_LIMIT} bytes")));
    }
    if request.version() == Version::HTTP_2 {
        check_h2_head(request)?;
    }
    if *request.method() == Method::CONNECT {
        let problem = Problem::new(Code::MethodNotAllowed, "the gateway is not a proxy");
        return Err(problem.allowing("GET, HEAD, POST, OPTIONS").closing());
    }
    Ok(())
}

/// The checks of heads that `connection::head` makes for HTTP/1.
fn check_h2_head(request: &Request<Incoming>) -> Result<(), Problem> {
    if request.uri().authority().is_none() {
        return Err(Problem::new(Code::BadRequest, "no host"));
    }
    // RFC 9113, section 10.5.1: a field counts with 32 bytes in addition to its name and value.
    let size: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
    if request.headers().len() > HEADER_COUNT || size > HEADERS_LIMIT {
        return Err(head::headers_too_large());
    }
    Ok(())
}

/// The answer to HEAD. hyper drops the body for HTTP/1, but not for HTTP/2.
fn without_content(response: Response<ReplyBody>) -> Response<ReplyBody> {
    let (mut head, body) = response.into_parts();
    let (length, body) = body.without_content();
    if let Some(length) = length {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(head, body)
}
