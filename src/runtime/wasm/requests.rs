//! Whole HTTP requests for components that export `wasi:http/incoming-handler`: from the call's arguments to the component,
//! from its answer to the call's result. Source of the format: `docs/worker-protocol.md`.

use std::borrow::Cow;
use std::sync::mpsc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wasmtime_wasi::runtime::with_ambient_tokio_runtime;
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use crate::runtime::wasm::component::{Program, trapped};
use crate::runtime::wasm::failure::Failure;
use crate::runtime::wasm::host::{Host, Wants};

/// The host of a request that names none.
const DEFAULT_HOST: &str = "localhost";

/// The first argument: `{"method":"GET","uri":"/path?query","body":"text"}`, with `base64` where the body is no text.
#[derive(Debug, Deserialize)]
struct Asked<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    uri: Cow<'a, str>,
    #[serde(borrow, default)]
    body: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    base64: Option<Cow<'a, str>>,
}

/// The result: `{"status":200,"headers":[["content-type","text/html"]],"body":"text"}`, likewise.
#[derive(Debug, Serialize)]
struct Answered<'a> {
    status: u16,
    headers: Vec<(&'a str, Cow<'a, str>)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

type Headers<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;
type Head = Result<Response<HyperOutgoingBody>, ErrorCode>;
type Whole = Result<Response<Bytes>, String>;

/// What MetaData says of parameters and result.
pub(super) fn signature() -> Value {
    let map = |name: &str| json!({"name": name, "type": {"name": "", "id": 10}});
    json!({"ret": {"type": {"name": "response", "id": 10}}, "args": [map("request"), map("headers")]})
}

/// Hands a request to a component. Appends its answer's JSON to `out`.
pub(super) fn serve(
    program: &Program,
    host: &Host,
    args: &str,
    deadline: Instant,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    let request = request(args).map_err(Failure::Argument)?;
    let fault = |error| Failure::Trapped(error, None);
    let mut store = host.store(Wants::Components, deadline).map_err(fault)?;
    let (answer, answered) = mpsc::sync_channel::<Whole>(1);
    let limit = usize::try_from(host.settings().max_message).unwrap_or(usize::MAX);
    let take = move |head: Head| {
        // The component goes on writing the body while it is gathered.
        with_ambient_tokio_runtime(|| {
            tokio::task::spawn(async move {
                let whole = tokio::time::timeout_at(deadline.into(), gather(head, limit)).await;
                let _gone = answer.send(whole.unwrap_or_else(|_| Err("its answer took too long".to_owned())));
            })
        });
    };
    let request = store.data_mut().http().new_incoming_request(Scheme::Http, request).map_err(fault)?;
    let outparam = store.data_mut().http().new_response_outparam_from_callback(take).map_err(fault)?;
    let handled = program
        .http(&mut store)
        .ok_or(Failure::Unknown)?
        .and_then(|proxy| proxy.wasi_http_incoming_handler().call_handle(&mut store, request, outparam));
    store.data().end();
    let failure = handled.err().map(|error| trapped(host, &store, error));
    // What the component still held of the answer ends with it.
    drop(store);
    match answered.recv() {
        // An answer that is whole counts, whatever the component did after it.
        Ok(Ok(answer)) => write(&answer, limit, out).map_err(Failure::Unwritable),
        Ok(Err(words)) => Err(failure.unwrap_or(Failure::Unwritable(words))),
        Err(_) => Err(failure.unwrap_or_else(|| Failure::Unwritable("it gave no answer".to_owned()))),
    }
}

fn request(args: &str) -> Result<Request<Full<Bytes>>, String> {
    let mut args: Vec<&serde_json::value::RawValue> = serde_json::from_str(args).map_err(|error| error.to_string())?;
    let headers = if args.len() > 1 { args.pop() } else { None };
    let [asked] = args.as_slice() else { return Err("a request and its headers were expected".to_owned()) };
    let asked: Asked<'_> = serde_json::from_str(asked.get()).map_err(|error| format!("the request: {error}"))?;
    let headers: Headers<'_> = match headers {
        Some(headers) => serde_json::from_str(headers.get()).map_err(|error| format!("the headers: {error}"))?,
        None => Vec::new(),
    };
    let body = match (asked.body, asked.base64) {
        (Some(text), None) => Bytes::from(text.into_owned()),
        (None, Some(text)) => BASE64.decode(&*text).map_err(|error| format!("the body: {error}"))?.into(),
        (None, None) => Bytes::new(),
        (Some(_), Some(_)) => return Err("both \"body\" and \"base64\"".to_owned()),
    };
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::from_bytes(asked.method.as_bytes()).map_err(|_| "the method is none".to_owned())?;
    *request.uri_mut() = asked.uri.parse::<Uri>().map_err(|error| format!("the uri: {error}"))?;
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("{name:?} is no header"))?;
        let value =
            HeaderValue::from_str(&value).map_err(|_| format!("the header {:?} has no value", name.as_str()))?;
        request.headers_mut().append(name, value);
    }
    request.headers_mut().entry(http::header::HOST).or_insert(HeaderValue::from_static(DEFAULT_HOST));
    Ok(request)
}

async fn gather(head: Head, limit: usize) -> Whole {
    let (head, body) = head.map_err(|error| format!("it gave an error instead of an answer: {error:?}"))?.into_parts();
    let body = Limited::new(body, limit).collect().await;
    let body = body.map_err(|error| format!("its answer is not whole, or longer than {limit} bytes: {error}"))?;
    Ok(Response::from_parts(head, body.to_bytes()))
}

fn write(answer: &Response<Bytes>, limit: usize, out: &mut Vec<u8>) -> Result<(), String> {
    let body = answer.body();
    let text = str::from_utf8(body).ok();
    let answered = Answered {
        status: answer.status().as_u16(),
        headers: answer
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())))
            .collect(),
        body: text.filter(|text| !text.is_empty()),
        base64: text.is_none().then(|| BASE64.encode(body)),
    };
    let begun = out.len();
    serde_json::to_writer(&mut *out, &answered).map_err(|error| error.to_string())?;
    if out.len() - begun > limit {
        return Err(format!("an answer of {} bytes as JSON, limit {limit}", out.len() - begun));
    }
    Ok(())
}
