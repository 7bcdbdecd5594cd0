//! The head of a call's HTTP request as JSON, for functions that ask for it, with what plugins have shared for the
//! function. `docs/worker-protocol.md` has the format.

use std::borrow::Cow;
use std::net::IpAddr;

use http::header::{CONNECTION, EXPECT, HOST, HeaderMap, HeaderName, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use serde::Serialize;

use crate::addresses::PeerText;
use crate::deployment::Takes;
use crate::invocation::Target;
use crate::plugin::invocation::Context;

/// Headers that concern one connection (RFC 9110, section 7.6.1), and the gateway's own error header. Headers that
/// begin with `proxy-` are left out as well.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    EXPECT,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("x-metagate-error"),
];

/// The key in the context under which functions find what the client of a tool has said.
const MCP: &str = "mcp";

/// The parts of a request's head.
#[derive(Debug)]
pub struct RequestHead<'a> {
    /// The request id.
    pub id: &'a str,
    /// The method; `INTERNAL` for the call of a plugin.
    pub method: &'a str,
    /// What the client has asked for; none for the call of a plugin.
    pub target: Option<&'a Target>,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The client's address.
    pub peer: IpAddr,
    /// What plugins have set.
    pub context: Option<&'a Context>,
    /// What the client of a tool has said besides the arguments: the text of a JSON object.
    pub mcp: Option<&'a str>,
}

#[derive(Serialize)]
struct Form<'a> {
    id: &'a str,
    method: &'a str,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Vec<(&'a str, &'a str)>>,
    client: PeerText,
    scheme: &'a str,
    host: Cow<'a, str>,
    base: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<serde_json::Map<String, serde_json::Value>>,
}

impl RequestHead<'_> {
    /// The head as a JSON object on one line. A function that takes whole requests gets the headers as an argument.
    #[must_use]
    pub fn to_json(&self, takes: Takes) -> String {
        let (path, query, base) = match self.target {
            Some(target) => (target.uri.path(), target.uri.query(), target.base()),
            None => ("", None, ""),
        };
        let is_https = self.target.is_some_and(|target| target.is_https);
        let form = Form {
            id: self.id,
            method: self.method,
            path,
            query,
            headers: (takes == Takes::Arguments).then(|| pairs(self.headers)),
            client: PeerText(self.peer),
            scheme: if is_https { "https" } else { "http" },
            host: self.host(),
            base,
            context: self.for_function(),
        };
        serde_json::to_string(&form).expect("texts always render as JSON")
    }

    /// The values that plugins have shared for the function, and what the client of a tool has said; none if there is
    /// nothing. No plugin can put its own in the place of the client's.
    fn for_function(&self) -> Option<serde_json::Map<String, serde_json::Value>> {
        let shared = self.context.into_iter().flat_map(Context::for_function);
        let all = shared.chain(self.mcp.map(|said| (MCP, said)));
        let values = all.map(|(key, value)| (key.to_owned(), serde_json::from_str(value).unwrap_or_default()));
        let values: serde_json::Map<_, _> = values.collect();
        (!values.is_empty()).then_some(values)
    }

    fn host(&self) -> Cow<'_, str> {
        let text = self.headers.get(HOST).map(|value| String::from_utf8_lossy(value.as_bytes()));
        text.or_else(|| self.target?.uri.authority().map(|authority| authority.as_str().into())).unwrap_or_default()
    }
}

/// The headers as pairs, without those of the connection and those that are not UTF-8.
pub(super) fn pairs(headers: &HeaderMap) -> Vec<(&str, &str)> {
    let kept = headers.iter().filter(|(name, _)| !is_hop_by_hop(name));
    kept.filter_map(|(name, value)| Some((name.as_str(), std::str::from_utf8(value.as_bytes()).ok()?))).collect()
}

/// Whether a header concerns one connection.
pub(super) fn is_hop_by_hop(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(name) || name.as_str().starts_with("proxy-")
}
