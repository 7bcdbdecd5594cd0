//! The request that a call's arguments describe.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt, Full};
use serde::Deserialize;
use wasmtime_wasi_http::p2::body::HyperIncomingBody;

use crate::wasm_worker::running_call::{FollowingBody, RunningCall};

/// The `host` header of a request without one.
const DEFAULT_HOST: &str = "localhost";

/// The first argument: `{"method":"GET","uri":"/path?query","body":"text"}`, with `base64` for a body that is not text,
/// or `stream` for one that follows.
#[derive(Debug, Deserialize)]
struct RequestArgument<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    uri: Cow<'a, str>,
    #[serde(borrow, default)]
    body: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    base64: Option<Cow<'a, str>>,
    #[serde(default)]
    stream: bool,
}

type Headers<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// Makes the request, and says whether its body follows the call.
pub(super) fn read(args: &str, call: &Arc<RunningCall>) -> Result<(Request<HyperIncomingBody>, bool), String> {
    let mut args: Vec<&serde_json::value::RawValue> = serde_json::from_str(args).map_err(|error| error.to_string())?;
    let headers = if args.len() > 1 { args.pop() } else { None };
    let [argument] = args.as_slice() else { return Err("a request and its headers were expected".to_owned()) };
    let argument: RequestArgument<'_> =
        serde_json::from_str(argument.get()).map_err(|error| format!("the request: {error}"))?;
    let headers: Headers<'_> = match headers {
        Some(headers) => serde_json::from_str(headers.get()).map_err(|error| format!("the headers: {error}"))?,
        None => Vec::new(),
    };
    let body = match (argument.body, argument.base64) {
        (Some(text), None) => Bytes::from(text.into_owned()),
        (None, Some(text)) => BASE64.decode(&*text).map_err(|error| format!("the body: {error}"))?.into(),
        (None, None) => Bytes::new(),
        (Some(_), Some(_)) => return Err("the request has both \"body\" and \"base64\"".to_owned()),
    };
    let body = if argument.stream {
        FollowingBody(Arc::clone(call)).boxed_unsync()
    } else {
        Full::new(body).map_err(|never| match never {}).boxed_unsync()
    };
    let mut request = Request::new(body);
    *request.method_mut() =
        Method::from_bytes(argument.method.as_bytes()).map_err(|_| "the method is invalid".to_owned())?;
    *request.uri_mut() = argument.uri.parse::<Uri>().map_err(|error| format!("the uri: {error}"))?;
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("{name:?} is not a header name"))?;
        let value = HeaderValue::from_str(&value)
            .map_err(|_| format!("the value of the header {:?} is invalid", name.as_str()))?;
        request.headers_mut().append(name, value);
    }
    request.headers_mut().entry(http::header::HOST).or_insert(HeaderValue::from_static(DEFAULT_HOST));
    Ok((request, argument.stream))
}
