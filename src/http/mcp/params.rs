//! The parameters of messages that some method has. Others are ignored, as the protocol wants.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::http::mcp::rpc_error::RpcError;

/// Most bytes of the id of a request, which its answer repeats.
pub const ID_LIMIT: usize = 1024;
/// What ids are.
pub const ID_FORM: &str = "a text or a whole number";

/// The parameters of a message.
#[derive(Debug, Default)]
pub struct Params {
    /// The revision that `_meta` names.
    pub version: Option<String>,
    /// The capabilities of the client that `_meta` has.
    pub capabilities: Option<Map<String, Value>>,
    /// The capabilities of the client that `initialize` has.
    pub handshake_capabilities: Option<Map<String, Value>>,
    /// The place in a trace.
    pub trace: Option<String>,
    /// How notifications of progress name the request, as JSON text, if the client wants them.
    pub progress_token: Option<Box<str>>,
    /// The revision that `initialize` asks for.
    pub protocol_version: Option<String>,
    /// The tool or prompt.
    pub name: Option<String>,
    /// The resource.
    pub uri: Option<String>,
    /// The arguments: the text of a JSON object.
    pub arguments: Option<Bytes>,
    /// Where a list goes on.
    pub cursor: Option<String>,
    /// The prompt or resource whose argument is to be completed, as JSON text.
    pub reference: Option<Box<str>>,
    /// The argument that is to be completed, as JSON text.
    pub argument: Option<Box<str>>,
    /// The client's answers to what a function has asked.
    pub input_responses: Option<Map<String, Value>>,
    /// What the function has kept until these answers, sealed.
    pub request_state: Option<String>,
}

#[derive(Deserialize)]
struct RawParams<'a> {
    #[serde(borrow, default, rename = "_meta")]
    meta: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "protocolVersion")]
    protocol_version: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    capabilities: Option<&'a RawValue>,
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    uri: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow, default)]
    cursor: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "ref")]
    reference: Option<&'a RawValue>,
    #[serde(borrow, default)]
    argument: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "inputResponses", deserialize_with = "present")]
    input_responses: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "requestState")]
    request_state: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct RawMeta<'a> {
    #[serde(borrow, default, rename = "io.modelcontextprotocol/protocolVersion")]
    version: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "io.modelcontextprotocol/clientCapabilities")]
    capabilities: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "traceparent")]
    trace: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "progressToken")]
    progress_token: Option<&'a RawValue>,
}

impl<'a> RawMeta<'a> {
    fn read(text: &'a RawValue) -> Result<Self, RpcError> {
        if !text.get().starts_with('{') {
            return Err(RpcError::invalid_params("\"_meta\" is an object"));
        }
        serde_json::from_str(text.get()).map_err(|error| RpcError::invalid_params(&error.to_string()))
    }
}

impl Params {
    /// Reads the parameters of a message. `body` is that of the request, of which they are a part.
    ///
    /// # Errors
    ///
    /// One has another form than the protocol wants.
    pub fn read(text: &RawValue, body: &Bytes) -> Result<Self, RpcError> {
        if !text.get().starts_with('{') {
            return Err(RpcError::invalid_params("\"params\" is an object"));
        }
        let raw: RawParams<'_> =
            serde_json::from_str(text.get()).map_err(|error| RpcError::invalid_params(&error.to_string()))?;
        let arguments = raw.arguments.map(RawValue::get);
        if arguments.is_some_and(|arguments| !arguments.starts_with('{')) {
            return Err(RpcError::invalid_params("\"arguments\" is an object with the arguments by name"));
        }
        let meta = raw.meta.map(RawMeta::read).transpose()?;
        let meta = meta.as_ref();
        let progress_token = meta.and_then(|meta| meta.progress_token).map(|token| {
            is_id(token).then(|| token.get().into()).ok_or_else(|| {
                RpcError::invalid_params(&format!("\"progressToken\" is {ID_FORM} of {ID_LIMIT} bytes at most"))
            })
        });
        let capabilities = |of: Option<&RawValue>| of.and_then(|of| serde_json::from_str(of.get()).ok());
        let owned = |text: &Cow<'_, str>| text.clone().into_owned();
        Ok(Self {
            version: meta.and_then(|meta| meta.version.as_ref()).map(owned),
            capabilities: capabilities(meta.and_then(|meta| meta.capabilities)),
            handshake_capabilities: capabilities(raw.capabilities),
            trace: meta.and_then(|meta| meta.trace.as_ref()).map(owned),
            progress_token: progress_token.transpose()?,
            protocol_version: raw.protocol_version.as_ref().map(owned),
            name: raw.name.as_ref().map(owned),
            uri: raw.uri.as_ref().map(owned),
            arguments: arguments.map(|text| body.slice_ref(text.as_bytes())),
            cursor: raw.cursor.as_ref().map(owned),
            reference: raw.reference.map(|text| text.get().into()),
            argument: raw.argument.map(|text| text.get().into()),
            input_responses: raw.input_responses.map(responses).transpose()?,
            request_state: raw.request_state.as_ref().map(owned),
        })
    }
}

/// Answers by the names of the questions. Each is an object, whatever was asked.
fn responses(text: &RawValue) -> Result<Map<String, Value>, RpcError> {
    let all: Option<Map<String, Value>> = serde_json::from_str(text.get()).ok();
    all.filter(|all| all.values().all(Value::is_object))
        .ok_or_else(|| RpcError::invalid_params("\"inputResponses\" is an object with an object for each answer"))
}

/// Whether a value is an id, or what stands for one.
#[must_use]
pub fn is_id(text: &RawValue) -> bool {
    let text = text.get();
    let is_whole = || text.strip_prefix('-').unwrap_or(text).bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= ID_LIMIT && (text.starts_with('"') || is_whole())
}

/// Reads a value that is there, `null` included.
///
/// # Errors
///
/// Those of the deserializer.
pub fn present<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&'de RawValue>::deserialize(deserializer).map(Some)
}
