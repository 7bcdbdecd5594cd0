//! Answers to messages: results and errors, as the revision of the client has them.

use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::http::mcp::revision::Revision;
use crate::http::mcp::rpc_error::{RpcError, json_response};
use crate::http::mcp::tool_result::CallAnswer;
use crate::http::reply_body::ReplyBody;
use crate::registry::{Deployment, State};

/// How long clients may keep a list of tools: deploys change it at any time.
const KEPT: u32 = 60_000;

/// The gateway, as clients see it.
#[must_use]
pub fn server_info() -> Value {
    json!({"name": "metagate", "version": env!("CARGO_PKG_VERSION")})
}

/// How long a result may be kept, and by whom, as members that follow others.
#[must_use]
pub fn kept(revision: Revision, scope: &str) -> String {
    match revision {
        Revision::Stateless => format!(r#","ttlMs":{KEPT},"cacheScope":"{scope}""#),
        Revision::WithHandshake => String::new(),
    }
}

/// The answer with a result of these members.
#[must_use]
pub fn completed(id: &str, revision: Revision, members: &str, meta: Map<String, Value>) -> Response<ReplyBody> {
    json_response(StatusCode::OK, message(id, revision, members, meta).into())
}

/// The answer with which a function asks its client.
#[must_use]
pub fn input_required(id: &str, members: &str) -> Response<ReplyBody> {
    let text = of_type("input_required", id, Revision::Stateless, members, Map::new());
    json_response(StatusCode::OK, text.into())
}

/// The message with a result of these members.
#[must_use]
pub fn message(id: &str, revision: Revision, members: &str, meta: Map<String, Value>) -> String {
    of_type("complete", id, revision, members, meta)
}

fn of_type(result_type: &str, id: &str, revision: Revision, members: &str, mut meta: Map<String, Value>) -> String {
    let mut result = members.to_owned();
    let mut add = |member: &str| {
        result.push_str(if result.is_empty() { "" } else { "," });
        result.push_str(member);
    };
    if revision == Revision::Stateless {
        add(&format!(r#""resultType":"{result_type}""#));
        meta.insert("io.modelcontextprotocol/serverInfo".to_owned(), server_info());
    }
    if !meta.is_empty() {
        add(&format!(r#""_meta":{}"#, Value::Object(meta)));
    }
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{{result}}}}}"#)
}

/// The answer with an error.
#[must_use]
pub fn failed(id: &str, revision: Revision, error: RpcError) -> Response<ReplyBody> {
    let status = revision.status_of(&error);
    let mut response = error.into_response(Some(id), status);
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// The answer to a call whose caller must show who it is: clients act on the status.
#[must_use]
pub fn unauthorized(id: &str, answer: &CallAnswer) -> Response<ReplyBody> {
    let (words, error) = answer.error();
    let error = RpcError::new(answer.status, RpcError::INVALID_REQUEST, words).with_data(Value::Object(error));
    let mut response = error.into_response(Some(id), answer.status);
    let challenges = answer.headers.get_all(WWW_AUTHENTICATE).iter();
    challenges.for_each(|challenge| {
        response.headers_mut().append(WWW_AUTHENTICATE, challenge.clone());
    });
    response
}

/// The error for a deployment without functions so far.
#[must_use]
pub fn not_loaded(deployment: &Deployment) -> RpcError {
    let message = match deployment.state {
        State::Failed(_) => format!("deployment {:?} has not loaded", deployment.name.as_str()),
        State::Running(_) | State::Pending => format!("deployment {:?} is starting", deployment.name.as_str()),
    };
    RpcError::new(StatusCode::SERVICE_UNAVAILABLE, RpcError::INTERNAL, message)
}

/// The answer to a notification.
#[must_use]
pub fn accepted() -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::Full(None));
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}
