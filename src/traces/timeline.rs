//! The steps of one call with their times: hooks, the queue, workers. Only calls that something asks the steps of have
//! a timeline. It is complete when the last part of the gateway that works for the call has let go of it: hooks may
//! run on after the caller has left.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::clock;
use crate::invocation::trace_context::{SpanId, TraceContext};

/// The most steps that are kept of a call.
const STEPS: usize = 128;

/// The steps of one call.
pub struct Timeline {
    /// The span of the function, if the call is traced: its traces are below it.
    pub function: Option<TraceContext>,
    steps: Mutex<Vec<Step>>,
    /// What gets the steps.
    at_end: Mutex<Option<AtEnd>>,
}

/// What gets the steps of a call that has ended.
pub type AtEnd = Box<dyn FnOnce(Vec<Step>) + Send>;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its kind.
    pub part: Part,
    /// Whose step: the plugin, the function.
    pub name: Box<str>,
    /// Its span.
    pub span: SpanId,
    /// The span of the step that it is part of; none of a step of the call itself.
    pub within: Option<SpanId>,
    /// When it began.
    pub begun: Instant,
    /// When it ended; none if the call ended first.
    pub ended: Option<Instant>,
    /// How it ended: the verdict of a hook, the status of an answer.
    pub result: Cow<'static, str>,
    /// Why it failed: a code.
    pub fault: Option<Cow<'static, str>>,
}

/// The kinds of steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A before-hook.
    BeforeInvoke,
    /// An after-hook.
    AfterInvoke,
    /// Waiting for the first load, or for a worker.
    Queue,
    /// From there to the worker's answer, or the first message of a stream.
    Worker,
    /// A request of a hook to another server: its name is the method and the address.
    Request,
    /// A step of a change.
    Change,
}

impl Part {
    /// Its name in traces.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BeforeInvoke => "before-invoke",
            Self::AfterInvoke => "after-invoke",
            Self::Queue => "queue",
            Self::Worker => "worker",
            Self::Request => "request",
            Self::Change => "change",
        }
    }
}

/// A step that goes on. Unless it is ended, it ends with the call.
#[derive(Debug)]
#[must_use]
pub struct OpenStep {
    timeline: Arc<Timeline>,
    at: usize,
}

impl Timeline {
    /// A timeline without steps. `function`: the span of the function, if the call is traced.
    #[must_use]
    pub fn new(function: Option<TraceContext>) -> Arc<Self> {
        Arc::new(Self { function, steps: Mutex::default(), at_end: Mutex::default() })
    }

    /// Begins a step.
    pub fn begin(self: &Arc<Self>, part: Part, name: &str) -> OpenStep {
        let span = match &self.function {
            Some(function) if part == Part::Worker => function.span,
            _ => SpanId::random(),
        };
        self.push(part, name, span, None)
    }

    /// Begins a step of the step that goes on, and returns its span too; none if the call is not traced, or no step
    /// goes on.
    pub fn begin_inner(self: &Arc<Self>, part: Part, name: &str) -> Option<(OpenStep, TraceContext)> {
        let outer = self.current()?;
        let own = outer.with_span(SpanId::random());
        Some((self.push(part, name, own.span, Some(outer.span)), own))
    }

    fn push(self: &Arc<Self>, part: Part, name: &str, span: SpanId, within: Option<SpanId>) -> OpenStep {
        let (begun, name) = (clock::now(), name.into());
        let step = Step { part, name, span, within, begun, ended: None, result: "".into(), fault: None };
        let mut steps = self.steps.lock();
        let at = steps.len();
        if at < STEPS {
            steps.push(step);
        }
        OpenStep { timeline: Arc::clone(self), at }
    }

    /// Ends the steps that go on, for the reason that this code stands for.
    pub fn fail_open(&self, code: &str) {
        let now = clock::now();
        for step in self.steps.lock().iter_mut().filter(|step| step.ended.is_none()) {
            step.ended = Some(now);
            step.fault = Some(code.to_owned().into());
        }
    }

    /// The span of the step that goes on, if the call is traced.
    #[must_use]
    pub fn current(&self) -> Option<TraceContext> {
        let function = self.function.as_ref()?;
        let steps = self.steps.lock();
        let open = steps.iter().rfind(|step| step.ended.is_none())?;
        Some(function.with_span(open.span))
    }

    /// Has the steps handed over once nothing works for the call any more.
    pub fn hand_over(&self, at_end: AtEnd) {
        *self.at_end.lock() = Some(at_end);
    }
}

impl Drop for Timeline {
    fn drop(&mut self) {
        if let Some(at_end) = self.at_end.get_mut().take() {
            at_end(std::mem::take(self.steps.get_mut()));
        }
    }
}

impl fmt::Debug for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeline").field("function", &self.function).field("steps", &self.steps).finish_non_exhaustive()
    }
}

impl OpenStep {
    /// Ends the step. `fault`: the code of its failure.
    pub fn end(self, result: impl Into<Cow<'static, str>>, fault: Option<Cow<'static, str>>) {
        let now = clock::now();
        if let Some(step) = self.timeline.steps.lock().get_mut(self.at) {
            step.ended = Some(now);
            step.result = result.into();
            step.fault = fault;
        }
    }

    /// Ends the step of a worker that has not got the call, which another one takes.
    fn end_unsent(self) {
        if let Some(step) = self.timeline.steps.lock().get_mut(self.at) {
            step.ended = Some(clock::now());
            step.fault = Some("unsent".into());
            // The function's span is that of the worker that takes it.
            step.span = SpanId::random();
        }
    }
}

/// Ends a step that went well, where there is one.
pub fn succeed(step: Option<OpenStep>) {
    if let Some(step) = step {
        step.end("", None);
    }
}

/// Ends the step of a worker that has not got the call, which another one takes.
pub fn end_unsent(step: Option<OpenStep>) {
    if let Some(step) = step {
        step.end_unsent();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_are_handed_over_when_nothing_works_for_the_call_any_more() {
        let (timeline, seen) = (Timeline::new(None), Arc::new(Mutex::new(Vec::new())));
        let hook = Arc::clone(&timeline).begin(Part::BeforeInvoke, "audit");
        let taken = Arc::clone(&seen);
        timeline.hand_over(Box::new(move |steps| *taken.lock() = steps));
        drop(timeline);
        assert!(seen.lock().is_empty());
        hook.end("continue", None);
        let seen = seen.lock();
        assert_eq!((seen.len(), seen[0].part, &*seen[0].name), (1, Part::BeforeInvoke, "audit"));
        assert!(seen[0].ended.is_some());
    }

    #[test]
    fn a_step_of_a_step_is_below_it() {
        let context = TraceContext {
            trace: crate::invocation::trace_context::TraceId::random(),
            span: SpanId::random(),
            is_sampled: true,
            state: None,
        };
        let timeline = Timeline::new(Some(context.clone()));
        assert!(timeline.begin_inner(Part::Request, "GET http://a/").is_none(), "no step goes on");
        let hook = timeline.begin(Part::BeforeInvoke, "audit");
        let (request, own) = timeline.begin_inner(Part::Request, "GET http://a/").unwrap();
        request.end("200", None);
        hook.end("continue", None);
        let steps = timeline.steps.lock();
        assert_eq!((steps[1].within, steps[1].span, own.trace), (Some(steps[0].span), own.span, context.trace));
    }

    #[test]
    fn steps_are_bounded() {
        let timeline = Timeline::new(None);
        for _ in 0..2 * STEPS {
            timeline.begin(Part::Queue, "").end("", None);
        }
        assert_eq!(timeline.steps.lock().len(), STEPS);
    }

    #[test]
    fn the_functions_span_is_that_of_the_worker_that_took_the_call() {
        let context = TraceContext {
            trace: crate::invocation::trace_context::TraceId::random(),
            span: SpanId::random(),
            is_sampled: true,
            state: None,
        };
        let timeline = Timeline::new(Some(context.clone()));
        timeline.begin(Part::Worker, "f").end_unsent();
        let second = timeline.begin(Part::Worker, "f");
        assert_eq!(timeline.current(), Some(context.clone()));
        timeline.fail_open("call_timeout");
        drop(second);
        let steps = timeline.steps.lock();
        assert_ne!(steps[0].span, context.span);
        assert_eq!((steps[1].span, steps[1].fault.as_deref()), (context.span, Some("call_timeout")));
    }
}
