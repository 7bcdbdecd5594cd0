//! The spans of the steps of a call.

use std::time::Instant;

use url::Url;

use crate::invocation::trace_context::TraceContext;
use crate::traces::span::{self, Moment, Span, SpanKind, number, text};
use crate::traces::timeline::{Part, Step};

/// What the steps of one call have in common.
#[derive(Debug, Clone, Copy)]
pub struct Whole<'a> {
    /// The span of the call.
    pub trace: &'a TraceContext,
    /// Relates clocks.
    pub moment: Moment,
    /// When the call ended.
    pub end: Instant,
    /// Its code; empty if it succeeded.
    pub code: &'a str,
    /// Its deployment, if there is one of the name.
    pub deployment: Option<&'a str>,
}

impl Whole<'_> {
    /// The span of a step.
    #[must_use]
    pub fn span_of(&self, step: Step) -> Span {
        let Step { part, name, span: id, within, begun, ended, result, fault } = step;
        // A step that went on when the call ended ended with it, for the same reason.
        let fault = if ended.is_some() { fault } else { Some(self.code.to_owned().into()) };
        let period = (begun, ended.unwrap_or(self.end));
        let (span_name, kind) = match part {
            Part::BeforeInvoke | Part::AfterInvoke => (format!("plugin {name} {}", part.as_str()), SpanKind::Internal),
            Part::Queue | Part::Change => (part.as_str().to_owned(), SpanKind::Internal),
            Part::Worker => (format!("call {name}"), SpanKind::Client),
            Part::Request => (name.split(' ').next().unwrap_or_default().to_owned(), SpanKind::Client),
        };
        let outer = within.map(|within| self.trace.with_span(within));
        let mut span = span::step(outer.as_ref().unwrap_or(self.trace), id, span_name, kind, self.moment, period);
        match part {
            Part::BeforeInvoke | Part::AfterInvoke => {
                let hook = text("metagate.hook", part.as_str());
                span.attributes = vec![text("metagate.plugin", &name), hook, text("metagate.verdict", &result)];
            }
            Part::Queue | Part::Change => {}
            Part::Worker => {
                span.attributes.push(text("metagate.function", &name));
                span.attributes.extend(self.deployment.map(|own| text("metagate.deployment", own)));
            }
            Part::Request => add_request(&mut span, &name, &result),
        }
        if let Some(code) = fault {
            span::fail(&mut span, &code);
        }
        span
    }
}

/// Adds what OpenTelemetry's conventions for HTTP clients have. `name`: method and address.
fn add_request(span: &mut Span, name: &str, status: &str) {
    let Some((method, address)) = name.split_once(' ') else { return };
    span.attributes = vec![text("http.request.method", method), text("url.full", address)];
    if let Ok(url) = Url::parse(address) {
        span.attributes.extend(url.host_str().map(|host| text("server.address", host)));
        span.attributes.extend(url.port_or_known_default().map(|port| number("server.port", port.into())));
    }
    span.attributes.extend(status.parse().ok().map(|status| number("http.response.status_code", status)));
}
