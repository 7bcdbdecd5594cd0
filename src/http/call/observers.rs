//! What looks at calls beyond counting them: the access log, traces, `Server-Timing` and the last calls. The same for
//! all requests of a listener. A call that nothing looks at costs a look at this.

use std::sync::Arc;
use std::time::Instant;

use http::HeaderMap;
use http::request::Parts;

use crate::http::access_log::AccessLog;
use crate::http::call::call_head::CallHead;
use crate::http::call::call_spans;
use crate::http::recent_calls::RecentCalls;
use crate::invocation::trace_context::{SpanId, TraceContext};
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
    /// Keeps the last calls.
    pub recent: Option<Arc<RecentCalls>>,
}

/// A call that is looked at.
#[derive(Debug)]
pub struct Observed {
    observers: Arc<Observers>,
    /// None of a call that is neither logged nor traced.
    head: Option<CallHead>,
    trace: Option<Begun>,
}

impl Observers {
    /// Whether one that needs the head of the request looks at calls.
    #[must_use]
    pub fn any(&self) -> bool {
        self.access_log.is_some() || self.tracer.is_some()
    }

    /// Begins to look at a call of this request. `head` is asked for what is kept of it.
    #[must_use]
    pub fn begin(self: &Arc<Self>, request: &Parts, head: impl FnOnce() -> CallHead) -> Box<Observed> {
        // A request has got its place in a trace when it came; one that the gateway has made itself has none.
        let given = request.extensions.get::<Begun>().cloned();
        let trace = given.or_else(|| Some(self.tracer.as_ref()?.begin(&request.headers)));
        let is_shown = self.access_log.is_some() || trace.as_ref().is_some_and(|trace| trace.context.is_sampled);
        Box::new(Observed { observers: Arc::clone(self), head: is_shown.then(head), trace })
    }
}

impl Observed {
    /// What keeps the steps of the call, if it is traced.
    #[must_use]
    pub fn timeline(&self) -> Option<Arc<Timeline>> {
        let context = self.sampled()?;
        Some(Timeline::new(Some(context.with_span(SpanId::random()))))
    }

    /// Makes the headers that the function sees name its own span as the parent of what it does.
    pub fn set_headers(&self, timeline: Option<&Arc<Timeline>>, headers: &mut HeaderMap) {
        let function = timeline.and_then(|timeline| timeline.function.as_ref());
        if let Some(context) = function.or_else(|| self.trace.as_ref().map(|trace| &trace.context)) {
            context.set_headers(headers);
        }
    }

    fn sampled(&self) -> Option<&TraceContext> {
        self.trace.as_ref().map(|trace| &trace.context).filter(|context| context.is_sampled)
    }

    /// Has the access log have a line for the call, which has ended.
    pub fn log(&self, ended: &Ended) {
        if let (Some(log), Some(head)) = (&self.observers.access_log, &self.head) {
            log.end(head, self.trace.as_ref().map(|trace| &trace.context), ended);
        }
    }

    /// Has the spans of the call sent, if it is traced. It began at this time, and its steps have ended.
    pub fn trace(&self, moment: Moment, begun: Instant, ended: &Ended, steps: &[Step]) {
        if self.sampled().is_none() {
            return;
        }
        if let (Some(tracer), Some(trace), Some(head)) = (&self.observers.tracer, &self.trace, &self.head) {
            tracer.send(call_spans::of_call(head, trace, moment, begun, ended, steps.to_vec()));
        }
    }
}
