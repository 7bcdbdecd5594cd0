//! A running worker and its way down: it finishes its calls, is asked to end, and takes its whole process tree along.
//! When that comes is left to `supervisor`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::ipc::client::Inbox;
use crate::ipc::outcome::WriteEnd;
use crate::ipc::{CallFailure, Client, Incoming};
use crate::process::child::Process;
use crate::process::output::LAST_OUTPUT;
use crate::worker::pool::{Lease, Pool};

/// How long a worker may take to end after it was asked to.
const TERM_GRACE: Duration = Duration::from_secs(2);

/// A running worker and everything that belongs to it.
pub(super) struct Worker {
    pub(super) process: Process,
    pub(super) client: Arc<Client<Lease>>,
    pub(super) inbox: Inbox,
    pub(super) writer: JoinHandle<WriteEnd>,
    pub(super) drains: [JoinHandle<()>; 2],
    pub(super) started: Instant,
    /// Number of the log line at its start.
    pub(super) log_start: u64,
    /// It has answered a probe once: silence after another one then means something.
    pub(super) answers_probes: bool,
}

/// Lets a worker finish its calls, asks it to end, and ends its whole tree.
pub(super) async fn retire(mut worker: Worker, pool: Arc<Pool>, stop: CancellationToken) {
    worker.client.refuse_calls();
    let grace = tokio::time::sleep(pool.settings.timeout);
    tokio::pin!(grace);
    let mut stopping = false;
    loop {
        tokio::select! {
            biased;
            incoming = worker.client.read(&mut worker.inbox) => match incoming {
                Incoming::ProbeResult | Incoming::MetaData(_) => {}
                Incoming::Protocol(_) | Incoming::Closed => break,
            },
            _ = worker.process.ended() => break,
            _ = worker.client.overdue() => {}
            () = worker.client.drained() => break,
            () = &mut grace => break,
            () = pool.killed() => break,
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                grace.as_mut().reset(pool.drain_until().into());
            }
        }
    }
    worker.client.fail_all(&CallFailure::Stopped);
    worker.client.shut_down_writing();
    worker.process.tree.terminate();
    tokio::select! {
        _ = worker.process.ended() => {}
        () = tokio::time::sleep(TERM_GRACE) => {}
        () = pool.killed() => {}
    }
    end(worker, &CallFailure::Stopped).await;
}

/// Ends a worker and its whole tree, and reaps it.
pub(super) async fn end(mut worker: Worker, failure: &CallFailure) {
    worker.process.kill();
    worker.process.ended().await;
    worker.client.fail_all(failure);
    worker.writer.abort();
    finish_drains(&mut worker.drains).await;
    for drain in &worker.drains {
        drain.abort();
    }
    let Worker { process, .. } = worker;
    let finished = tokio::task::spawn_blocking(move || process.finish_tree()).await;
    if let Err(error) = finished {
        tracing::error!(%error, "a worker's process tree could not be ended");
    }
}

/// Waits a moment for what a worker printed last; a grandchild may keep the pipes open.
pub(super) async fn finish_drains(drains: &mut [JoinHandle<()>; 2]) {
    let [out, err] = drains;
    let both = async {
        if !out.is_finished() {
            let _cut = (&mut *out).await;
        }
        if !err.is_finished() {
            let _cut = (&mut *err).await;
        }
    };
    let _cut = tokio::time::timeout(LAST_OUTPUT, both).await;
}
