//! CORS: what web pages of other origins may do, and how browsers learn it. Protocol:
//! <https://fetch.spec.whatwg.org/#http-cors-protocol>.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use crate::config::{CorsConfig, CorsOrigin, HeaderWord, MethodName};
use crate::http::problem::{Code, Problem};
use crate::http::reply_body::ReplyBody;

const ANY: HeaderValue = HeaderValue::from_static("*");
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
/// What may be done with an asynchronous call.
const METHODS_OF_CALLS: HeaderValue = HeaderValue::from_static("GET, HEAD, DELETE");
/// What the answer to a preflight depends on.
const PREFLIGHT_VARY: HeaderValue =
    HeaderValue::from_static("Origin, Access-Control-Request-Method, Access-Control-Request-Headers");
/// Headers of a function's own CORS, which would contradict the configuration's.
const OWN: [HeaderName; 5] = [
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS,
];

/// What pages of other origins may do at some addresses.
#[derive(Debug, Clone)]
pub struct CorsPolicy {
    origins: Vec<CorsOrigin>,
    methods: HeaderValue,
    /// The headers that pages may send; none for all that they ask for.
    headers: Option<HeaderValue>,
    expose: Option<HeaderValue>,
    credentials: bool,
    max_age: HeaderValue,
}

/// Whether a request asks for permission on behalf of a page.
#[must_use]
pub fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::OPTIONS && headers.contains_key(ORIGIN) && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

impl CorsPolicy {
    /// The policy of a table.
    #[must_use]
    pub fn new(config: &CorsConfig) -> Self {
        let words = |words: &[HeaderWord]| joined(words.iter().map(ToString::to_string));
        let all_headers = config.headers.contains(&HeaderWord::Any);
        Self {
            origins: config.origins.clone(),
            methods: config
                .methods
                .as_ref()
                .map_or(METHODS, |methods| joined(methods.iter().map(MethodName::to_string))),
            headers: (!all_headers).then(|| words(&config.headers)),
            expose: (!config.expose.is_empty()).then(|| words(&config.expose)),
            credentials: config.credentials,
            max_age: HeaderValue::from(config.max_age.get().as_secs()),
        }
    }

    /// The same at the addresses of asynchronous calls: whoever may make a call may follow it, and take it back.
    #[must_use]
    pub fn of_calls(&self) -> Self {
        Self { methods: METHODS_OF_CALLS, ..self.clone() }
    }

    /// Whether the answer is the same for every origin.
    fn is_same_for_all(&self) -> bool {
        !self.credentials && self.origins.contains(&CorsOrigin::Any)
    }

    /// The value of `access-control-allow-origin`.
    fn allowed(&self, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
        if self.is_same_for_all() {
            return Some(ANY);
        }
        let text = origin?.to_str().ok()?;
        self.origins.iter().any(|permitted| permitted.permits(text)).then(|| origin.cloned())?
    }

    /// Whether pages of an origin may see answers.
    #[must_use]
    pub fn permits(&self, origin: &HeaderValue) -> bool {
        self.allowed(Some(origin)).is_some()
    }

    /// Answers a preflight.
    ///
    /// # Errors
    ///
    /// `forbidden` for an origin that is not permitted.
    pub fn preflight(&self, request: &HeaderMap) -> Result<Response<ReplyBody>, Problem> {
        if self.allowed(request.get(ORIGIN)).is_none() {
            let message = "this origin is not permitted: \"origins\" of the table \"cors\" lists those that are";
            return Err(Problem::new(Code::Forbidden, message));
        }
        let mut response = Response::new(ReplyBody::Full(None));
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
        let asked = || request.get(ACCESS_CONTROL_REQUEST_HEADERS).filter(|names| is_list_of_names(names)).cloned();
        if let Some(names) = self.headers.clone().or_else(asked) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names);
        }
        headers.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        headers.insert(VARY, PREFLIGHT_VARY);
        Ok(response)
    }

    /// Sets the headers of an answer to a request of this origin, be it a result, an error or an answer to a preflight.
    pub fn set_headers(&self, origin: Option<&HeaderValue>, is_preflight: bool, headers: &mut HeaderMap) {
        for name in OWN {
            let of_preflight = name == ACCESS_CONTROL_ALLOW_METHODS || name == ACCESS_CONTROL_ALLOW_HEADERS;
            if !(is_preflight && of_preflight) {
                headers.remove(name);
            }
        }
        if !self.is_same_for_all() {
            add_vary(headers);
        }
        let Some(allowed) = self.allowed(origin) else { return };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if self.credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        if let (Some(names), false) = (&self.expose, is_preflight) {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, names.clone());
        }
    }
}

/// Adds `Vary: Origin` unless the answer has it.
pub fn add_vary(headers: &mut HeaderMap) {
    let names = headers.get_all(VARY).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let has_it = names.map(<[u8]>::trim_ascii).any(|name| name.eq_ignore_ascii_case(b"origin") || name == b"*");
    if !has_it {
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }
}

fn is_list_of_names(value: &HeaderValue) -> bool {
    let names = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    names.into_iter().all(|name| HeaderName::from_bytes(name).is_ok())
}

/// A list as the value of a header.
fn joined(words: impl Iterator<Item = String>) -> HeaderValue {
    let text = words.collect::<Vec<_>>().join(", ");
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
