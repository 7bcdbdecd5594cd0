//! Traces of deploys and reloads. The steps of a change find its timeline in the task that makes it, so that the
//! functions in between need not pass it on. Without traces there is none, and a step costs a look for it.

use std::future::Future;
use std::sync::{Arc, Weak};

use crate::clock;
use crate::invocation::trace_context::TraceContext;
use crate::traces::Tracer;
use crate::traces::span::{self, Begun, Moment, Span, SpanKind, text};
use crate::traces::timeline::{OpenStep, Part, Step, Timeline};

tokio::task_local! {
    static CHANGE: Arc<Timeline>;
}

/// What is changed.
#[derive(Debug, Clone)]
pub struct TracedChange<'a> {
    /// `deploy`, `rollback` or `reload`.
    pub kind: &'static str,
    /// The deployment, if it is one.
    pub deployment: Option<&'a str>,
    /// What it is a part of.
    pub part_of: PartOf,
}

/// What a change is a part of.
#[derive(Debug, Clone)]
pub enum PartOf {
    /// A trace of its own.
    Nothing,
    /// The span of another change.
    Change(TraceContext),
    /// The span of who asks for it.
    Request(TraceContext),
}

/// Makes a change, and has its spans sent when all its steps have ended. `fault` says why it failed, if it did.
pub async fn traced<T>(
    tracer: Option<&Arc<Tracer>>,
    change: TracedChange<'_>,
    work: impl Future<Output = T>,
    fault: impl FnOnce(&T) -> Option<String>,
) -> T {
    let Some(tracer) = tracer.cloned() else { return work.await };
    let (whole, is_remote) = match change.part_of {
        PartOf::Nothing => (None, false),
        PartOf::Change(whole) => (Some(whole), false),
        // Who asks for it decides whether it is recorded, as with calls.
        PartOf::Request(caller) if !caller.is_sampled => return work.await,
        PartOf::Request(caller) => (Some(caller), true),
    };
    let begun = Begun::of_change(whole.as_ref(), is_remote);
    let timeline = Timeline::new(Some(begun.context.clone()));
    let (start, name) = (clock::now(), change.kind);
    let deployment = change.deployment.map(str::to_owned);
    let result = CHANGE.scope(Arc::clone(&timeline), work).await;
    let (end, fault, moment) = (clock::now(), fault(&result), Moment::now());
    timeline.hand_over(Box::new(move |steps| {
        let mut root = span::root(&begun, name.to_owned(), SpanKind::Internal, moment, (start, end));
        root.attributes.extend(deployment.as_ref().map(|name| text("metagate.deployment", name)));
        if let Some(message) = &fault {
            span::fail_with(&mut root, "failed", message);
        }
        let steps = steps.into_iter().map(|step| of_step(&begun.context, moment, step));
        tracer.send(std::iter::once(root).chain(steps).collect());
    }));
    result
}

fn of_step(change: &TraceContext, moment: Moment, step: Step) -> Span {
    let Step { name, span: id, begun, ended, fault, .. } = step;
    let is_unfinished = ended.is_none();
    let period = (begun, ended.unwrap_or_else(clock::now));
    let mut span = span::step(change, id, name.into(), SpanKind::Internal, moment, period);
    if fault.is_some() || is_unfinished {
        span::fail(&mut span, fault.as_deref().unwrap_or("cancelled"));
    }
    span
}

/// Runs a step of the change that this task makes, if it is traced.
///
/// # Errors
///
/// Those of the step.
pub async fn step<T, E>(name: &'static str, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let step = begin(name);
    let result = work.await;
    if let Some(step) = step {
        step.end("", result.is_err().then(|| "failed".into()));
    }
    result
}

/// Begins a step of the change that this task makes, if it is traced.
#[must_use]
pub fn begin(name: &'static str) -> Option<OpenStep> {
    CHANGE.try_with(|timeline| timeline.begin(Part::Change, name)).ok()
}

/// The timeline of the change that this task makes; empty if there is none.
#[must_use]
pub fn current() -> Weak<Timeline> {
    CHANGE.try_with(Arc::downgrade).unwrap_or_default()
}

/// The span of the change that this task makes, if it is traced.
#[must_use]
pub fn context() -> Option<TraceContext> {
    CHANGE.try_with(|timeline| timeline.function.clone()).ok().flatten()
}
