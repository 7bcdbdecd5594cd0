//! Functions that ask their client before they have a result: a user, its model, or its folders. Such an answer of a
//! function is a result of the type `input_required`, and the client calls again with the answers. Nothing waits in
//! between. Clients of older revisions are asked by `dialogue`. Pattern:
//! <https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/mrtr>.

use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::http::mcp::asker::Asker;
use crate::http::mcp::params::Params;
use crate::http::mcp::request_states::RequestStates;
use crate::http::mcp::rpc_error::RpcError;
use crate::http::mcp::tool_result::CallAnswer;

/// The media type of an answer of a function that asks.
const ASKS: &str = "application/vnd.metagate.input-required+json";
/// Most bytes of the state of a function: clients return it with the next call.
const STATE_LIMIT: usize = 64 * 1024;

/// Most questions at once.
const MOST: usize = 32;

/// What a function asks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Questions {
    /// Requests to the client, by names.
    #[serde(default, rename = "inputRequests")]
    pub requests: Map<String, Value>,
    /// What the function needs again.
    #[serde(default)]
    pub state: Option<Value>,
}

#[derive(Deserialize)]
struct Request {
    method: String,
    #[serde(default)]
    params: Map<String, Value>,
}

/// Why a function cannot ask.
#[derive(Debug, Clone, PartialEq)]
pub enum CannotAsk {
    /// Its answer is malformed, or the client has no such questions: an error of the function.
    Function(String),
    /// The client has not said that it answers such questions.
    Client(RpcError),
}

/// Whether a function asks with this answer.
#[must_use]
pub fn asks(answer: &CallAnswer) -> bool {
    let kind = answer.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    answer.status.is_success() && kind.split(';').next().unwrap_or_default().trim() == ASKS
}

/// What the client has said besides the arguments, for the function: `context.mcp` of its request.
///
/// # Errors
///
/// The state is not one that the function has given in a call with these arguments, by this client.
pub fn said(params: &mut Params, asker: &Asker, states: &RequestStates) -> Result<String, RpcError> {
    let state = params.request_state.take().map(|sealed| states.open(&asker.label(), &sealed)).transpose()?;
    let mut said = json!({"capabilities": params.capabilities.take().unwrap_or_default()});
    if let Some(responses) = params.input_responses.take() {
        said["inputResponses"] = responses.into();
    }
    if let Some(state) = state {
        said["state"] = state;
    }
    Ok(said.to_string())
}

/// What a function asks with this answer.
///
/// # Errors
///
/// The function or the client does not allow it.
pub fn read(answer: &CallAnswer, capabilities: &Map<String, Value>) -> Result<Questions, CannotAsk> {
    let malformed =
        |reason: &dyn std::fmt::Display| CannotAsk::Function(format!("the function asks wrongly: {reason}"));
    let asked: Questions = serde_json::from_slice(&answer.body).map_err(|error| malformed(&error))?;
    if asked.requests.is_empty() && asked.state.is_none() {
        return Err(malformed(&"it needs \"inputRequests\", \"state\" or both"));
    }
    if asked.requests.len() > MOST {
        return Err(malformed(&format!("{} questions exceed the limit ({MOST})", asked.requests.len())));
    }
    let mut needed = Map::new();
    for (name, request) in &asked.requests {
        let request = Request::deserialize(request).map_err(|error| malformed(&format!("{name:?}: {error}")))?;
        let Some(capability) = request.capability() else {
            return Err(malformed(&format!("{name:?}: no method {:?}", request.method)));
        };
        if !has(capabilities, &capability) {
            needed.extend(capability);
        }
    }
    if !needed.is_empty() {
        let message = "the tool asks what the client has not said that it answers";
        let error = RpcError::new(StatusCode::BAD_REQUEST, RpcError::MISSING_CAPABILITY, message);
        return Err(CannotAsk::Client(error.with_data(json!({"requiredCapabilities": needed}))));
    }
    Ok(asked)
}

/// The members of the result with which a function asks.
///
/// # Errors
///
/// Its state is too long.
pub fn members(asked: Questions, asker: &Asker, states: &RequestStates) -> Result<String, CannotAsk> {
    let Questions { requests, state } = asked;
    let mut members = Vec::new();
    if !requests.is_empty() {
        members.push(format!(r#""inputRequests":{}"#, Value::Object(requests)));
    }
    if let Some(state) = state {
        let sealed = states.seal(&asker.label(), &state);
        if sealed.len() > STATE_LIMIT {
            let message = format!("the function's state of {} bytes exceeds the limit ({STATE_LIMIT})", sealed.len());
            return Err(CannotAsk::Function(message));
        }
        members.push(format!(r#""requestState":"{sealed}""#));
    }
    Ok(members.join(","))
}

impl Request {
    /// What a client that answers it has among its capabilities.
    fn capability(&self) -> Option<Map<String, Value>> {
        let (name, detail) = match self.method.as_str() {
            "elicitation/create" => ("elicitation", self.params.get("mode").filter(|mode| *mode == "url")),
            "sampling/createMessage" => ("sampling", self.params.get("tools").map(|_| &Value::Null)),
            "roots/list" => ("roots", None),
            _ => return None,
        };
        let detail = detail.map(|detail| (detail.as_str().unwrap_or("tools").to_owned(), json!({})));
        Some(Map::from_iter([(name.to_owned(), Map::from_iter(detail).into())]))
    }
}

/// Whether capabilities include others.
fn has(all: &Map<String, Value>, needed: &Map<String, Value>) -> bool {
    needed.iter().all(|(name, detail)| match (all.get(name), detail) {
        (Some(Value::Object(all)), Value::Object(detail)) => has(all, detail),
        (found, _) => found.is_some(),
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;
    use crate::http::mcp::function_call::Given;

    fn asked(body: &Value, capabilities: &Value) -> Result<Value, CannotAsk> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(ASKS))]);
        let answer = CallAnswer { status: StatusCode::OK, headers, body: body.to_string().into() };
        assert!(asks(&answer));
        let capabilities = capabilities.as_object().unwrap();
        let given = Given::Object("{}".into(), None);
        let asker = Asker { function: "a/b".to_owned(), given, authorization: None };
        let made = members(read(&answer, capabilities)?, &asker, &RequestStates::default())?;
        Ok(serde_json::from_str(&format!("{{{made}}}")).unwrap())
    }

    #[test]
    fn a_function_asks_what_the_client_answers() {
        let user = json!({"method": "elicitation/create", "params": {"message": "Sure?"}});
        let model = json!({"method": "sampling/createMessage", "params": {"tools": []}});
        let body = json!({"inputRequests": {"user": user, "model": model}, "state": {"step": 1}});
        let result = asked(&body, &json!({"elicitation": {}, "sampling": {"tools": {}}})).unwrap();
        assert_eq!(result["inputRequests"], body["inputRequests"]);
        assert!(result["requestState"].is_string());
        let CannotAsk::Client(error) = asked(&body, &json!({"sampling": {}})).unwrap_err() else { panic!() };
        let needed = json!({"elicitation": {}, "sampling": {"tools": {}}});
        assert_eq!(error.data, Some(json!({"requiredCapabilities": needed})));
        let url = json!({"inputRequests": {"a": {"method": "elicitation/create", "params": {"mode": "url"}}}});
        assert!(matches!(asked(&url, &json!({"elicitation": {}})), Err(CannotAsk::Client(_))));
        assert!(asked(&url, &json!({"elicitation": {"url": {}}})).is_ok());
        assert!(asked(&json!({"state": null}), &json!({})).is_err(), "nothing to ask and nothing to keep");
    }

    #[test]
    fn a_malformed_question_is_an_error_of_the_function() {
        for body in [
            json!({}),
            json!([]),
            json!({"inputRequests": {"a": {"method": "tools/call"}}}),
            json!({"inputRequests": {"a": 1}}),
            json!({"inputRequests": {}, "others": 1}),
            json!({"state": "x".repeat(STATE_LIMIT)}),
        ] {
            assert!(matches!(asked(&body, &json!({})), Err(CannotAsk::Function(_))), "{body}");
        }
    }
}
