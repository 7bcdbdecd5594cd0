//! Session ids for clients with a handshake: they repeat what the client has said that it answers. So nothing is kept
//! of a session, and its id is good after a restart and at another gateway. A client that answers nothing has none.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

/// The header with the id.
pub const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
/// What functions can ask, with the details that matter.
const KNOWN: [(&str, &[&str]); 3] = [("elicitation", &["form", "url"]), ("sampling", &["tools"]), ("roots", &[])];

/// The id of a new session of a client with these capabilities; none if functions can ask it nothing.
///
/// ```
/// use http::HeaderMap;
/// use metagate::http::mcp::sessions::{self, SESSION};
/// use serde_json::json;
///
/// let capabilities = json!({"roots": {"listChanged": true}, "elicitation": {"url": {}}});
/// let id = sessions::begin(capabilities.as_object().unwrap()).unwrap();
/// let headers = HeaderMap::from_iter([(SESSION, id)]);
/// assert_eq!(json!(sessions::capabilities(&headers)), json!({"elicitation": {"url": {}}, "roots": {}}));
/// ```
#[must_use]
pub fn begin(capabilities: &Map<String, Value>) -> Option<HeaderValue> {
    let mut id = ulid::Ulid::new().to_string();
    let length = id.len();
    for (name, details) in KNOWN {
        let Some(capability) = capabilities.get(name).filter(|capability| capability.is_object()) else { continue };
        id.push('~');
        id.push_str(name);
        for detail in details.iter().filter(|detail| capability.get(**detail).is_some()) {
            id.push('.');
            id.push_str(detail);
        }
    }
    if id.len() == length { None } else { HeaderValue::from_str(&id).ok() }
}

/// What the client of a request has said that it answers.
#[must_use]
pub fn capabilities(headers: &HeaderMap) -> Map<String, Value> {
    let id = headers.get(SESSION).and_then(|id| id.to_str().ok()).unwrap_or_default();
    let of_part = |part: &str| {
        let mut words = part.split('.');
        let (name, details) = KNOWN.into_iter().find(|(name, _)| words.clone().next() == Some(*name))?;
        let said = words.by_ref().skip(1).filter(|word| details.contains(word));
        let capability: Map<String, Value> = said.map(|word| (word.to_owned(), json!({}))).collect();
        Some((name.to_owned(), Value::Object(capability)))
    };
    id.split('~').skip(1).filter_map(of_part).collect()
}
