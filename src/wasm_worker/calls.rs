//! The calls of a worker: reads call lines from the channel, runs each call in a function and writes its answer.

use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::wasm::Wasm;
use crate::wasm_worker::channel::{Inbox, Outbox};
use crate::wasm_worker::failure::Failure;
use crate::wasm_worker::functions::Functions;
use crate::wasm_worker::host::Host;
use crate::wasm_worker::log;
use crate::wasm_worker::messages::{self, FromGateway};
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
    pub(super) outbox: Outbox,
    pub(super) functions: Functions,
    pub(super) host: Host,
    pub(super) wasm: Wasm,
}

impl Calls {
    fn answer(&self, line: &[u8]) -> anyhow::Result<()> {
        let FromGateway::Call(call) = messages::parse(line)? else { return Ok(()) };
        let timeout = call.timeout.unwrap_or(self.host.settings().timeout);
        let deadline = Instant::now() + Duration::from_millis(timeout) + GRACE;
        let mut answer = Vec::with_capacity(SHORT_ANSWER);
        messages::begin_result(&mut answer, &call.id);
        let run = || {
            let _ticking = self.wasm.ticker().begin();
            self.functions.call(&self.host, &call.name, call.given(), deadline, &mut answer)
        };
        // A panic ends this call only. Nothing of the call outlives the unwinding: its store is dropped, and the answer
        // is written anew.
        let called = panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or(Err(Failure::Panicked));
        match called {
            Ok(()) => messages::end_result(&mut answer),
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
    type Job = Bytes;

    fn read(&self) -> Vec<Bytes> {
        let mut inbox = self.inbox.lock();
        let (first, inbox) = &mut *inbox;
        loop {
            let mut jobs = std::mem::take(first);
            if jobs.is_empty() {
                // A read error ends the worker like the end of the channel: the gateway is gone.
                jobs = inbox.lines().unwrap_or_default();
            }
            if jobs.is_empty() {
                return jobs;
            }
            let before = jobs.len();
            // The reader answers probes itself. They ask whether this worker still reads, so they must not queue behind
            // calls.
            jobs.retain(|line| {
                line.starts_with(messages::CALL_START) || !matches!(messages::parse(line), Ok(FromGateway::Probe))
            });
            for _ in jobs.len()..before {
                let _gateway_gone = self.outbox.add(messages::PROBE_RESULT).and_then(|()| self.outbox.flush());
            }
            if !jobs.is_empty() {
                return jobs;
            }
        }
    }

    fn run(&self, line: Bytes) {
        if let Err(error) = self.answer(&line) {
            log::write(format_args!("metagate worker: a call was not answered: {error:#}"));
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
