//! Spans and their attributes, in the form that OTLP sends.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
pub use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::Status;
pub use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use crate::clock;
use crate::invocation::trace_context::{SpanId, TraceContext, TraceId};

/// Bytes of a text of an attribute.
const TEXT_LIMIT: usize = 1024;
/// Flags of a span in addition to those of its trace: whether its parent is in another program is known, and it is.
const REMOTE_KNOWN: u32 = 0x100;
const REMOTE: u32 = 0x200;

/// A span that has begun.
#[derive(Debug, Clone)]
pub struct Begun {
    /// The span itself.
    pub context: TraceContext,
    /// The span that it is part of.
    pub parent: Option<Parent>,
}

/// The span that another is part of.
#[derive(Debug, Clone, Copy)]
pub struct Parent {
    /// Its id.
    pub span: SpanId,
    /// Whether another program has it.
    pub is_remote: bool,
}

impl Begun {
    /// Begins the span of a change, perhaps of a part of something else; `is_remote`: of another program.
    #[must_use]
    pub fn of_change(whole: Option<&TraceContext>, is_remote: bool) -> Self {
        let span = SpanId::random();
        let context = match whole {
            Some(whole) => whole.with_span(span),
            None => TraceContext { trace: TraceId::random(), span, is_sampled: true, state: None },
        };
        Self { context, parent: whole.map(|whole| Parent { span: whole.span, is_remote }) }
    }
}

/// The relation of the clock for durations and the time of day. One for all spans of a trace keeps their order even
/// when the time of day is set.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    at: Instant,
    since_1970: Duration,
}

impl Moment {
    /// The present.
    #[must_use]
    pub fn now() -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { at: clock::now(), since_1970 }
    }

    /// An instant as nanoseconds since 1970.
    fn nanoseconds(self, instant: Instant) -> u64 {
        let time = match self.at.checked_duration_since(instant) {
            Some(ago) => self.since_1970.saturating_sub(ago),
            None => self.since_1970 + (instant - self.at),
        };
        u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The time from one instant to another.
pub type Period = (Instant, Instant);

/// The span of something that a trace begins with here.
#[must_use]
pub fn root(begun: &Begun, name: String, kind: SpanKind, moment: Moment, period: Period) -> Span {
    span(&begun.context, begun.parent, name, kind, moment, period)
}

/// The span of a step of what `whole` is the span of.
#[must_use]
pub fn step(whole: &TraceContext, id: SpanId, name: String, kind: SpanKind, moment: Moment, period: Period) -> Span {
    let parent = Parent { span: whole.span, is_remote: false };
    span(&whole.with_span(id), Some(parent), name, kind, moment, period)
}

fn span(
    own: &TraceContext,
    parent: Option<Parent>,
    name: String,
    kind: SpanKind,
    moment: Moment,
    (start, end): Period,
) -> Span {
    let remote = if parent.is_some_and(|parent| parent.is_remote) { REMOTE } else { 0 };
    Span {
        trace_id: own.trace.bytes().into(),
        span_id: own.span.bytes().into(),
        trace_state: own.state.as_ref().and_then(|state| state.to_str().ok()).unwrap_or_default().to_owned(),
        parent_span_id: parent.map(|parent| parent.span.bytes().into()).unwrap_or_default(),
        flags: u32::from(own.is_sampled) | REMOTE_KNOWN | remote,
        name,
        kind: kind.into(),
        start_time_unix_nano: moment.nanoseconds(start),
        end_time_unix_nano: moment.nanoseconds(end.max(start)),
        ..Span::default()
    }
}

/// An attribute that is text.
#[must_use]
pub fn text(key: &'static str, value: &str) -> KeyValue {
    let value = value[..value.floor_char_boundary(TEXT_LIMIT)].to_owned();
    attribute(key, Value::StringValue(value))
}

/// An attribute that is a number.
#[must_use]
pub fn number(key: &'static str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn attribute(key: &'static str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// Marks a span as that of something that failed, for the reason that this code stands for.
pub fn fail(span: &mut Span, code: &str) {
    fail_with(span, code, "");
}

/// As [`fail`], with a message.
pub fn fail_with(span: &mut Span, code: &str, message: &str) {
    span.attributes.push(text("error.type", code));
    let message = message[..message.floor_char_boundary(TEXT_LIMIT)].to_owned();
    span.status = Some(Status { message, code: StatusCode::Error.into() });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_before_and_after_a_moment_have_a_time() {
        let moment = Moment::now();
        let now = moment.nanoseconds(moment.at);
        let second = Duration::from_secs(1);
        assert_eq!(moment.nanoseconds(moment.at - second), now - 1_000_000_000);
        assert_eq!(moment.nanoseconds(moment.at + second), now + 1_000_000_000);
    }

    #[test]
    fn texts_are_bounded() {
        let long = "ä".repeat(TEXT_LIMIT);
        let Some(AnyValue { value: Some(Value::StringValue(value)) }) = text("a", &long).value else { panic!() };
        assert_eq!(value.len(), TEXT_LIMIT);
    }
}
