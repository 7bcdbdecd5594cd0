//! Answers the messages of clients. What each method does is left to others.

use std::sync::Arc;

use http::header::{CONTENT_TYPE, ORIGIN};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::{Map, Value};

use crate::gateway::Gateway;
use crate::http::api::access::{Access, Peer};
use crate::http::bodies::Bodies;
use crate::http::call::lookup::{self, Client};
use crate::http::front::Front;
use crate::http::mcp::answers::{accepted, completed, failed};
use crate::http::mcp::asked::Asked;
use crate::http::mcp::calling::CallRequest;
use crate::http::mcp::catalog::Catalogs;
use crate::http::mcp::client_answers::ClientAnswers;
use crate::http::mcp::listing::Resources;
use crate::http::mcp::message::{BadMessage, Message, Received};
use crate::http::mcp::offer::Offer;
use crate::http::mcp::request_states::RequestStates;
use crate::http::mcp::revision::Revision;
use crate::http::mcp::rpc_error::RpcError;
use crate::http::mcp::sessions::{self, SESSION};
use crate::http::mcp::{completion, listing};
use crate::http::path::ToolsAddress;
use crate::http::problem::{self, Code, Problem};
use crate::http::reply_body::ReplyBody;
use crate::http::request_body::{self, ReadBody};
use crate::http::web_pages;
use crate::registry::Deployment;

const METHODS: &str = "POST, OPTIONS";

/// The tools of a gateway.
#[derive(Debug)]
pub struct Server(Offer);

impl Server {
    /// The tools whose lists are for those who have this access.
    #[must_use]
    pub fn new(access: Access, front: Arc<Front>) -> Self {
        Self(Offer {
            access,
            front,
            catalogs: Catalogs::default(),
            states: RequestStates::default(),
            answers: ClientAnswers::default(),
        })
    }

    /// Whether there are tools at an address.
    #[must_use]
    pub fn offers(&self, address: Option<&ToolsAddress<'_>>) -> bool {
        let settings = self.0.front.mcp();
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
        bodies: &Arc<Bodies>,
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
        let read = |body: &mut ReadBody| Ok(Received::read(&body.bytes));
        let (message, body) = bodies.read(&head, body, &client.connection.buffers, read).await?;
        // What is held of the body counts in the budgets until the call, or the questions of its function, have ended.
        let held = Arc::new(body.into_held());
        head.extensions.insert(Peer(client.connection.peer));
        head.extensions.insert(Arc::clone(&client.connection.program));
        let asked = Asked { offer: &self.0, gateway, deployment, settings: self.0.front.mcp(), client, held, bodies };
        match message {
            Ok(Received::Message(message)) => answer(&asked, *message, head).await,
            Ok(Received::Answer { id, result }) => Ok(self.take_answer(&id, result)),
            Err(BadMessage { id, error }) => {
                let status = error.status;
                Ok(error.into_response(id.as_deref(), status))
            }
        }
    }

    /// Takes the answer to a question of this id.
    fn take_answer(&self, id: &str, result: Value) -> Response<ReplyBody> {
        if self.0.answers.give(id, result) {
            return accepted();
        }
        let error = RpcError::invalid_request("no question of this id waits for an answer");
        let status = error.status;
        error.into_response(Some(&Value::from(id).to_string()), status)
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
            if !is_own && !self.0.front.permits(origin, head.uri.path()) {
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
}

/// Answers a message.
async fn answer(asked: &Asked<'_>, message: Message, head: Parts) -> Result<Response<ReplyBody>, Problem> {
    let revision = match Revision::of(&message, &head.headers) {
        Ok(revision) => revision,
        Err(error) => {
            let status = error.status;
            return Ok(error.into_response(message.id.as_deref(), status));
        }
    };
    let Message { id, method, params } = message;
    let Some(id) = id else { return Ok(accepted()) };
    let (has_prompts, has_resources) = (asked.has_prompts(), asked.has_resources());
    let request = |params, head| CallRequest { asked, revision, id: &id, params, head };
    let session = params.handshake_capabilities.as_ref().filter(|_| method == "initialize").and_then(sessions::begin);
    let answered = match (method.as_str(), revision) {
        ("tools/call", _) => return request(params, head).call_tool().await,
        ("prompts/get", _) if has_prompts => return request(params, head).get_prompt().await,
        ("resources/read", _) if has_resources => return request(params, head).read_resource().await,
        ("tools/list", _) => listing::tools(asked, revision, &params, &head).await?,
        ("prompts/list", _) if has_prompts => listing::prompts(asked, revision, &params, &head).await,
        ("resources/list", _) if has_resources => {
            listing::resources(asked, revision, &params, &head, Resources::Single).await
        }
        ("resources/templates/list", _) if has_resources => {
            listing::resources(asked, revision, &params, &head, Resources::Templates).await
        }
        ("completion/complete", _) if has_prompts || has_resources => completion::complete(asked, &params, &head).await,
        ("server/discover", Revision::Stateless) => Ok(asked.discovered()),
        ("initialize", Revision::WithHandshake) => asked.initialized(&params),
        ("ping", Revision::WithHandshake) => Ok(String::new()),
        _ => {
            let message = format!("no method {:?}", method.chars().take(80).collect::<String>());
            Err(RpcError::new(StatusCode::NOT_FOUND, RpcError::METHOD_NOT_FOUND, message))
        }
    };
    let mut response = match answered {
        Ok(members) => completed(&id, revision, &members, Map::new()),
        Err(error) => failed(&id, revision, error),
    };
    if let Some(session) = session {
        response.headers_mut().insert(SESSION, session);
    }
    Ok(response)
}
