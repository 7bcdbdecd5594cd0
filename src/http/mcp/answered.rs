//! What the answer of a function is for a client: the result of a tool, the messages of a prompt, the content of a
//! resource, questions to the client, or an error.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::describe::tool_output::ToolOutput;
use crate::http::buffers::SMALL;
use crate::http::mcp::answers::{completed, failed, input_required, message, unauthorized};
use crate::http::mcp::asked::Asked;
use crate::http::mcp::asker::Asker;
use crate::http::mcp::catalog::Found;
use crate::http::mcp::input_required::{self as questions, CannotAsk};
use crate::http::mcp::revision::Revision;
use crate::http::mcp::rpc_error::RpcError;
use crate::http::mcp::tool_result::{CallAnswer, ToolResult, text_block};
use crate::http::problem::{Code, Problem};
use crate::http::reply_body::ReplyBody;
use crate::http::request_id;

/// What the function was called as.
#[derive(Debug)]
pub enum CalledAs {
    /// A tool; of a release that had not loaded nothing is declared. The URI names a result that is a file.
    Tool(Option<Found>, String),
    /// A prompt. The URI names messages that are files.
    Prompt(String),
    /// The resource of this URI.
    Resource(String),
}

/// A call whose answer is still to come.
pub struct Pending<'a> {
    /// What was asked.
    pub asked: &'a Asked<'a>,
    /// The revision of the client.
    pub revision: Revision,
    /// The id of the request.
    pub id: &'a str,
    /// What the function was called as.
    pub called_as: CalledAs,
    /// Which call it is.
    pub asker: Asker,
    /// Those of the client.
    pub capabilities: Map<String, Value>,
}

impl Pending<'_> {
    /// The answer to the client.
    ///
    /// # Errors
    ///
    /// `draining` if the gateway stops.
    pub async fn answer(self, answer: CallAnswer) -> Result<Response<ReplyBody>, Problem> {
        let Self { asked, revision, id, .. } = self;
        if answer.status == StatusCode::UNAUTHORIZED {
            return Ok(unauthorized(id, &answer));
        }
        let answer = if questions::asks(&answer) {
            match self.questions(&answer) {
                Ok(members) => return Ok(input_required(id, &members)),
                Err(CannotAsk::Client(error)) => return Ok(failed(id, revision, error)),
                Err(CannotAsk::Function(message)) => {
                    let problem = Problem::new(Code::FunctionError, message);
                    CallAnswer::of_problem(problem, request_id::text(asked.client.id))
                }
            }
        } else {
            answer
        };
        let (is_small, called_as) = (answer.body.len() <= SMALL, self.called_as);
        let make = move || Ok(called_as.result(answer, revision));
        let result = if is_small { make()? } else { asked.bodies.elsewhere(make).await? };
        Ok(match result {
            Ok(ToolResult { members, meta }) => completed(id, revision, &members, meta),
            Err(error) => failed(id, revision, error),
        })
    }

    /// The members of the result with which the function asks.
    fn questions(&self, answer: &CallAnswer) -> Result<String, CannotAsk> {
        if self.revision != Revision::Stateless {
            let message = "the function asks its client, which has not said that it answers";
            return Err(CannotAsk::Function(message.to_owned()));
        }
        let asked = questions::read(answer, &self.capabilities)?;
        questions::members(asked, &self.asker, &self.asked.offer.states)
    }

    /// What makes the message with the result of a stream when that has ended.
    pub fn finish(self) -> impl FnOnce(Result<Bytes, Problem>) -> String + Send + 'static {
        let Self { revision, called_as, .. } = self;
        let (id, request_id) = (Box::<str>::from(self.id), request_id::text(self.asked.client.id).to_owned());
        move |whole| {
            let whole = whole.map(CallAnswer::of_items);
            let answer = whole.unwrap_or_else(|problem| CallAnswer::of_problem(problem, &request_id));
            match called_as.result(answer, revision) {
                Ok(ToolResult { members, meta }) => message(&id, revision, &members, meta),
                Err(error) => error.into_message(Some(&id)),
            }
        }
    }
}

impl CalledAs {
    /// The members of the result.
    ///
    /// # Errors
    ///
    /// A prompt or a resource has no result.
    pub fn result(self, answer: CallAnswer, revision: Revision) -> Result<ToolResult, RpcError> {
        let uri = match &self {
            Self::Tool(found, uri) => {
                let output = found.as_ref().map_or(&ToolOutput::Undeclared, |found| &found.tool().output);
                return Ok(answer.into_result(output, uri));
            }
            Self::Prompt(uri) | Self::Resource(uri) => uri,
        };
        if answer.status == StatusCode::NOT_FOUND && matches!(self, Self::Resource(_)) {
            return Err(no_resource(uri, revision));
        }
        if answer.status.is_client_error() || answer.status.is_server_error() {
            return Err(error_of(&answer));
        }
        let members = match self {
            Self::Resource(_) => {
                let contents = json!([answer.into_contents(&uri.clone())]);
                // What a function answers may be another thing at each time.
                let kept = if revision == Revision::Stateless { r#","ttlMs":0,"cacheScope":"private""# } else { "" };
                format!(r#""contents":{contents}{kept}"#)
            }
            Self::Tool(..) | Self::Prompt(_) => format!(r#""messages":{}"#, messages(&answer, uri)?),
        };
        Ok(ToolResult { members, meta: Map::new() })
    }
}

/// The error for a URI at which there is nothing.
#[must_use]
pub fn no_resource(uri: &str, revision: Revision) -> RpcError {
    let code = match revision {
        Revision::Stateless => RpcError::INVALID_PARAMS,
        Revision::WithHandshake => RpcError::NO_RESOURCE,
    };
    RpcError::new(StatusCode::BAD_REQUEST, code, "there is no such resource").with_data(json!({"uri": uri}))
}

/// The error of a function that has no result: prompts and resources cannot show it otherwise. Clients read errors from
/// answers of the status 400 and from those that succeed.
fn error_of(answer: &CallAnswer) -> RpcError {
    let (words, mut error) = answer.error();
    error.insert("status".to_owned(), answer.status.as_u16().into());
    let (status, code) = if answer.status.is_client_error() {
        (StatusCode::BAD_REQUEST, RpcError::INVALID_PARAMS)
    } else {
        (StatusCode::OK, RpcError::INTERNAL)
    };
    RpcError::new(status, code, words).with_data(Value::Object(error))
}

/// The messages of a prompt: those that the function returns, or one of the user with each block of its answer.
fn messages(answer: &CallAnswer, uri: &str) -> Result<Value, RpcError> {
    let of_user = |block: Value| json!({"role": "user", "content": block});
    let written = match serde_json::from_slice::<Value>(&answer.body) {
        Ok(Value::Array(all)) => all,
        Ok(Value::String(text)) => return Ok(json!([of_user(text_block(&text))])),
        _ => return Ok(answer.blocks(uri).into_iter().map(of_user).collect()),
    };
    let malformed = || {
        let message = "the function returned no messages: each is {\"role\": \"user\" | \"assistant\", \"content\": …}";
        RpcError::new(StatusCode::OK, RpcError::INTERNAL, message)
    };
    let message = |mut message: Value| {
        let is_known = matches!(message["role"].as_str(), Some("user" | "assistant"));
        match message["content"].take() {
            Value::String(text) if is_known => message["content"] = text_block(&text),
            Value::Object(block) if is_known && block.contains_key("type") => message["content"] = block.into(),
            _ => return Err(malformed()),
        }
        Ok(message)
    };
    written.into_iter().map(|one| if one.is_object() { message(one) } else { Err(malformed()) }).collect()
}
