//! What looks at calls beyond counting them: the access log, traces and `Server-Timing`. The same for all requests of a
//! listener. A call that nothing looks at costs a look at this.

use std::sync::Arc;
use std::time::Instant;

use http::HeaderMap;

use crate::http::access_log::AccessLog;
use crate::http::call::call_head::CallHead;
use crate::http::call::call_spans;
use crate::invocation::trace_context::SpanId;
use crate::metrics::calls::Ended;
use crate::traces::Tracer;
use crate::traces::span::{Begun, Moment};
use crate::traces::timeline::{Step, Timeline};

/// What looks at calls. Each is off unless the configuration has it.
#[derive(Debug, Default)]
pub struct Observers {
    /// Has a line for each call.
    pub access_log: Option<Arc<AccessLog>>,
    /// Has spans of calls.
    pub tracer: Option<Arc<Tracer>>,
    /// Whether answers say how long their parts took.
    pub server_timing: bool,
}

/// A call that is looked at.
#[derive(Debug)]
pub struct Observed {
    observers: Arc<Observers>,
    head: CallHead,
    trace: Option<Begun>,
    timeline: Option<Arc<Timeline>>,
}

impl Observers {
    /// Whether any of them looks at calls.
    #[must_use]
    pub fn any(&self) -> bool {
        self.access_log.is_some() || self.tracer.is_some()
    }

    /// Begins to look at a call with these headers.
    #[must_use]
    pub fn begin(self: &Arc<Self>, headers: &HeaderMap, head: CallHead) -> Box<Observed> {
        let trace = self.tracer.as_ref().map(|tracer| tracer.begin(headers));
        if let Some(trace) = &trace {
            tracing::Span::current().record("trace_id", tracing::field::display(trace.context.trace));
        }
        let sampled = trace.as_ref().map(|trace| &trace.context).filter(|context| context.is_sampled);
        let timeline = sampled.map(|context| Timeline::new(Some(context.with_span(SpanId::random()))));
        Box::new(Observed { observers: Arc::clone(self), head, trace, timeline })
    }
}

impl Observed {
    /// What keeps the steps of the call, if something asks for them.
    #[must_use]
    pub fn timeline(&self) -> Option<&Arc<Timeline>> {
        self.timeline.as_ref()
    }

    /// Makes the headers that the function sees name its own span as the parent of what it does.
    pub fn set_headers(&self, headers: &mut HeaderMap) {
        let function = self.timeline.as_ref().and_then(|timeline| timeline.function.as_ref());
        if let Some(context) = function.or_else(|| self.trace.as_ref().map(|trace| &trace.context)) {
            context.set_headers(headers);
        }
    }

    /// Looks at the call, which began at this time, after its end. Its steps may go on: hooks run to their end after
    /// the caller has left.
    pub fn end(mut self: Box<Self>, begun: Instant, ended: Ended) {
        if let Some(log) = &self.observers.access_log {
            log.end(&self.head, self.trace.as_ref().map(|trace| &trace.context), &ended);
        }
        if let Some(timeline) = self.timeline.take() {
            let moment = Moment::now();
            timeline.hand_over(Box::new(move |steps| self.complete(moment, begun, &ended, steps)));
        }
    }

    /// Looks at a call whose steps have all ended.
    fn complete(&self, moment: Moment, begun: Instant, ended: &Ended, steps: Vec<Step>) {
        if let (Some(tracer), Some(trace)) = (&self.observers.tracer, &self.trace) {
            tracer.send(call_spans::of_call(&self.head, trace, moment, begun, ended, steps));
        }
    }
}
