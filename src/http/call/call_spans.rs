//! The spans of a call: one for the request, as OpenTelemetry's conventions for HTTP servers have it, and one for each
//! step of its timeline and for its stream.

use std::time::Instant;

use http::{Method, Version};
use opentelemetry_proto::tonic::common::v1::KeyValue;

use crate::addresses::PeerText;
use crate::deployment::DeploymentName;
use crate::http::call::call_head::CallHead;
use crate::http::request_id;
use crate::invocation::trace_context::SpanId;
use crate::metrics::calls::Ended;
use crate::metrics::outcomes::is_error;
use crate::traces::span::{self, Begun, Moment, Period, Span, SpanKind, number, text};
use crate::traces::steps::Whole;
use crate::traces::timeline::Step;

/// The spans of a call that began at this time, in the order in which they began.
#[must_use]
pub(super) fn of_call(
    head: &CallHead,
    trace: &Begun,
    moment: Moment,
    begun: Instant,
    ended: &Ended,
    steps: Vec<Step>,
) -> Vec<Span> {
    let end = begun + ended.duration;
    let mut spans = vec![of_request(head, trace, moment, (begun, end), ended)];
    let deployment = head.deployment.as_ref().map(DeploymentName::as_str);
    let whole = Whole { trace: &trace.context, moment, end, code: &ended.code, deployment };
    spans.extend(steps.into_iter().map(|step| whole.span_of(step)));
    if let Some(stream) = ended.stream {
        let period = (end.checked_sub(stream).unwrap_or(begun), end);
        let (id, kind) = (SpanId::random(), SpanKind::Internal);
        let mut span = span::step(&trace.context, id, "stream".to_owned(), kind, moment, period);
        if !ended.code.is_empty() {
            span::fail(&mut span, &ended.code);
        }
        spans.push(span);
    }
    spans
}

fn of_request(head: &CallHead, trace: &Begun, moment: Moment, period: Period, ended: &Ended) -> Span {
    let route = route(head, ended);
    let method = match &head.method {
        &(Method::GET | Method::POST | Method::PUT | Method::DELETE | Method::HEAD | Method::PATCH)
        | &(Method::OPTIONS | Method::TRACE | Method::CONNECT) => head.method.as_str(),
        _ => "_OTHER",
    };
    let name = match (&route, method) {
        (Some(route), "_OTHER") => format!("HTTP {route}"),
        (Some(route), method) => format!("{method} {route}"),
        (None, "_OTHER") => "HTTP".to_owned(),
        (None, method) => method.to_owned(),
    };
    let mut span = span::root(trace, name, SpanKind::Server, moment, period);
    span.attributes = attributes(head, ended);
    span.attributes.push(text("http.request.method", method));
    if method == "_OTHER" {
        span.attributes.push(text("http.request.method_original", head.method.as_str()));
    }
    if let Some(route) = &route {
        span.attributes.push(text("http.route", route));
    }
    // The caller's faults are no errors of a server.
    if is_error(ended.status, &ended.code) {
        span::fail(&mut span, &ended.code);
    } else if !ended.code.is_empty() {
        span.attributes.push(text("error.type", &ended.code));
    }
    span
}

/// What is known of every request.
fn attributes(head: &CallHead, ended: &Ended) -> Vec<KeyValue> {
    let version = match head.version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    };
    let size = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let mut attributes = vec![
        text("url.path", head.uri.path()),
        text("url.scheme", if head.is_https { "https" } else { "http" }),
        text("network.protocol.version", version),
        text("client.address", &PeerText(head.client).to_string()),
        number("http.response.status_code", ended.status.into()),
        number("http.request.body.size", size(ended.request_bytes)),
        number("http.response.body.size", size(ended.answer_bytes)),
        text("metagate.request_id", request_id::text(&head.id)),
        text("metagate.function", &head.function),
    ];
    if let Some(deployment) = &head.deployment {
        attributes.push(text("metagate.deployment", deployment.as_str()));
    }
    if let Some(agent) = head.user_agent.as_ref().and_then(|agent| agent.to_str().ok()) {
        attributes.push(text("user_agent.original", agent));
    }
    attributes
}

/// The address without what differs from call to call: that of the route, or of the function. Names that callers have
/// made up are left out.
fn route(head: &CallHead, ended: &Ended) -> Option<String> {
    if head.route.is_some() {
        return head.route.clone();
    }
    head.deployment.as_ref()?;
    let path = head.uri.path();
    // What is below `/http` is the application's own.
    match path.match_indices('/').nth(4) {
        Some((at, _)) if path.as_bytes()[..at].ends_with(b"/http") => Some(format!("{}/{{path...}}", &path[..at])),
        Some((at, _)) if matches!(&*ended.code, "function_not_found" | "ambiguous_function") => {
            Some(format!("{}/{{function}}", &path[..at]))
        }
        _ => Some(path.to_owned()),
    }
}
