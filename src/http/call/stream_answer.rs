//! The answer to a call whose function returned a stream. Its head waits for the first piece, so that an error before
//! it has a status; a JSON array, which no client reads piece by piece, waits a little longer.

use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response};

use crate::gateway::failure;
use crate::http::bodies::Bodies;
use crate::http::call::answer;
use crate::http::call::framing::Framing;
use crate::http::call::lookup::Client;
use crate::http::call::stream_body::{CallNames, FramedStream, StreamBody};
use crate::http::problem::{Code, Problem};
use crate::http::reply_body::ReplyBody;
use crate::http::request_id;
use crate::invocation::CallFailure;
use crate::invocation::stream::StreamFormat;
use crate::plugin::held_stream::HeldStream;
use crate::plugin::outcome::{Content, Outcome, Source};
use crate::registry::Deployment;

/// How long the head of an answer waits.
const HELD_TIME: Duration = Duration::from_millis(100);
/// Bytes of an array that wait with it.
const HELD_BYTES: usize = 64 << 10;
/// `Retry-After` where there are too many streams.
const RETRY: Duration = Duration::from_secs(1);
/// Asks nginx and those like it not to gather events.
pub const NO_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The answer to a call of this function.
///
/// # Errors
///
/// Those of streams: there are too many, or a plugin has taken the content of this one.
pub async fn of_outcome(
    outcome: Outcome,
    deployment: &Deployment,
    function: &str,
    client: Client<'_>,
    bodies: &Bodies,
) -> Result<Response<ReplyBody>, Problem> {
    let Content::Stream(stream, format) = &outcome.content else {
        return Ok(answer::render(outcome, request_id::text(client.id)));
    };
    let names = CallNames::new(deployment, function, client.id);
    let (stream, format) = (stream.clone(), *format);
    // Boxed: it would enlarge the future of every call.
    Box::pin(render(outcome, &stream, format, names, bodies)).await
}

/// The answer to a call that ended with this stream.
///
/// # Errors
///
/// There are too many streams, or a plugin has taken the content of this one.
async fn render(
    mut outcome: Outcome,
    stream: &HeldStream,
    format: StreamFormat,
    names: CallNames,
    bodies: &Bodies,
) -> Result<Response<ReplyBody>, Problem> {
    let mut framed = framed(stream, format, bodies)?;
    let is_array = matches!(framed.framing(), Framing::Array(_));
    let content_type = framed.framing().content_type();
    let mut first = Vec::new();
    let begun = begin(&mut framed, is_array, &mut first);
    match tokio::time::timeout(HELD_TIME, begun).await {
        Ok(Err(fault)) => {
            let failure = failure::of_stream(fault.clone(), &names.of);
            let source =
                if matches!(fault, CallFailure::Function(_)) { Source::FunctionError } else { Source::Gateway };
            return Ok(answer::render(Outcome::failed(source, failure), &names.request_id));
        }
        Ok(Ok(false)) => outcome.content = Content::Answer(first.into()),
        Ok(Ok(true)) | Err(_) => {
            let body = axum::body::Body::new(StreamBody::new(framed, first, names.clone()));
            let response = answer::render(outcome, &names.request_id);
            return Ok(with_type(response, content_type).map(|_| ReplyBody::Streamed(body)));
        }
    }
    Ok(with_type(answer::render(outcome, &names.request_id), content_type))
}

fn framed(held: &HeldStream, format: StreamFormat, bodies: &Bodies) -> Result<FramedStream, Problem> {
    let Some(stream) = held.take() else {
        return Err(Problem::new(Code::PluginFailed, "a plugin failed while it read the stream").retry_after(RETRY));
    };
    let Some(window) = bodies.streams().open() else {
        return Err(Problem::new(Code::Overloaded, "too many streams").retry_after(RETRY));
    };
    let framing = if stream.response.is_some() { Framing::Bytes } else { Framing::of_items(format) };
    Ok(FramedStream::new(stream, framing, window))
}

/// Reads what the head of the answer waits for. False if that was the whole stream.
async fn begin(framed: &mut FramedStream, is_array: bool, first: &mut Vec<u8>) -> Result<bool, CallFailure> {
    loop {
        if !framed.read(first).await? {
            return Ok(false);
        }
        if !is_array || first.len() >= HELD_BYTES {
            return Ok(true);
        }
    }
}

/// Adds the headers of the form, unless a plugin has set others.
fn with_type(mut response: Response<ReplyBody>, content_type: Option<HeaderValue>) -> Response<ReplyBody> {
    let Some(content_type) = content_type else { return response };
    let headers = response.headers_mut();
    if content_type == "text/event-stream" {
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
        headers.entry(NO_BUFFERING).or_insert(HeaderValue::from_static("no"));
    }
    headers.entry(CONTENT_TYPE).or_insert(content_type);
    response
}
