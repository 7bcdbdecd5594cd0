//! Errors of the protocol, and answers of JSON-RPC. Errors of functions are results, not errors.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use crate::http::problem::Problem;
use crate::http::reply_body::ReplyBody;

/// An error of the protocol. Codes: <https://modelcontextprotocol.io/specification/2026-07-28/basic#error-codes>.
#[derive(Debug, Clone, PartialEq)]
pub struct RpcError {
    /// The status of the answer to a client of the stateless revision.
    pub status: StatusCode,
    /// The code of the protocol.
    pub code: i32,
    /// What is wrong, for people.
    pub message: String,
    /// What is wrong, for programs.
    pub data: Option<Value>,
}

impl RpcError {
    /// The body is no JSON.
    pub const PARSE: i32 = -32700;
    /// The body is no message.
    pub const INVALID_REQUEST: i32 = -32600;
    /// There is no such method.
    pub const METHOD_NOT_FOUND: i32 = -32601;
    /// The method does not take these parameters.
    pub const INVALID_PARAMS: i32 = -32602;
    /// The gateway cannot answer.
    pub const INTERNAL: i32 = -32603;
    /// There is no such resource, for clients with a handshake.
    pub const NO_RESOURCE: i32 = -32002;
    /// Headers contradict the body.
    pub const HEADER_MISMATCH: i32 = -32020;
    /// A function asks what the client cannot answer.
    pub const MISSING_CAPABILITY: i32 = -32021;
    /// The revision is not supported.
    pub const UNSUPPORTED_VERSION: i32 = -32022;

    /// An error with a message.
    #[must_use]
    pub fn new(status: StatusCode, code: i32, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), data: None }
    }

    /// With details for programs.
    #[must_use]
    pub fn with_data(self, data: Value) -> Self {
        Self { data: Some(data), ..self }
    }

    /// The body is no message.
    #[must_use]
    pub fn invalid_request(message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Self::INVALID_REQUEST, message)
    }

    /// The method does not take these parameters.
    #[must_use]
    pub fn invalid_params(message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Self::INVALID_PARAMS, message)
    }

    /// A header contradicts the body, or is missing.
    #[must_use]
    pub fn header_mismatch(message: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Self::HEADER_MISMATCH, message)
    }

    /// A refusal of the gateway.
    #[must_use]
    pub fn of_problem(problem: &Problem) -> Self {
        let data = json!({"code": problem.code().as_str()});
        Self::new(problem.status(), Self::INVALID_REQUEST, problem.message()).with_data(data)
    }

    /// The answer to the request of this id, with this status.
    #[must_use]
    pub fn into_response(self, id: Option<&str>, status: StatusCode) -> Response<ReplyBody> {
        json_response(status, self.into_message(id).into())
    }

    /// The message with the answer to the request of this id.
    #[must_use]
    pub fn into_message(self, id: Option<&str>) -> String {
        let mut error = json!({"code": self.code, "message": self.message});
        if let Some(data) = self.data {
            error["data"] = data;
        }
        let id = id.map_or_else(String::new, |id| format!(r#""id":{id},"#));
        format!(r#"{{"jsonrpc":"2.0",{id}"error":{error}}}"#)
    }
}

/// The answer with this status and message.
#[must_use]
pub fn json_response(status: StatusCode, body: Bytes) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
