//! Whole HTTP requests for components that export `wasi:http/incoming-handler`: makes a request of the call's
//! arguments, and the call's result of the component's response. Source of the format: `docs/worker-protocol.md`.

use std::borrow::Cow;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use crate::wasm_worker::component::{Program, trapped};
use crate::wasm_worker::failure::Failure;
use crate::wasm_worker::host::{Host, Imports};
use crate::wasm_worker::value::Mismatch;
use crate::wasm_worker::{blocking, log};

/// The `host` header of a request without one.
const DEFAULT_HOST: &str = "localhost";

/// The first argument: `{"method":"GET","uri":"/path?query","body":"text"}`, with `base64` for a body that is not text.
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
}

/// The result: `{"status":200,"headers":[["content-type","text/html"]],"body":"text"}`, or `base64` likewise.
#[derive(Debug, Serialize)]
struct ResponseResult<'a> {
    status: u16,
    headers: Vec<(&'a str, &'a str)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

type Headers<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;
type Head = Result<Response<HyperOutgoingBody>, ErrorCode>;

/// The signature in MetaData: two maps, and a map as result.
pub(super) fn signature() -> Value {
    let map = |name: &str| json!({"name": name, "type": {"name": "", "id": 10}});
    json!({"ret": {"type": {"name": "response", "id": 10}}, "args": [map("request"), map("headers")]})
}

/// Runs a request in a fresh instance of a component. Appends the JSON of its response to `out`.
pub(super) fn serve(
    program: &Program,
    host: &Host,
    args: &str,
    deadline: Instant,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    let request = request(args).map_err(Mismatch::of_whole)?;
    let limit = host.settings().max_message;
    let (response_sender, response_receiver) = oneshot::channel::<Head>();
    // The body is a bounded stream: the component can finish writing it only while it is collected.
    let both = async {
        tokio::join!(handle(program, host, request, response_sender, deadline), collect(response_receiver, limit))
    };
    let (handled, response) = blocking::block_on(both, deadline).map_err(|error| Failure::Trapped(error, None))?;
    match (response, handled) {
        // A complete response counts, even if the component failed after it.
        (Ok(response), _) => write(&response, limit, out).map_err(Failure::Unwritable),
        (Err(_), Err(failure)) => Err(failure),
        (Err(message), Ok(())) => Err(Failure::Unwritable(message)),
    }
}

async fn handle(
    program: &Program,
    host: &Host,
    request: Request<Full<Bytes>>,
    response: oneshot::Sender<Head>,
    deadline: Instant,
) -> Result<(), Failure> {
    let fault = |error| Failure::Trapped(error, None);
    let mut store = host.store(Imports::Components, deadline).map_err(fault)?;
    let request = store.data_mut().http().new_incoming_request(Scheme::Http, request).map_err(fault)?;
    let outparam = store.data_mut().http().new_response_outparam(response).map_err(fault)?;
    let handled = match program.http(&mut store).await {
        Some(Ok(proxy)) => proxy.wasi_http_incoming_handler().call_handle(&mut store, request, outparam).await,
        Some(Err(error)) => Err(error),
        None => return Err(Failure::Unknown),
    };
    store.data().end();
    handled.map_err(|error| trapped(host, &store, error))
}

fn request(args: &str) -> Result<Request<Full<Bytes>>, String> {
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
    let mut request = Request::new(Full::new(body));
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
    Ok(request)
}

async fn collect(response: oneshot::Receiver<Head>, limit: usize) -> Result<Response<Bytes>, String> {
    let head = response.await.map_err(|_| "the component sent no response".to_owned())?;
    let (head, body) =
        head.map_err(|error| format!("the component sent an error instead of a response: {error:?}"))?.into_parts();
    let body = Limited::new(body, limit).collect().await;
    let body =
        body.map_err(|error| format!("the response's body is incomplete or longer than {limit} bytes: {error}"))?;
    Ok(Response::from_parts(head, body.to_bytes()))
}

fn write<'a>(response: &'a Response<Bytes>, limit: usize, out: &mut Vec<u8>) -> Result<(), String> {
    let body = response.body();
    let text = str::from_utf8(body).ok();
    let header = |(name, value): (&'a HeaderName, &'a HeaderValue)| {
        let value = str::from_utf8(value.as_bytes());
        if value.is_err() {
            log::write(format_args!(
                "the header {:?} of a response was left out: its value is not UTF-8",
                name.as_str()
            ));
        }
        value.ok().map(|value| (name.as_str(), value))
    };
    let result = ResponseResult {
        status: response.status().as_u16(),
        headers: response.headers().iter().filter_map(header).collect(),
        body: text.filter(|text| !text.is_empty()),
        base64: text.is_none().then(|| BASE64.encode(body)),
    };
    let start = out.len();
    serde_json::to_writer(&mut *out, &result).map_err(|error| error.to_string())?;
    if out.len() - start > limit {
        return Err(format!("a response of {} bytes as JSON, limit {limit}", out.len() - start));
    }
    Ok(())
}
