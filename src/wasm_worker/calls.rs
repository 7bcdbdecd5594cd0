//! The calls of a worker: reads call lines from the channel, runs each call in a function and writes its answer.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::wasm::Wasm;
use crate::wasm_worker::channel::{Inbox, Outbox};
use crate::wasm_worker::failure::Failure;
use crate::wasm_worker::functions::Functions;
use crate::wasm_worker::host::Host;
use crate::wasm_worker::http_requests::Answered;
use crate::wasm_worker::log;
use crate::wasm_worker::messages::{self, FromGateway};
use crate::wasm_worker::running_call::{RunningCall, RunningCalls};
use crate::wasm_worker::thread_pool::Work;

/// How long a call may run past the caller's deadline. The gateway answers the caller at the deadline itself; ending
/// the call exactly then would race with an answer that is about to be sent.
const GRACE: Duration = Duration::from_millis(10);
/// Room that is reserved for the answer of a call, in bytes; most answers fit.
const SHORT_ANSWER: usize = 4 << 10;

/// The work that the thread pool shares.
pub(super) struct Calls {
    /// Lines that were read together with Load, and the channel that the next ones come from.
    pub(super) inbox: Mutex<(Vec<Bytes>, Inbox)>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) functions: Functions,
    pub(super) host: Host,
    pub(super) wasm: Wasm,
    /// The calls that the gateway may say more about; none unless a component serves HTTP.
    pub(super) running: RunningCalls,
}

/// The line of a call, and what the gateway says about the call after it.
pub(super) struct Job {
    line: Bytes,
    running: Option<Arc<RunningCall>>,
}

impl Calls {
    /// The job of a call's line. Handles all other messages itself: a call waits for them, so they must not queue
    /// behind calls. Probes ask whether this worker still reads.
    fn job(&self, line: Bytes) -> Option<Job> {
        if !line.starts_with(messages::CALL_START) {
            match messages::parse(&line) {
                Ok(FromGateway::Probe) => {
                    let _gateway_gone = self.outbox.add(messages::PROBE_RESULT).and_then(|()| self.outbox.flush());
                    return None;
                }
                Ok(FromGateway::OfCall(id, message)) => {
                    self.running.deliver(&id, message);
                    return None;
                }
                _ => {}
            }
        }
        let id = if self.functions.serve_http() { messages::call_id(&line) } else { None };
        let running = id.map(|id| self.running.add(&id, &self.outbox));
        Some(Job { line, running })
    }

    fn answer(&self, line: &[u8], running: Option<&Arc<RunningCall>>) -> anyhow::Result<()> {
        let FromGateway::Call(call) = messages::parse(line)? else { return Ok(()) };
        let timeout = call.timeout.unwrap_or(self.host.settings().timeout);
        let deadline = Instant::now() + Duration::from_millis(timeout) + GRACE;
        let mut answer = Vec::with_capacity(SHORT_ANSWER);
        messages::begin_result(&mut answer, &call.id);
        let run = || {
            let _ticking = self.wasm.ticker().begin();
            self.functions.call(&self.host, &call.name, call.given(), running, deadline, &mut answer)
        };
        // A panic ends this call only. Nothing of the call outlives the unwinding: its store is dropped, and the answer
        // is written anew.
        let called = panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or(Err(Failure::Panicked));
        match called {
            Ok(Answered::Whole) => messages::end_result(&mut answer),
            Ok(Answered::Streamed) => messages::write_stream_end(&mut answer, &call.id),
            Err(failure) => failure.write(&mut answer, &call.id),
        }
        let limit = self.host.settings().max_message;
        if answer.len() > limit {
            Failure::TooLarge(limit).write(&mut answer, &call.id);
        }
        Ok(self.outbox.add(&answer)?)
    }
}

impl Work for Calls {
    type Job = Job;

    fn read(&self) -> Vec<Job> {
        let mut inbox = self.inbox.lock();
        let (first, inbox) = &mut *inbox;
        loop {
            let mut lines = std::mem::take(first);
            if lines.is_empty() {
                // A read error ends the worker like the end of the channel: the gateway is gone.
                lines = inbox.lines().unwrap_or_default();
            }
            if lines.is_empty() {
                self.running.cancel_all();
                return Vec::new();
            }
            let jobs: Vec<Job> = lines.into_iter().filter_map(|line| self.job(line)).collect();
            if !jobs.is_empty() {
                return jobs;
            }
        }
    }

    fn run(&self, job: Job) {
        if let Err(error) = self.answer(&job.line, job.running.as_ref()) {
            log::write(format_args!("metagate worker: a call was not answered: {error:#}"));
        }
        if let Some(running) = &job.running {
            self.running.remove(running);
        }
    }

    fn flush(&self) {
        // It fails only when the gateway is gone, and then the next read ends the worker.
        let _gateway_gone = self.outbox.flush();
    }

    fn has_unsent(&self) -> bool {
        self.outbox.has_unsent()
    }
}
