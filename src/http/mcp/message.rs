//! The messages of clients: JSON-RPC 2.0, one request or notification in a body. Batches are not part of the protocol.

use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::http::mcp::params::{ID_FORM, ID_LIMIT, Params, is_id, present};
use crate::http::mcp::rpc_error::RpcError;
use crate::json;

/// A request or notification.
#[derive(Debug)]
pub struct Message {
    /// The id as JSON text; none in a notification.
    pub id: Option<Box<str>>,
    /// What is asked for, such as `tools/call`.
    pub method: String,
    /// How it is asked.
    pub params: Params,
}

/// What a client sends.
#[derive(Debug)]
pub enum Received {
    /// A request or notification.
    Message(Box<Message>),
    /// The answer to a question of this id: the result, or `null` for an error.
    Answer {
        /// The id.
        id: String,
        /// The result.
        result: Value,
    },
}

/// A message that is not understood, with its id if that could be read.
#[derive(Debug)]
pub struct BadMessage {
    /// The id as JSON text.
    pub id: Option<Box<str>>,
    /// What is wrong.
    pub error: RpcError,
}

#[derive(Deserialize)]
struct RawMessage<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

impl Received {
    /// Reads the body of a request.
    ///
    /// # Errors
    ///
    /// It is no JSON, or no message, or a batch of them.
    pub fn read(body: &Bytes) -> Result<Self, BadMessage> {
        let without_id = |error| BadMessage { id: None, error };
        let text: &RawValue = serde_json::from_slice(body).map_err(|error| without_id(not_json(&error.to_string())))?;
        json::check_all(body).map_err(|excess| without_id(not_json(&excess.to_string())))?;
        if text.get().starts_with('[') {
            return Err(without_id(RpcError::invalid_request(
                "a batch of messages: send each in a request of its own",
            )));
        }
        let raw: RawMessage<'_> = serde_json::from_str(text.get())
            .map_err(|error| without_id(RpcError::invalid_request(&format!("not a message of JSON-RPC: {error}"))))?;
        let id = raw.id.map(id_of).transpose().map_err(without_id)?;
        let bad = |error| BadMessage { id: id.clone(), error };
        if raw.jsonrpc.is_none_or(|version| version.get() != "\"2.0\"") {
            return Err(bad(RpcError::invalid_request("a message has \"jsonrpc\": \"2.0\"")));
        }
        let is_answer = raw.method.is_none() && (raw.result.is_some() || raw.error.is_some());
        if let Some(id) = id.as_deref().filter(|_| is_answer).and_then(|id| serde_json::from_str(id).ok()) {
            // The gateway's own ids are texts.
            let result = raw.result.and_then(|result| serde_json::from_str(result.get()).ok());
            return Ok(Self::Answer { id, result: result.unwrap_or_default() });
        }
        let method = raw.method.and_then(|method| serde_json::from_str(method.get()).ok());
        let Some(method) = method else {
            return Err(bad(RpcError::invalid_request(
                "a message has a \"method\", or answers a question of the server",
            )));
        };
        let params = raw.params.map(|params| Params::read(params, body)).transpose().map_err(bad)?;
        Ok(Self::Message(Box::new(Message { id, method, params: params.unwrap_or_default() })))
    }
}

/// The id of a request: a text or a whole number, and never `null`.
fn id_of(text: &RawValue) -> Result<Box<str>, RpcError> {
    let message =
        || RpcError::invalid_request(&format!("the id of a request is {ID_FORM} of {ID_LIMIT} bytes at most"));
    is_id(text).then(|| text.get().into()).ok_or_else(message)
}

fn not_json(reason: &str) -> RpcError {
    RpcError::new(StatusCode::BAD_REQUEST, RpcError::PARSE, format!("the body is no JSON: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Message, i32> {
        match Received::read(&Bytes::copy_from_slice(body.as_bytes())).map_err(|bad| bad.error.code)? {
            Received::Message(message) => Ok(*message),
            Received::Answer { id, .. } => panic!("an answer: {id}"),
        }
    }

    #[test]
    fn a_message_is_a_request_or_a_notification() {
        let body = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a","arguments":{"x":1.50},
            "_meta":{"io.modelcontextprotocol/protocolVersion":"v","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
        let message = read(body).unwrap();
        assert_eq!((message.id.as_deref(), message.method.as_str()), (Some("7"), "tools/call"));
        assert_eq!(message.params.arguments.as_deref(), Some(&br#"{"x":1.50}"#[..]));
        assert_eq!(message.params.version.as_deref(), Some("v"));
        assert!(message.params.capabilities.is_some());
        assert!(read(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).unwrap().id.is_none());
        assert_eq!(read(r#"{"jsonrpc":"2.0","id":"a\"b","method":"x"}"#).unwrap().id.as_deref(), Some(r#""a\"b""#));
    }

    #[test]
    fn an_answer_has_an_id_and_a_result_or_an_error() {
        for (body, expected) in [
            (r#"{"jsonrpc":"2.0","id":"q","result":{"action":"accept"}}"#, r#"{"action":"accept"}"#),
            (r#"{"jsonrpc":"2.0","id":"q","error":{"code":-32601,"message":"no"}}"#, "null"),
        ] {
            let received = Received::read(&Bytes::from(body)).unwrap();
            let Received::Answer { id, result } = received else { panic!("{body}") };
            assert_eq!((id.as_str(), result.to_string().as_str()), ("q", expected));
        }
    }

    #[test]
    fn what_is_no_message_is_refused_with_the_code_of_json_rpc() {
        let deep = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{{"a":{}{}}}}}"#,
            "[".repeat(200),
            "]".repeat(200)
        );
        for text in ["", "{", "nonsense", "{\"a\":1}x", deep.as_str()] {
            assert_eq!(read(text).unwrap_err(), RpcError::PARSE, "{text}");
        }
        for text in [
            "1",
            "null",
            "[]",
            r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
            "{}",
            r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#,
        ] {
            assert_eq!(read(text).unwrap_err(), RpcError::INVALID_REQUEST, "{text}");
        }
        for params in [
            "[]",
            "1",
            "null",
            r#"{"name":1}"#,
            r#"{"arguments":[1]}"#,
            r#"{"_meta":["v",{}]}"#,
            r#"{"cursor":{}}"#,
            r#"{"_meta":{"progressToken":{}}}"#,
        ] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
            assert_eq!(read(&text).unwrap_err(), RpcError::INVALID_PARAMS, "{text}");
        }
    }
}
