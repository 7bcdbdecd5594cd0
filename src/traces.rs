//! Traces of what the gateway does, for a collector that speaks OTLP over HTTP. A span goes into a bounded queue and a
//! thread sends it: a collector that is slow, broken or absent costs spans, which are counted, and nothing else. What
//! the spans say is left to those who do the work.

pub mod change;
mod counters;
mod exporter;
mod queue;
mod sending;
pub mod settings;
pub mod span;
pub mod steps;
pub mod timeline;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::HeaderMap;

use crate::invocation::trace_context::{SpanId, TraceContext, TraceId};
use crate::supervise;
use crate::traces::counters::Counters;
use crate::traces::exporter::Exporter;
use crate::traces::queue::Queue;
use crate::traces::sending::Sending;
use crate::traces::settings::Settings;
use crate::traces::span::{Begun, Parent, Span};

/// The name of the thread that sends spans, as a long-lived one.
const TASK: &str = "trace-exporter";

/// Makes traces and has them sent.
#[derive(Debug)]
pub struct Tracer {
    sample: f64,
    queue: Arc<Queue>,
    counters: Arc<Counters>,
}

impl Tracer {
    /// A tracer with a thread that sends its spans.
    ///
    /// # Errors
    ///
    /// The operating system refuses another thread.
    pub fn start(settings: Settings) -> io::Result<Self> {
        let (sample, counters) = (settings.sample, Arc::new(Counters::default()));
        let queue = Arc::new(Queue::new(settings.queue, settings.interval));
        let mut exporter = Exporter::new(Sending::new(settings), Arc::clone(&queue), Arc::clone(&counters));
        supervise::forever_thread(TASK, move || exporter.run())?;
        Ok(Self { sample, queue, counters })
    }

    /// Begins the span of a request: part of the caller's trace if its headers name one, else of a new trace.
    #[must_use]
    pub fn begin(&self, headers: &HeaderMap) -> Begun {
        match TraceContext::of_headers(headers) {
            Some(caller) => Begun {
                context: caller.with_span(SpanId::random()),
                parent: Some(Parent { span: caller.span, is_remote: true }),
            },
            None => Begun {
                context: TraceContext {
                    trace: TraceId::random(),
                    span: SpanId::random(),
                    is_sampled: self.sample >= 1.0 || fastrand::f64() < self.sample,
                    state: None,
                },
                parent: None,
            },
        }
    }

    /// Has the spans of one trace sent, or drops them where too many wait.
    pub fn send(&self, spans: Vec<Span>) {
        let count = spans.len() as u64;
        if !self.queue.push(spans) {
            self.counters.queue_full.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Returns when the spans that wait were sent, or after a second. They are sent once, without further attempts.
    pub fn flush(&self) {
        self.queue.close();
    }

    /// The spans that were accepted, and those that were dropped by reason.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        let Counters { sent, queue_full, refused, unreachable } = &*self.counters;
        [("sent", sent), ("queue_full", queue_full), ("refused", refused), ("unreachable", unreachable)]
            .map(|(outcome, count)| (outcome, count.load(Ordering::Relaxed)))
            .into()
    }
}
