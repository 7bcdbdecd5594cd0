//! What is counted and traced of a call that a plugin makes of a function. Its spans are below that of the hook.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use opentelemetry_proto::tonic::common::v1::KeyValue;

use crate::answer::Failure;
use crate::clock;
use crate::gateway::Gateway;
use crate::gateway::counted::Counted;
use crate::invocation::times::Times;
use crate::invocation::trace_context::SpanId;
use crate::metrics::calls::Ended;
use crate::metrics::outcomes::is_error;
use crate::traces::Tracer;
use crate::traces::span::{self, Begun, Moment, Parent, SpanKind, text};
use crate::traces::steps::Whole;
use crate::traces::timeline::Timeline;

/// A call in progress.
pub(super) struct CallRecord {
    /// When it began.
    pub(super) started: Instant,
    request_bytes: usize,
    traced: Option<Traced>,
}

/// What a plugin calls.
#[derive(Clone, Copy)]
pub(super) struct Called<'a> {
    pub(super) deployment: &'a str,
    pub(super) function: &'a str,
    /// The id of the request.
    pub(super) id: &'a str,
}

/// How a call ended, apart from its result.
#[derive(Clone, Copy, Default)]
pub(super) struct Ending {
    /// Its status; by default that of its failure.
    pub(super) status: Option<u16>,
    pub(super) times: Times,
    /// How long its stream took, if it was one.
    pub(super) stream: Option<Duration>,
}

impl CallRecord {
    /// Begins a call with this many bytes of arguments. `outer`: the steps of the call that the plugin runs for.
    pub(super) fn begin(
        gateway: &Gateway,
        outer: Option<Arc<Timeline>>,
        called: Called<'_>,
        request_bytes: usize,
    ) -> Self {
        let traced = outer.and_then(|outer| Traced::begin(gateway, &outer, called));
        Self { started: clock::now(), request_bytes, traced }
    }

    /// What keeps its steps, if it is traced.
    pub(super) fn timeline(&self) -> Option<&Arc<Timeline>> {
        self.traced.as_ref().map(|traced| &traced.timeline)
    }

    /// The headers that the function sees: where it is in the trace.
    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(context) = self.timeline().and_then(|timeline| timeline.function.as_ref()) {
            context.set_headers(&mut headers);
        }
        headers
    }

    /// Counts the call, and has its spans sent when its steps have ended.
    pub(super) fn end(self, counted: Option<Counted>, ending: Ending, result: &Result<Bytes, Failure>) {
        let Ending { status, times, stream } = ending;
        let (usual, code, answer_bytes) = match result {
            Ok(body) => (200, "".into(), body.len() as u64),
            Err(failure) => (failure.status, failure.code.clone(), 0),
        };
        let (status, request_bytes) = (status.unwrap_or(usual), self.request_bytes as u64);
        let duration = clock::since(self.started);
        let ended = Ended { status, code, duration, request_bytes, answer_bytes, times, stream };
        if let Some(counted) = counted {
            counted.add(&ended);
        }
        if let Some(traced) = self.traced {
            traced.end(self.started, ended);
        }
    }
}

/// The place of a call in a trace.
struct Traced {
    tracer: Arc<Tracer>,
    own: Begun,
    timeline: Arc<Timeline>,
    name: String,
    deployment: String,
    attributes: Vec<KeyValue>,
}

impl Traced {
    fn begin(gateway: &Gateway, outer: &Timeline, called: Called<'_>) -> Option<Self> {
        let (tracer, hook) = (Arc::clone(gateway.tracer()?), outer.current()?);
        let context = hook.with_span(SpanId::random());
        let timeline = Timeline::new(Some(context.with_span(SpanId::random())));
        let own = Begun { context, parent: Some(Parent { span: hook.span, is_remote: false }) };
        let Called { deployment, function, id } = called;
        let attributes = vec![
            text("metagate.deployment", deployment),
            text("metagate.function", function),
            text("metagate.request_id", id),
        ];
        let (name, deployment) = (format!("INTERNAL {deployment}/{function}"), deployment.to_owned());
        Some(Self { tracer, own, timeline, name, deployment, attributes })
    }

    fn end(self, started: Instant, ended: Ended) {
        let Self { tracer, own, timeline, name, deployment, attributes } = self;
        let (moment, end) = (Moment::now(), started + ended.duration);
        timeline.hand_over(Box::new(move |steps| {
            let mut root = span::root(&own, name, SpanKind::Internal, moment, (started, end));
            root.attributes = attributes;
            if is_error(ended.status, &ended.code) {
                span::fail(&mut root, &ended.code);
            } else if !ended.code.is_empty() {
                root.attributes.push(text("error.type", &ended.code));
            }
            let whole = Whole { trace: &own.context, moment, end, code: &ended.code, deployment: Some(&deployment) };
            let steps = steps.into_iter().map(|step| whole.span_of(step));
            tracer.send(std::iter::once(root).chain(steps).collect());
        }));
    }
}
