//! Revisions of the protocol: which one a request is of, and whether its headers agree with its body. Rules:
//! <https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#server-validation>.

use http::{HeaderMap, StatusCode};
use serde_json::json;

use crate::http::mcp::message::Message;
use crate::http::mcp::repeated::{check_header, decoded, single};
use crate::http::mcp::rpc_error::RpcError;

/// The revision in which every request says all about itself.
pub const STATELESS: &str = "2026-07-28";
/// Revisions that begin with `initialize`, the newest first.
pub const WITH_HANDSHAKE: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];

/// The header with the revision of a request.
const VERSION: &str = "mcp-protocol-version";
/// The header with the method.
const METHOD: &str = "mcp-method";
/// The header with the name of the tool or prompt, or the URI of the resource.
const NAME: &str = "mcp-name";

/// What the client of a request knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revision {
    /// [`STATELESS`].
    Stateless,
    /// One of [`WITH_HANDSHAKE`]. Sessions are not kept: every request stands for itself.
    WithHandshake,
}

impl Revision {
    /// The status of an answer with an error: clients with a handshake read errors from answers that succeed, and take
    /// 404 for the end of a session.
    #[must_use]
    pub fn status_of(self, error: &RpcError) -> StatusCode {
        let is_malformed = matches!(error.code, RpcError::PARSE | RpcError::INVALID_REQUEST | RpcError::INTERNAL);
        match self {
            Self::WithHandshake if !is_malformed => StatusCode::OK,
            Self::Stateless | Self::WithHandshake => error.status,
        }
    }

    /// The revision of a message and its headers.
    ///
    /// # Errors
    ///
    /// It is not supported, or headers contradict the body.
    pub fn of(message: &Message, headers: &HeaderMap) -> Result<Self, RpcError> {
        let header = single(headers, VERSION)?;
        let in_body = message.params.version.as_deref();
        match (header, in_body) {
            (None, None) if message.method != "server/discover" => Ok(Self::WithHandshake),
            (Some(header), None) if WITH_HANDSHAKE.contains(&header) => Ok(Self::WithHandshake),
            (Some(header), None) if header != STATELESS => Err(unsupported(header)),
            // The core protocol has no notifications of clients for this transport, and no rules for their headers.
            _ if message.id.is_none() => Ok(Self::Stateless),
            _ => check_stateless(message, headers, header).map(|()| Self::Stateless),
        }
    }
}

fn check_stateless(message: &Message, headers: &HeaderMap, header: Option<&str>) -> Result<(), RpcError> {
    let Some(version) = message.params.version.as_deref().filter(|_| message.params.capabilities.is_some()) else {
        let message = "\"params._meta\" has \"io.modelcontextprotocol/protocolVersion\" and \
                       \"io.modelcontextprotocol/clientCapabilities\" in every request";
        return Err(RpcError::invalid_params(message));
    };
    check_header(VERSION, header, version)?;
    if version != STATELESS {
        return Err(unsupported(version));
    }
    check_header(METHOD, single(headers, METHOD)?, &message.method)?;
    let named = match message.method.as_str() {
        "tools/call" | "prompts/get" => message.params.name.as_deref(),
        "resources/read" => message.params.uri.as_deref(),
        _ => None,
    };
    if let Some(name) = named {
        let header = single(headers, NAME)?.map(decoded).transpose()?;
        check_header(NAME, header.as_deref(), name)?;
    }
    Ok(())
}

/// The error for a revision that is not supported.
fn unsupported(version: &str) -> RpcError {
    let supported: Vec<&str> = supported().collect();
    let data = json!({"supported": supported, "requested": version});
    RpcError::new(StatusCode::BAD_REQUEST, RpcError::UNSUPPORTED_VERSION, "unsupported protocol version")
        .with_data(data)
}

/// All revisions that are supported, the newest first.
pub fn supported() -> impl Iterator<Item = &'static str> {
    std::iter::once(STATELESS).chain(WITH_HANDSHAKE)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::http::mcp::message::Received;

    fn of(method: &str, meta: &str, headers: &[(&'static str, &'static str)]) -> Result<Revision, i32> {
        let params = if method == "tools/call" { r#""name":"größe","# } else { "" };
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}"_meta":{{{meta}}}}}}}"#);
        let Received::Message(message) = Received::read(&Bytes::from(body)).unwrap() else { panic!() };
        let of_text = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        Revision::of(&message, &headers.iter().map(of_text).collect()).map_err(|error| error.code)
    }

    const META: &str =
        r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}"#;
    const ONLY_VERSION: &str = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28""#;
    const HEADER: (&str, &str) = ("mcp-protocol-version", "2026-07-28");

    #[test]
    fn headers_of_the_stateless_revision_agree_with_the_body() {
        let list = ("mcp-method", "tools/list");
        assert_eq!(of("tools/list", META, &[HEADER, list]), Ok(Revision::Stateless));
        for (meta, headers, code) in [
            (META, &[list][..], RpcError::HEADER_MISMATCH),
            (META, &[HEADER], RpcError::HEADER_MISMATCH),
            (META, &[HEADER, ("mcp-method", "TOOLS/LIST")], RpcError::HEADER_MISMATCH),
            (META, &[HEADER, list, list], RpcError::HEADER_MISMATCH),
            (META, &[("mcp-protocol-version", "2025-11-25"), list], RpcError::HEADER_MISMATCH),
            ("", &[HEADER, list], RpcError::INVALID_PARAMS),
            (ONLY_VERSION, &[HEADER, list], RpcError::INVALID_PARAMS),
        ] {
            assert_eq!(of("tools/list", meta, headers), Err(code), "{meta} {headers:?}");
        }
        let other = META.replace("2026-07-28", "2030-01-01");
        let headers = [("mcp-protocol-version", "2030-01-01"), list];
        assert_eq!(of("tools/list", &other, &headers), Err(RpcError::UNSUPPORTED_VERSION));
    }

    #[test]
    fn the_name_of_a_tool_may_be_encoded() {
        let call = ("mcp-method", "tools/call");
        assert_eq!(
            of("tools/call", META, &[HEADER, call, ("mcp-name", "=?base64?Z3LDtsOfZQ==?=")]),
            Ok(Revision::Stateless)
        );
        for name in ["=?base64?Z3LDtsOfZQ=?=", "=?base64?!?=", "other", "=?BASE64?Z3LDtsOfZQ==?="] {
            assert_eq!(of("tools/call", META, &[HEADER, call, ("mcp-name", name)]), Err(RpcError::HEADER_MISMATCH));
        }
        assert_eq!(of("tools/call", META, &[HEADER, call]), Err(RpcError::HEADER_MISMATCH));
    }

    #[test]
    fn older_clients_name_their_revision_in_a_header_or_not_at_all() {
        for headers in [&[][..], &[("mcp-protocol-version", "2025-11-25")], &[("mcp-protocol-version", "2025-03-26")]] {
            assert_eq!(of("tools/list", "", headers), Ok(Revision::WithHandshake));
        }
        let unknown = [("mcp-protocol-version", "1999-01-01")];
        assert_eq!(of("tools/list", "", &unknown), Err(RpcError::UNSUPPORTED_VERSION));
    }
}
