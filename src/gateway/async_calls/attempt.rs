//! One try of an asynchronous call: a worker is asked, the after-hooks run, and what it came to is kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue};

use crate::answer::Failure;
use crate::answer::code::Code;
use crate::clock;
use crate::config::PluginName;
use crate::deployment::Takes;
use crate::gateway::async_calls::accept::share_try;
use crate::gateway::async_calls::stored_call::StoredCall;
use crate::gateway::counted::Counted;
use crate::gateway::plugin_call_record::{CallRecord, Called, Ending};
use crate::gateway::{Gateway, failure};
use crate::plugin::chain::Chain;
use crate::plugin::outcome::{Content, Outcome, Source};
use crate::queue::progress::TryEnd;
use crate::queue::{Answer, Try};
use crate::registry::Deployment;
use crate::worker::failure::CallError;

/// The header that carries an error's code.
const ERROR_HEADER: HeaderName = HeaderName::from_static("x-metagate-error");
/// Bytes of a stream that are kept as the result.
const STREAM_LIMIT: usize = 8 << 20;
/// When a call is tried again that no worker took.
const NOT_BEGUN: Duration = Duration::from_secs(1);
/// The longest delay of such a call.
const LONGEST_NOT_BEGUN: Duration = Duration::from_secs(30);

/// Codes of the gateway's own for calls that no worker took.
const UNTAKEN: [Code; 6] =
    [Code::Overloaded, Code::Starting, Code::Draining, Code::CrashLoop, Code::SpawnFailed, Code::LoadFailed];

/// Makes a try. Returns how it ended and what it came to; none if the gateway ends meanwhile: another one makes it
/// again.
pub(super) async fn attempt(gateway: &Arc<Gateway>, one: &Try) -> Option<(TryEnd, Answer)> {
    let stored = one.request.as_deref().map(StoredCall::read);
    let stored = match stored {
        Some(Ok(stored)) => stored,
        Some(Err(error)) => return Some(lost(&format!("what is kept of the call cannot be read: {error}"))),
        None => return Some(lost("what is kept of the call is gone")),
    };
    let Some(deployment) = gateway.deployment(&one.deployment) else {
        let failure = failure::of_call(CallError::Gone, &one.deployment, &one.function, Takes::Arguments);
        let outcome = Outcome::failed(Source::Gateway, failure);
        return Some((end_of(&outcome), answer_of(&outcome, &stored.request_id)));
    };
    let request_id = stored.request_id.clone();
    let (outcome, untaken) = made(gateway, &deployment, one, stored).await;
    // Its worker ends with the gateway.
    if gateway.is_draining() && outcome.status >= 500 && outcome.source == Source::Gateway {
        return None;
    }
    let end = untaken.map_or_else(|| end_of(&outcome), TryEnd::NotBegun);
    Some((end, answer_of(&outcome, &request_id)))
}

/// Asks a worker, and runs the after-hooks. Returns also when the call is to be tried again, if no worker took it.
async fn made(
    gateway: &Arc<Gateway>,
    deployment: &Arc<Deployment>,
    one: &Try,
    stored: StoredCall,
) -> (Outcome, Option<Duration>) {
    let function = &*one.function;
    let deadline = deployment.deadline(clock::now());
    let (mut call, passed) = stored.into_invocation(deployment.name.clone(), function, deadline);
    share_try(&mut call, one.id, one.number);
    let request_id = call.id.clone();
    let called = Called { deployment: deployment.name.as_str(), function, id: &request_id };
    let record = CallRecord::begin(gateway, None, called, call.arguments.as_json().len());
    let mut outcome = Box::new(gateway.ask(deployment, &call, None).await);
    let untaken = untaken(&outcome);
    if let Some(chain) = chain_of(deployment, function, &passed) {
        let count = chain.plugins().len();
        (_, outcome) = chain.after_invoke(call, outcome, count).await;
    }
    let outcome = gathered(*outcome, deadline).await;
    let result = match &outcome.content {
        Content::Result(body) | Content::Answer(body) => Ok(body.clone()),
        Content::Stream(..) => Ok(Bytes::new()),
        Content::Problem { code, message, .. } => Err(Failure::new(outcome.status, code.clone(), message.clone())),
    };
    let ending = Ending { status: Some(outcome.status), times: outcome.times, stream: None };
    record.end(Counted::of(deployment, function), ending, &result);
    (outcome, untaken)
}

/// The plugins in service whose before-hooks have let the call pass.
fn chain_of(deployment: &Deployment, function: &str, passed: &[PluginName]) -> Option<Chain> {
    let chain = deployment.chain_of(function)?;
    let plugins = chain.plugins().iter().filter(|plugin| passed.contains(&plugin.settings.name)).cloned().collect();
    let chain = Chain::new(plugins);
    chain.has_after_invoke().then_some(chain)
}

/// What is kept of an outcome.
pub(super) fn answer_of(outcome: &Outcome, request_id: &str) -> Answer {
    let (code, message) = match &outcome.content {
        Content::Problem { code, message, .. } => (&**code, &**message),
        _ if outcome.status >= 400 => ("function_error", "the function answered with this status"),
        _ => ("", ""),
    };
    let is_json = matches!(outcome.content, Content::Result(_) | Content::Problem { .. });
    let mut headers = outcome.headers.clone();
    if is_json && !headers.iter().any(|(name, _)| *name == CONTENT_TYPE) {
        headers.push((CONTENT_TYPE, HeaderValue::from_static("application/json")));
    }
    if let Content::Problem { code, .. } = &outcome.content
        && let Ok(code) = HeaderValue::from_str(code)
    {
        headers.push((ERROR_HEADER, code));
    }
    let head = head_text(&headers).into();
    let body = outcome.body(request_id);
    Answer { status: outcome.status, code: code.into(), message: message.into(), head, body }
}

/// The whole of a stream, which has to end before the deadline of its call.
pub(super) async fn gathered(outcome: Outcome, deadline: Instant) -> Outcome {
    let Content::Stream(held, _) = &outcome.content else { return outcome };
    if tokio::time::timeout_at(deadline.into(), held.gather(STREAM_LIMIT)).await.is_err() {
        let failure = Failure::of_code(Code::CallTimeout, "the stream did not end within the timeout of the call");
        return Outcome { times: outcome.times, ..Outcome::failed(Source::Gateway, failure) };
    }
    match held.gathered() {
        Some(Ok(body)) if outcome.headers.iter().any(|(name, _)| *name == CONTENT_TYPE) => {
            Outcome { content: Content::Answer(body), ..outcome }
        }
        Some(Ok(body)) => Outcome { content: Content::Result(body), ..outcome },
        Some(Err(failure)) => Outcome { times: outcome.times, ..Outcome::failed(Source::Gateway, failure) },
        None => Outcome { content: Content::Result(Bytes::new()), ..outcome },
    }
}

/// When a call is tried again that no worker took; none if one did.
fn untaken(outcome: &Outcome) -> Option<Duration> {
    let is_own = outcome.source == Source::Gateway && outcome.status == 503;
    let is_untaken = is_own && UNTAKEN.iter().any(|code| outcome.code() == Some(code.as_str()));
    is_untaken.then(|| retry_after(outcome))
}

fn end_of(outcome: &Outcome) -> TryEnd {
    match outcome.status {
        ..400 => TryEnd::Done,
        // They say that another try may be answered.
        408 | 425 | 429 => TryEnd::Failed,
        400..500 => TryEnd::Final,
        _ => TryEnd::Failed,
    }
}

/// What the answer says about the next try.
fn retry_after(outcome: &Outcome) -> Duration {
    let value = outcome.headers.iter().find(|(name, _)| *name == RETRY_AFTER).map(|(_, value)| value);
    let seconds = value.and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    seconds.map_or(NOT_BEGUN, |seconds| Duration::from_secs(seconds).min(LONGEST_NOT_BEGUN))
}

/// What is kept of a try that could not even be made.
fn lost(why: &str) -> (TryEnd, Answer) {
    (TryEnd::Final, error_of(Code::StorageError, why))
}

/// What is kept of a try whose result could not wait for the disk.
pub(super) fn no_memory() -> (TryEnd, Answer) {
    let why = "the disk did not take the result, and there was no memory to wait for it (max_buffered)";
    (TryEnd::Failed, error_of(Code::InsufficientStorage, why))
}

/// The answer of an error of the gateway's own.
fn error_of(code: Code, why: &str) -> Answer {
    let body = crate::answer::error_body(code.as_str(), why, None, "");
    let head = head_text(&[(CONTENT_TYPE, HeaderValue::from_static("application/json"))]).into();
    Answer { status: code.status().as_u16(), code: code.as_str().into(), message: why.into(), head, body }
}

/// The headers of an answer as a JSON array of pairs.
fn head_text(headers: &[(HeaderName, HeaderValue)]) -> String {
    let pairs: Vec<(&str, &str)> =
        headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
    serde_json::to_string(&pairs).expect("texts always render as JSON")
}

/// The headers of [`head_text`].
pub(super) fn headers_of(head: &str) -> Vec<(HeaderName, HeaderValue)> {
    let pairs: Vec<(String, String)> = serde_json::from_str(head).unwrap_or_default();
    let pair =
        |(name, value): (String, String)| Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?));
    pairs.into_iter().filter_map(pair).collect()
}
