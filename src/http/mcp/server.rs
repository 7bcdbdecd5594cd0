//! Answers the messages of clients: discovery, lists of tools, calls of tools.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, ORIGIN};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::Map;

use crate::config::Describe;
use crate::describe::tool_output::ToolOutput;
use crate::describe::tools::ReleaseTools;
use crate::gateway::Gateway;
use crate::http::api::access::{Access, Peer};
use crate::http::api::caller::Need;
use crate::http::bodies::Bodies;
use crate::http::buffers::SMALL;
use crate::http::call::lookup::{self, Client};
use crate::http::front::Front;
use crate::http::mcp::answers::{accepted, completed, failed, kept, message, not_loaded, unauthorized};
use crate::http::mcp::asked::Asked;
use crate::http::mcp::catalog::{self, Catalogs, Found, Page};
use crate::http::mcp::message::{BadMessage, Message, Params};
use crate::http::mcp::progress;
use crate::http::mcp::revision::Revision;
use crate::http::mcp::rpc_error::RpcError;
use crate::http::mcp::tool_call::{Called, ToolCall};
use crate::http::mcp::tool_result::{CallAnswer, ToolResult};
use crate::http::path::{self, ToolsAddress};
use crate::http::problem::{self, Code, Problem};
use crate::http::reply_body::ReplyBody;
use crate::http::request_body::{self, ReadBody};
use crate::http::request_id;
use crate::http::web_pages;
use crate::registry::Deployment;

const EVENTS: &str = "text/event-stream";
const METHODS: &str = "POST, OPTIONS";
const TRACE: HeaderName = HeaderName::from_static("traceparent");
/// Most characters of a name that an error repeats.
const SHOWN: usize = 256;

/// The tools of a gateway.
#[derive(Debug)]
pub struct Server {
    access: Access,
    front: Arc<Front>,
    catalogs: Catalogs,
}

impl Server {
    /// The tools whose lists are for those who have this access.
    #[must_use]
    pub fn new(access: Access, front: Arc<Front>) -> Self {
        Self { access, front, catalogs: Catalogs::default() }
    }

    /// Whether there are tools at an address.
    #[must_use]
    pub fn offers(&self, address: Option<&ToolsAddress<'_>>) -> bool {
        let settings = self.front.mcp();
        address.map_or(settings.enabled, |address| settings.offers(&address.name))
    }

    /// Answers a request to an address of tools.
    ///
    /// # Errors
    ///
    /// What is wrong with the request before its body is read, or with the body.
    pub async fn serve(
        &self,
        gateway: &Arc<Gateway>,
        address: Option<&ToolsAddress<'_>>,
        request: Request<Incoming>,
        client: Client<'_>,
        bodies: &Bodies,
    ) -> Result<Response<ReplyBody>, Problem> {
        let (mut head, body) = request.into_parts();
        let deployment = match self.check(gateway, address, &head) {
            Ok(deployment) => deployment,
            Err(problem) => return Err(request_body::refuse(&head, body, problem).await),
        };
        if head.method == Method::OPTIONS {
            request_body::drop_unread(&head, body).await;
            return Ok(problem::methods(METHODS));
        }
        let read = |body: &mut ReadBody| Ok(Message::read(&body.bytes));
        let (message, body) = bodies.read(&head, body, &client.connection.buffers, read).await?;
        // What is held of the body counts in the budgets until the call has ended.
        let _held = body.into_held();
        head.extensions.insert(Peer(client.connection.peer));
        head.extensions.insert(Arc::clone(&client.connection.program));
        let asked = Asked { gateway, deployment, settings: self.front.mcp(), client, bodies };
        match message {
            Ok(message) => self.answer(&asked, message, head).await,
            Err(BadMessage { id, error }) => {
                let status = error.status;
                Ok(error.into_response(id.as_deref(), status))
            }
        }
    }

    /// Checks what the head of a request shows. Returns the deployment that it is for; none for all.
    fn check(
        &self,
        gateway: &Gateway,
        address: Option<&ToolsAddress<'_>>,
        head: &Parts,
    ) -> Result<Option<Arc<Deployment>>, Problem> {
        if !matches!(head.method, Method::POST | Method::OPTIONS) {
            let message = format!("tools are called with POST, not {}", head.method);
            return Err(Problem::new(Code::MethodNotAllowed, message).allowing(METHODS));
        }
        // A page of another origin, or of a name that an attacker has pointed here, would act for its reader.
        if let Some(origin) = head.headers.get(ORIGIN) {
            let is_own = web_pages::is_of_own_page(&head.uri, &head.headers)
                && !web_pages::may_be_rebound(&head.uri, &head.headers);
            if !is_own && !self.front.permits(origin, head.uri.path()) {
                let message =
                    "pages of this origin may not use tools: \"origins\" of [server.cors] lists those that may";
                return Err(Problem::new(Code::Forbidden, message));
            }
        }
        let deployment = match address {
            Some(ToolsAddress { prefix, name, version }) => {
                Some(lookup::deployment_at(gateway, prefix, name, version)?)
            }
            None => None,
        };
        let kind = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let essence = kind.split(';').next().unwrap_or_default().trim();
        if head.method == Method::POST && !essence.eq_ignore_ascii_case("application/json") {
            let message = format!("a message has the content type application/json, not {essence:?}");
            return Err(Problem::new(Code::UnsupportedMediaType, message));
        }
        Ok(deployment)
    }

    async fn answer(&self, asked: &Asked<'_>, message: Message, head: Parts) -> Result<Response<ReplyBody>, Problem> {
        let revision = match Revision::of(&message, &head.headers) {
            Ok(revision) => revision,
            Err(error) => {
                let status = error.status;
                return Ok(error.into_response(message.id.as_deref(), status));
            }
        };
        let Message { id, method, params } = message;
        let Some(id) = id else { return Ok(accepted()) };
        let answered = match (method.as_str(), revision) {
            ("tools/call", _) => return self.call(asked, revision, &id, params, head).await,
            ("tools/list", _) => self.list(asked, revision, &params, &head).await?,
            ("server/discover", Revision::Stateless) => Ok(asked.discovered()),
            ("initialize", Revision::WithHandshake) => asked.initialized(&params),
            ("ping", Revision::WithHandshake) => Ok(String::new()),
            _ => {
                let message = format!("no method {:?}", method.chars().take(80).collect::<String>());
                Err(RpcError::new(StatusCode::NOT_FOUND, RpcError::METHOD_NOT_FOUND, message))
            }
        };
        Ok(match answered {
            Ok(members) => completed(&id, revision, &members, Map::new()),
            Err(error) => failed(&id, revision, error),
        })
    }

    /// A page of the tools that the client may see, as members of a result.
    async fn list(
        &self,
        asked: &Asked<'_>,
        revision: Revision,
        params: &Params,
        head: &Parts,
    ) -> Result<Result<String, RpcError>, Problem> {
        let catalog = self.catalogs.current(asked.gateway, asked.bodies).await?;
        let releases: Vec<&Arc<ReleaseTools>> = match &asked.deployment {
            Some(deployment) => match catalog.of(deployment.name.as_str()) {
                Some(release) => vec![release],
                None => return Ok(Err(not_loaded(deployment))),
            },
            None => {
                let all = catalog.releases().iter();
                all.filter(|release| asked.settings.offers(release.deployment.as_str())).collect()
            }
        };
        let shown = match self.shown(&releases, head).await {
            Ok(shown) => shown,
            Err(problem) => return Ok(Err(RpcError::of_problem(&problem))),
        };
        let is_one = asked.deployment.is_some();
        let tools = shown.iter().flat_map(|release| &release.tools);
        let named = tools.map(|tool| (if is_one { &*tool.name } else { &*tool.full_name }, tool)).collect();
        let size = usize::try_from(asked.settings.page_size).unwrap_or(usize::MAX);
        Ok(catalog::page(named, params.cursor.as_deref(), size).map(|Page { tools, next }| {
            // Names of tools, and so cursors, need no escapes.
            let next = next.map_or_else(String::new, |next| format!(r#","nextCursor":"{next}""#));
            format!(r#""tools":{tools}{next}{}"#, kept(revision, "private"))
        }))
    }

    /// Those of the releases whose descriptions the client may read.
    async fn shown<'a>(
        &self,
        releases: &[&'a Arc<ReleaseTools>],
        head: &Parts,
    ) -> Result<Vec<&'a Arc<ReleaseTools>>, Problem> {
        let (public, others): (Vec<&Arc<ReleaseTools>>, Vec<_>) = releases
            .iter()
            .copied()
            .partition(|release| self.front.describe(Some(release.deployment.as_str())) == Describe::Public);
        let Some(first) = others.first() else { return Ok(public) };
        let reader = match self.access.reader(head).await {
            Ok(reader) => reader,
            // What everybody may read needs no token, and one in the request may be a plugin's.
            Err(problem) => return if public.is_empty() { Err(problem) } else { Ok(public) },
        };
        let may_read = |release: &ReleaseTools| reader.may(Need::ReadOf(release.deployment.as_str()));
        if public.is_empty() && !others.iter().any(|release| may_read(release)) {
            reader.check(Need::ReadOf(first.deployment.as_str()))?;
        }
        let is_public = |release: &&&Arc<ReleaseTools>| public.iter().any(|one| Arc::ptr_eq(one, release));
        Ok(releases.iter().filter(|one| is_public(one) || may_read(one)).copied().collect())
    }

    async fn call(
        &self,
        asked: &Asked<'_>,
        revision: Revision,
        id: &str,
        params: Params,
        mut head: Parts,
    ) -> Result<Response<ReplyBody>, Problem> {
        let Some(name) = params.name else {
            let error = RpcError::invalid_params("\"name\" is the name of a tool");
            return Ok(failed(id, revision, error));
        };
        let catalog = self.catalogs.current(asked.gateway, asked.bodies).await?;
        let Some((deployment, found)) = asked.find(&catalog, &name) else {
            let message = format!("unknown tool: {:?}", name.chars().take(SHOWN).collect::<String>());
            return Ok(failed(id, revision, RpcError::invalid_params(&message)));
        };
        if self.access.has_token(&head.headers) {
            // It is for the list of tools. Functions and plugins never see it.
            head.headers.remove(AUTHORIZATION);
        }
        if let Some(trace) = params.trace.and_then(|trace| HeaderValue::from_str(&trace).ok()) {
            head.headers.entry(TRACE).or_insert(trace);
        }
        let function = found.as_ref().map_or(name.as_str(), |found| &found.tool().function);
        let uri =
            format!("metagate:{}", path::of_call(asked.gateway.prefix.as_str(), deployment.name.as_str(), function));
        let arguments = params.arguments.unwrap_or_else(|| Bytes::from_static(b"{}"));
        let takes_events =
            head.headers.get_all(ACCEPT).iter().any(|kinds| kinds.to_str().is_ok_and(|kinds| kinds.contains(EVENTS)));
        let token = params.progress_token.filter(|_| takes_events);
        let shows_progress = token.is_some();
        let call = ToolCall { deployment: &deployment, found: found.as_ref(), function, arguments, shows_progress };
        let called = call.run(asked.gateway, head, asked.client, asked.bodies).await;
        let answer = match called {
            Called::Answer(answer) => answer,
            Called::Items(items) => {
                let (id, request_id) = (Box::<str>::from(id), request_id::text(asked.client.id).to_owned());
                let finish = move |whole: Result<Bytes, Problem>| {
                    let whole = whole.map(CallAnswer::of_items);
                    let answer = whole.unwrap_or_else(|problem| CallAnswer::of_problem(problem, &request_id));
                    let result = result_of(answer, found.as_ref(), &uri);
                    message(&id, revision, &result.members, result.meta)
                };
                return Ok(progress::answer(items, token.unwrap_or_default(), finish));
            }
        };
        if answer.status == StatusCode::UNAUTHORIZED {
            return Ok(unauthorized(id, &answer));
        }
        let is_small = answer.body.len() <= SMALL;
        let make = move || Ok(result_of(answer, found.as_ref(), &uri));
        let result = if is_small { make()? } else { asked.bodies.elsewhere(make).await? };
        Ok(completed(id, revision, &result.members, result.meta))
    }
}

/// The result of a tool; of a release that had not loaded nothing is declared.
fn result_of(answer: CallAnswer, found: Option<&Found>, uri: &str) -> ToolResult {
    answer.into_result(found.map_or(&ToolOutput::Undeclared, |found| &found.tool().output), uri)
}
