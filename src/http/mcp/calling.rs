//! `tools/call`, `prompts/get` and `resources/read`: calls of functions.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use serde_json::Value;

use crate::describe::prompt;
use crate::http::buffers::SMALL;
use crate::http::mcp::answered::{CalledAs, Pending, no_resource};
use crate::http::mcp::answers::failed;
use crate::http::mcp::asked::{Asked, Named};
use crate::http::mcp::asker::Asker;
use crate::http::mcp::catalog::Found;
use crate::http::mcp::dialogue::{Dialogue, Repeat};
use crate::http::mcp::function_call::{Called, FunctionCall, Given};
use crate::http::mcp::input_required as questions;
use crate::http::mcp::params::Params;
use crate::http::mcp::revision::Revision;
use crate::http::mcp::rpc_error::RpcError;
use crate::http::mcp::{progress, repeated, sessions};
use crate::http::path;
use crate::http::problem::Problem;
use crate::http::reply_body::ReplyBody;
use crate::registry::Deployment;

const EVENTS: &str = "text/event-stream";
const TRACE: HeaderName = HeaderName::from_static("traceparent");
/// Most characters of a name that an error repeats.
const SHOWN: usize = 256;

/// A request for a call.
pub struct CallRequest<'a> {
    /// What is asked.
    pub asked: &'a Asked<'a>,
    /// The revision of the client.
    pub revision: Revision,
    /// The id of the request.
    pub id: &'a str,
    /// How it is asked.
    pub params: Params,
    /// The head of the request.
    pub head: Parts,
}

/// What is called.
struct Target<'a> {
    deployment: &'a Arc<Deployment>,
    function: &'a str,
    given: Given,
    called_as: CalledAs,
}

impl CallRequest<'_> {
    /// Answers `tools/call`.
    ///
    /// # Errors
    ///
    /// `draining` if the gateway stops.
    pub async fn call_tool(mut self) -> Result<Response<ReplyBody>, Problem> {
        let Self { asked, revision, .. } = self;
        let Some(name) = self.params.name.take() else {
            return Ok(self.refuse(RpcError::invalid_params("\"name\" is the name of a tool")));
        };
        let catalog = asked.catalog().await?;
        let Some((deployment, found)) = asked.find(&catalog, &name) else {
            return Ok(self.refuse(unknown("tool", &name)));
        };
        let arguments = self.params.arguments.take().unwrap_or_else(|| Bytes::from_static(b"{}"));
        if let Some(found) = found.as_ref().filter(|_| revision == Revision::Stateless)
            && let Err(error) = check_headers(asked, found, &arguments, &self.head.headers).await?
        {
            return Ok(self.refuse(error));
        }
        let known = found.clone();
        let function = known.as_ref().map_or(name.as_str(), |found| &found.tool().function);
        let called_as = CalledAs::Tool(found.clone(), self.uri_of(&deployment, function));
        let given = Given::Object(arguments, found);
        self.call(Target { deployment: &deployment, function, given, called_as }).await
    }

    /// Answers `prompts/get`.
    ///
    /// # Errors
    ///
    /// `draining` if the gateway stops.
    pub async fn get_prompt(mut self) -> Result<Response<ReplyBody>, Problem> {
        let name = self.params.name.take().unwrap_or_default();
        let Some(prompt) = self.asked.prompt(&name) else {
            return Ok(self.refuse(unknown("prompt", &name)));
        };
        let given = self.params.arguments.take().unwrap_or_else(|| Bytes::from_static(b"{}"));
        let Ok(mut texts) = serde_json::from_slice::<HashMap<String, String>>(&given) else {
            return Ok(self.refuse(RpcError::invalid_params("the arguments of a prompt are texts")));
        };
        // In the order of the function, for runtimes that take no names.
        let known: Vec<String> = prompt::names(&prompt.function).map(str::to_owned).collect();
        let mut pairs: Vec<(String, String)> = known.into_iter().filter_map(|name| texts.remove_entry(&name)).collect();
        pairs.extend(texts);
        let Named { deployment, function, .. } = prompt;
        let called_as = CalledAs::Prompt(self.uri_of(&deployment, &function.name));
        let given = Given::Texts(pairs);
        self.call(Target { deployment: &deployment, function: &function.name, given, called_as }).await
    }

    /// Answers `resources/read`.
    ///
    /// # Errors
    ///
    /// `draining` if the gateway stops.
    pub async fn read_resource(mut self) -> Result<Response<ReplyBody>, Problem> {
        let Some(uri) = self.params.uri.take() else {
            return Ok(self.refuse(RpcError::invalid_params("\"uri\" is the URI of a resource")));
        };
        let found = self.asked.resource(&uri);
        let Some((values, Named { deployment, function, .. })) = found else {
            let error = no_resource(&uri, self.revision);
            return Ok(self.refuse(error));
        };
        let given = Given::Texts(values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
        let called_as = CalledAs::Resource(uri);
        self.call(Target { deployment: &deployment, function: &function.name, given, called_as }).await
    }

    async fn call(mut self, target: Target<'_>) -> Result<Response<ReplyBody>, Problem> {
        let Target { deployment, function, given, called_as } = target;
        let (takes_events, token) = self.take_over();
        let Self { asked, revision, id, mut params, head } = self;
        let authorization = head.headers.get(AUTHORIZATION).cloned();
        let asker = Asker { function: format!("{}/{function}", deployment.name), given: given.clone(), authorization };
        let capabilities = match revision {
            Revision::Stateless => params.capabilities.take().unwrap_or_default(),
            Revision::WithHandshake => sessions::capabilities(&head.headers),
        };
        params.capabilities = Some(capabilities.clone());
        let said = match questions::said(&mut params, &asker, &asked.offer.states) {
            Ok(said) => said.into(),
            Err(error) => return Ok(failed(id, revision, error)),
        };
        // Clients of the stateless revision call again themselves.
        let may_be_asked = revision == Revision::WithHandshake && takes_events && !capabilities.is_empty();
        let repeat = may_be_asked.then(|| Repeat {
            gateway: Arc::clone(asked.gateway),
            deployment: Arc::clone(deployment),
            function: function.to_owned(),
            given: given.clone(),
            head: head.clone(),
            request_id: asked.client.id.clone(),
            connection: asked.client.connection.clone(),
            observers: Arc::clone(asked.client.observers),
            held: Arc::clone(&asked.held),
            bodies: Arc::clone(asked.bodies),
        });
        let call = FunctionCall { deployment, function, given, said, shows_progress: token.is_some() };
        let answered = call.run(asked.gateway, head, asked.client, asked.bodies).await;
        let pending = Pending { asked, revision, id, called_as, asker, capabilities };
        match answered {
            Called::Answer(answer) => match repeat.filter(|_| questions::asks(&answer)) {
                Some(repeat) => {
                    let (answers, id) = (asked.offer.answers.clone(), id.into());
                    let Pending { called_as, capabilities, .. } = pending;
                    Ok(Dialogue { repeat, answers, id, called_as, capabilities }.begin(answer))
                }
                None => pending.answer(answer).await,
            },
            Called::Items(items) => Ok(progress::answer(items, token.unwrap_or_default(), pending.finish())),
        }
    }

    fn refuse(&self, error: RpcError) -> Response<ReplyBody> {
        failed(self.id, self.revision, error)
    }

    /// What names a result that is a file.
    fn uri_of(&self, deployment: &Deployment, function: &str) -> String {
        let prefix = self.asked.gateway.prefix.as_str();
        format!("metagate:{}", path::of_call(prefix, deployment.name.as_str(), function))
    }

    /// Makes the head of the client's request that of the call. Returns whether the client takes events, and its token
    /// for progress.
    fn take_over(&mut self) -> (bool, Option<Box<str>>) {
        let Self { asked, params, head, .. } = self;
        if asked.offer.access.has_token(&head.headers) {
            // It is for lists. Functions and plugins never see it.
            head.headers.remove(AUTHORIZATION);
        }
        if let Some(trace) = params.trace.take().and_then(|trace| HeaderValue::from_str(&trace).ok()) {
            head.headers.entry(TRACE).or_insert(trace);
        }
        let mut accepted = head.headers.get_all(ACCEPT).iter();
        let takes_events = accepted.any(|kinds| kinds.to_str().is_ok_and(|kinds| kinds.contains(EVENTS)));
        (takes_events, params.progress_token.take().filter(|_| takes_events))
    }
}

fn unknown(what: &str, name: &str) -> RpcError {
    RpcError::invalid_params(&format!("unknown {what}: {:?}", name.chars().take(SHOWN).collect::<String>()))
}

/// Checks the headers that repeat arguments of a tool.
async fn check_headers(
    asked: &Asked<'_>,
    found: &Found,
    arguments: &Bytes,
    headers: &HeaderMap,
) -> Result<Result<(), RpcError>, Problem> {
    if found.tool().mirrored.is_empty() {
        return Ok(Ok(()));
    }
    let (is_small, arguments) = (arguments.len() <= SMALL, arguments.clone());
    let read = move || Ok(serde_json::from_slice::<Value>(&arguments).unwrap_or_default());
    let arguments = if is_small { read()? } else { asked.bodies.elsewhere(read).await? };
    Ok(repeated::check_parameters(&found.tool().mirrored, &arguments, headers))
}
