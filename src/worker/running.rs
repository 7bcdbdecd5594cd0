//! A running worker and how it ends: it finishes its calls, is asked to end, and its whole process tree ends with it.
//! When that happens is decided by `supervisor`.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::invocation::CallFailure;
use crate::ipc::{Client, Inbox, Incoming, WriteEnd};
use crate::process::output::LAST_OUTPUT;
use crate::worker::dispatch::Lease;
use crate::worker::processes::Listed;
use crate::worker::seat::PoolContext;
use crate::worker::spawn::WorkerProcess;

/// How long a worker may take to end by itself after the end of the channel: exit handlers of users run in this time.
const EXIT_GRACE: Duration = Duration::from_secs(2);
/// How long a worker may take to end after SIGTERM.
const TERM_GRACE: Duration = Duration::from_secs(2);

/// A running worker and everything that belongs to it. Dropping it, as a panic does, ends it in the background.
pub(super) struct Worker {
    /// Present until the worker is ended.
    parts: Option<Parts>,
    /// The pool waits for these before it is stopped.
    tasks: TaskTracker,
}

/// The parts of a running worker.
pub(super) struct Parts {
    pub(super) process: Box<dyn WorkerProcess>,
    pub(super) client: Arc<Client<Lease>>,
    pub(super) inbox: Inbox,
    pub(super) writer: JoinHandle<WriteEnd>,
    pub(super) outputs: [JoinHandle<()>; 2],
    pub(super) started: Instant,
    /// Its place in the list of processes.
    pub(super) _listed: Option<Listed>,
    /// The number of the log line at its start.
    pub(super) log_start: u64,
    /// It has answered a probe: no answer to a later one then means that it hangs.
    pub(super) answers_probes: bool,
}

impl Worker {
    pub(super) fn new(parts: Parts, tasks: TaskTracker) -> Self {
        Self { parts: Some(parts), tasks }
    }

    /// Kills the whole process tree and reaps it; calls in flight fail with `failure`.
    pub(super) async fn end(mut self, failure: CallFailure) {
        if let Some(parts) = self.parts.take() {
            parts.end(failure).await;
        }
    }

    /// Lets the worker finish its calls within this time without new ones, asks it to end, and ends its whole process
    /// tree.
    pub(super) async fn drain_and_end(mut self, pool: &PoolContext, time: Duration) {
        self.client.refuse_calls();
        let failure = self.finish_calls(pool, time).await;
        self.client.fail_all(&failure);
        self.client.shut_down_writing();
        if !self.ends_within(EXIT_GRACE, pool).await {
            self.process.terminate();
            self.ends_within(TERM_GRACE, pool).await;
        }
        self.end(CallFailure::Stopped).await;
    }

    /// Waits for the end of the worker; false if it still runs after the grace, or if the pool's workers are killed.
    async fn ends_within(&mut self, grace: Duration, pool: &PoolContext) -> bool {
        tokio::select! {
            biased;
            _ = self.process.ended() => true,
            () = tokio::time::sleep(grace) => false,
            () = pool.kill.cancelled() => false,
        }
    }

    /// Returns when no call is in flight, the worker has ended, or the time for calls is over, with the failure of the
    /// calls that are left: a call on a worker that ended may have run, so its caller must not take it for refused.
    async fn finish_calls(&mut self, pool: &PoolContext, time: Duration) -> CallFailure {
        let grace = tokio::time::sleep(time);
        tokio::pin!(grace);
        let mut stopping = false;
        let worker = &mut **self;
        loop {
            tokio::select! {
                biased;
                incoming = worker.client.read(&mut worker.inbox) => match incoming {
                    Incoming::ProbeResult | Incoming::MetaData(_) | Incoming::Retire(_) => {}
                    Incoming::Protocol(_) => return CallFailure::Protocol("broke the worker protocol".into()),
                    Incoming::Closed => return worker.closed().await,
                },
                ended = worker.process.ended() => {
                    // What it wrote before its end.
                    let _broken = worker.client.read_rest(&mut worker.inbox);
                    return CallFailure::Crashed(worker.process.how(ended).into());
                }
                _ = worker.client.end_overdue() => {}
                () = worker.client.drained() => return CallFailure::Stopped,
                () = &mut grace => return CallFailure::Stopped,
                () = pool.kill.cancelled() => return CallFailure::Stopped,
                // The pool stops while the worker is being replaced: its deadline may be earlier.
                () = pool.stop.cancelled(), if !stopping => {
                    stopping = true;
                    grace.as_mut().reset(pool.dispatch.drain_deadline().into());
                }
            }
        }
    }
}

impl Deref for Worker {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        self.parts.as_ref().expect("only the methods that consume a worker take its parts")
    }
}

impl DerefMut for Worker {
    fn deref_mut(&mut self) -> &mut Parts {
        self.parts.as_mut().expect("only the methods that consume a worker take its parts")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let Some(parts) = self.parts.take() else { return };
        let failure = CallFailure::Crashed("was ended because its supervisor failed".into());
        parts.client.fail_all(&failure);
        // Without a runtime the process is shutting down: the kernel kills the worker with the gateway.
        if let Ok(runtime) = Handle::try_current() {
            self.tasks.spawn_on(parts.end(failure), &runtime);
        }
    }
}

impl Parts {
    async fn end(mut self, failure: CallFailure) {
        self.process.kill();
        self.process.ended().await;
        self.client.fail_all(&failure);
        self.writer.abort();
        self.finish_output().await;
        for output in &self.outputs {
            output.abort();
        }
        self.process.finish_tree().await;
    }

    /// The failure of the calls on a worker that has closed its end of the channel: it is ending, or else it is killed.
    async fn closed(&mut self) -> CallFailure {
        match tokio::time::timeout(LAST_OUTPUT, self.process.ended()).await {
            Ok(ended) => CallFailure::Crashed(self.process.how(ended).into()),
            Err(_) => {
                self.process.kill();
                CallFailure::Crashed("closed its channel".into())
            }
        }
    }

    /// Waits a moment for the last output of a worker that has ended; a grandchild may keep the pipes open.
    pub(super) async fn finish_output(&mut self) {
        let [out, err] = &mut self.outputs;
        let both = async {
            if !out.is_finished() {
                let _panicked = out.await;
            }
            if !err.is_finished() {
                let _panicked = err.await;
            }
        };
        let _kept_open = tokio::time::timeout(LAST_OUTPUT, both).await;
    }
}
