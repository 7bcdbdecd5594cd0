//! Calls that their callers do not wait for: `Prefer: respond-async` (RFC 7240), or `async` in place of `call` in the
//! address. The answer is 202 with the address of the call, once it is on the disk.

use std::sync::Arc;

use http::header::{CONTENT_TYPE, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use crate::config::CallbackUrl;
use crate::gateway::Gateway;
use crate::gateway::async_calls::AsyncCalls;
use crate::gateway::async_calls::accept::{Acceptance, Wish, failure_of};
use crate::gateway::call::Call;
use crate::http::bodies::Bodies;
use crate::http::call::lookup::Client;
use crate::http::call::record::CallRecord;
use crate::http::call::{answer, stream_answer};
use crate::http::problem::{Code, Problem};
use crate::http::reply_body::ReplyBody;
use crate::plugin::outcome::{Outcome, Source};
use crate::queue::{Priority, shown};
use crate::registry::Deployment;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const CALLBACK: HeaderName = HeaderName::from_static("callback");
const PRIORITY: HeaderName = HeaderName::from_static("x-metagate-priority");
/// The preference.
const RESPOND_ASYNC: &str = "respond-async";
/// Bytes of an idempotency key.
const KEY_LIMIT: usize = 255;

/// How a caller wants a call to be made, if not at once and every time.
#[derive(Debug, Default)]
pub struct Deferral {
    /// Whether nobody waits for it.
    pub is_async: bool,
    is_preference: bool,
    /// The key under which it is made once.
    pub key: Option<Box<str>>,
    priority: Priority,
    /// Where its end is to be reported.
    callback: Option<CallbackUrl>,
}

impl Deferral {
    /// What the headers of a request ask for; none for a plain call. `by_address`: the address asks for it.
    ///
    /// # Errors
    ///
    /// 400 `bad_request`: a header is malformed.
    pub fn of(headers: &HeaderMap, by_address: bool) -> Result<Option<Self>, Problem> {
        // Comparing names costs less than looking names up: most calls have few headers, and none of these.
        if !by_address && !headers.keys().any(|name| matches!(name.as_str(), "prefer" | "idempotency-key")) {
            return Ok(None);
        }
        let prefers = headers.get_all(PREFER).iter().any(prefers_async);
        let key = headers.get(IDEMPOTENCY_KEY).map(key_of).transpose()?;
        if headers.get_all(IDEMPOTENCY_KEY).iter().nth(1).is_some() {
            return Err(Problem::new(Code::BadRequest, "more than one idempotency-key"));
        }
        if !by_address && !prefers && key.is_none() {
            return Ok(None);
        }
        let priority = headers.get(PRIORITY).map(priority_of).transpose()?.unwrap_or_default();
        let is_async = by_address || prefers;
        let callback = if is_async { callback_of(headers)? } else { None };
        Ok(Some(Self { is_async, is_preference: prefers, key, priority, callback }))
    }

    /// The same where calls are not asynchronous: none if that is all that was asked for.
    #[must_use]
    pub fn without_async(self) -> Option<Self> {
        self.key.is_some().then_some(Self { is_async: false, ..self })
    }
}

fn prefers_async(value: &HeaderValue) -> bool {
    let Ok(value) = value.to_str() else { return false };
    value.split(',').any(|one| {
        let name = one.split([';', '=']).next().unwrap_or_default();
        name.trim().eq_ignore_ascii_case(RESPOND_ASYNC)
    })
}

fn key_of(value: &HeaderValue) -> Result<Box<str>, Problem> {
    let key = value.to_str().unwrap_or_default();
    if (1..=KEY_LIMIT).contains(&key.len()) {
        return Ok(key.into());
    }
    let message = format!("idempotency-key is 1 to {KEY_LIMIT} visible characters");
    Err(Problem::new(Code::BadRequest, message))
}

fn callback_of(headers: &HeaderMap) -> Result<Option<CallbackUrl>, Problem> {
    let mut values = headers.get_all(CALLBACK).iter();
    let (value, further) = (values.next(), values.next());
    if further.is_some() {
        return Err(Problem::new(Code::BadRequest, "more than one callback"));
    }
    let refused = |error: String| Problem::new(Code::BadRequest, format!("callback: {error}"));
    value.map(|value| value.to_str().unwrap_or_default().parse().map_err(refused)).transpose()
}

fn priority_of(value: &HeaderValue) -> Result<Priority, Problem> {
    match value.as_bytes() {
        b"normal" => Ok(Priority::Normal),
        b"low" => Ok(Priority::Low),
        _ => Err(Problem::new(Code::BadRequest, "x-metagate-priority is \"normal\" or \"low\"")),
    }
}

/// What a request asks for beyond a plain call, if that is offered.
///
/// # Errors
///
/// 400 `bad_request`: a header is malformed. 404 `not_found`: calls of the deployment cannot be asynchronous, and the
/// address asks for it. 403 `callback_not_allowed`: its end may not be reported there.
pub fn of_request(
    gateway: &Gateway,
    deployment: &Deployment,
    head: &Parts,
    by_address: bool,
) -> Result<Option<Deferral>, Problem> {
    if by_address && head.method == Method::HEAD {
        let problem = Problem::new(Code::MethodNotAllowed, "an asynchronous call is made with GET or POST, not HEAD");
        return Err(problem.allowing("GET, POST, OPTIONS"));
    }
    if matches!(head.method, Method::HEAD | Method::OPTIONS) {
        // Questions about the address, and answers without a body.
        return Ok(None);
    }
    let Some(deferral) = Deferral::of(&head.headers, by_address)? else { return Ok(None) };
    if deferral.is_async && !is_offered(gateway, deployment, &deferral)? {
        return Ok(deferral.without_async());
    }
    if let Some(url) = &deferral.callback {
        check_callback(gateway, url)?;
    }
    Ok(Some(deferral))
}

fn check_callback(gateway: &Gateway, url: &CallbackUrl) -> Result<(), Problem> {
    if gateway.async_calls().is_some_and(|calls| calls.rules().callbacks.permits(url)) {
        return Ok(());
    }
    let origin = url.get().origin().ascii_serialization();
    let message = format!("\"http\" in [async.callbacks] does not permit {origin:?}");
    Err(Problem::new(Code::CallbackNotAllowed, message))
}

/// Has a call made later, and answers with where it is found; or once for its key, with its outcome.
///
/// # Errors
///
/// Those of streams.
pub async fn answer(
    gateway: &Arc<Gateway>,
    call: Call<'_>,
    deferral: &Deferral,
    client: Client<'_>,
    bodies: &Bodies,
    record: &mut CallRecord<'_>,
) -> Result<Response<ReplyBody>, Problem> {
    let (deployment, function) = (record.deployment, record.function);
    let outcome = match (&deferral.key, gateway.async_calls()) {
        (_, Some(calls)) if deferral.is_async => return Ok(accept(gateway, calls, deployment, call, deferral).await),
        (Some(key), Some(calls)) => gateway.call_once(calls, deployment, call, key).await,
        (None, _) | (_, None) => gateway.call(deployment, call).await,
    };
    record.answered(&outcome);
    stream_answer::of_outcome(outcome, deployment, function, client, bodies).await
}

/// Checks that calls of a deployment may be asynchronous. False if the caller would only have preferred that.
fn is_offered(gateway: &Gateway, deployment: &Deployment, deferral: &Deferral) -> Result<bool, Problem> {
    let name = deployment.name.as_str();
    let offered = gateway.async_calls().is_some_and(|calls| calls.rules().of_deployment(name).enabled);
    if offered || deferral.is_preference {
        return Ok(offered);
    }
    let message =
        format!("calls of {name:?} cannot be asynchronous: \"enabled\" is false in [async] or its own table of it");
    Err(Problem::new(Code::NotFound, message))
}

/// Accepts a call, and answers with where it is found.
async fn accept(
    gateway: &Arc<Gateway>,
    calls: &AsyncCalls,
    deployment: &Arc<Deployment>,
    call: Call<'_>,
    deferral: &Deferral,
) -> Response<ReplyBody> {
    let request_id = call.request_id;
    let wish = Wish {
        key: deferral.key.as_deref(),
        priority: deferral.priority,
        origin: "",
        callback: deferral.callback.as_ref(),
    };
    let kept = match gateway.accept(calls, deployment, call, wish).await {
        Acceptance::New(kept) => *kept,
        Acceptance::Before(id) => match calls.queue.look(id).await {
            Ok(Some((kept, _))) => kept,
            Ok(None) => {
                let message = "the call with this idempotency-key has ended, and is not kept any more";
                return Problem::new(Code::CallNotFound, message).into_response(request_id);
            }
            Err(fault) => {
                return answer::render(Outcome::failed(Source::Gateway, failure_of(&fault)), request_id);
            }
        },
        Acceptance::Ended(outcome) => return answer::render(*outcome, request_id),
    };
    let mut response = Response::new(ReplyBody::full(shown::json(&kept, None)));
    *response.status_mut() = StatusCode::ACCEPTED;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(location) = HeaderValue::from_str(&shown::address(kept.id)) {
        headers.insert(LOCATION, location);
    }
    if deferral.is_preference {
        headers.insert(PREFERENCE_APPLIED, HeaderValue::from_static(RESPOND_ASYNC));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&'static str, &'static str)]) -> Result<Option<Deferral>, Problem> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        Deferral::of(&headers, false)
    }

    #[test]
    fn a_preference_is_found_among_others() {
        for value in ["respond-async", "wait=10, Respond-Async", "return=minimal,respond-async; foo=1"] {
            assert!(of(&[("prefer", value)]).unwrap().unwrap().is_async, "{value}");
        }
        for value in ["respond-asynchronous", "wait=respond-async-ly", ""] {
            assert!(of(&[("prefer", value)]).unwrap().is_none(), "{value}");
        }
        assert!(of(&[("accept", "a"), ("prefer", "wait=1"), ("prefer", "respond-async")]).unwrap().is_some());
    }

    #[test]
    fn a_malformed_header_is_refused() {
        assert!(of(&[("idempotency-key", "")]).is_err());
        assert!(of(&[("prefer", "respond-async"), ("x-metagate-priority", "high")]).is_err());
        for callback in ["", "/orders", "ftp://a.b/c", "https://me:pw@a.b", "https://a.b/#c"] {
            assert!(of(&[("prefer", "respond-async"), ("callback", callback)]).is_err(), "{callback}");
            assert!(of(&[("idempotency-key", "k"), ("callback", callback)]).is_ok(), "a plain call has none");
        }
        let keyed = of(&[("idempotency-key", "\"k-1\"")]).unwrap().unwrap();
        assert!(!keyed.is_async && keyed.key.as_deref() == Some("\"k-1\""));
    }
}
