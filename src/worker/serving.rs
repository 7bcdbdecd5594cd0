//! A ready worker: its answers are read until it ends, hangs, must be replaced or is not needed any more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;

use crate::clock;
use crate::invocation::CallFailure;
use crate::ipc::client::OverdueCalls;
use crate::ipc::message::PROBE;
use crate::ipc::{Incoming, WriteEnd};
use crate::process::child::Ended;
use crate::process::output::LAST_OUTPUT;
use crate::worker::running::Worker;
use crate::worker::seat::Seat;

/// How long a worker may take to answer a probe, which is sent when a call ran out of time.
const PROBE_WAIT: Duration = Duration::from_secs(1);
/// Calls that ran out of time, in a row or without any answer yet, before a worker is replaced.
const TIMEOUTS_ALLOWED: u32 = 3;
/// How long a call may still run after its deadline before its worker is replaced: it may be an endless loop.
const STUCK_LIMIT: Duration = Duration::from_secs(10);
/// How long a worker beyond the minimum may be idle, and how often that is checked.
const IDLE_LIFE: Duration = Duration::from_secs(60);
const IDLE_CHECK: Duration = Duration::from_secs(10);

/// Why a worker stopped being ready.
pub(super) enum Parting {
    /// It ended or was killed; calls in flight fail with this.
    Died(CallFailure),
    /// It is replaced for this reason, and may finish its calls.
    Replaced(&'static str),
    /// It has asked to be replaced, and finishes its calls under this permit.
    Retired { reason: String, asked: Instant, permit: OwnedSemaphorePermit },
    /// The pool stops, or the seat was given up.
    NotNeeded,
}

/// The deadlines of a ready worker; none is armed in the beginning.
#[derive(Default)]
struct Deadlines {
    /// When a probe must be answered.
    probe: Option<Instant>,
    /// When a call that ran out of time counts as stuck.
    stuck: Option<Instant>,
}

/// Serves with a worker until it parts. A worker that asks to be replaced serves on until `retire_at`.
pub(super) async fn serve(seat: &Seat, worker: &mut Worker, retire_at: Instant) -> Parting {
    worker.client.send_line(PROBE);
    let mut deadlines = Deadlines::default();
    let mut retire: Option<(String, Instant)> = None;
    let mut idle_check = tokio::time::interval(IDLE_CHECK);
    let may_shrink = seat.pool.settings.max > seat.pool.settings.min;
    loop {
        // A branch whose condition is false still needs a time.
        let probe = deadlines.probe.unwrap_or_else(clock::now).into();
        let stuck = deadlines.stuck.unwrap_or_else(clock::now).into();
        let parts = &mut **worker;
        tokio::select! {
            // What the worker wrote before it ended is read before its end is seen.
            biased;
            incoming = parts.client.read(&mut parts.inbox) => match incoming {
                Incoming::ProbeResult => {
                    parts.answers_probes = true;
                    deadlines.probe = None;
                }
                // Only the first reason counts.
                Incoming::Retire(reason) => retire = retire.or_else(|| Some((reason, clock::now()))),
                Incoming::MetaData(_) => tracing::debug!("ignored repeated metadata"),
                Incoming::Protocol(how) => return broke_protocol(seat, worker, &how),
                Incoming::Closed => return channel_closed(seat, worker).await,
            },
            ended = parts.process.ended() => return process_ended(seat, worker, ended),
            overdue = parts.client.end_overdue() => {
                if let Some(parting) = deadlines.arm(seat, worker, overdue) {
                    return parting;
                }
            }
            () = tokio::time::sleep_until(stuck), if deadlines.stuck.is_some() => {
                deadlines.stuck = parts.client.stuck_since().map(|since| since + STUCK_LIMIT);
                if deadlines.stuck.is_some_and(|at| at <= clock::now()) {
                    return Parting::Replaced("a call still runs long after its deadline");
                }
            }
            () = tokio::time::sleep_until(probe), if deadlines.probe.is_some() => {
                return kill(worker, "was ended because it no longer answered");
            }
            end = &mut parts.writer => {
                if matches!(end, Ok(WriteEnd::Stalled)) {
                    return kill(worker, "was ended because it no longer read");
                }
                return channel_closed(seat, worker).await;
            }
            Some(permit) = retiring_permit(seat, retire_at), if retire.is_some() => {
                let Some((reason, asked)) = retire else { continue };
                return Parting::Retired { reason, asked, permit };
            }
            _ = idle_check.tick(), if may_shrink => {
                if seat.give_up_if_idle(IDLE_LIFE) {
                    return Parting::NotNeeded;
                }
            }
            () = seat.pool.stop.cancelled() => return Parting::NotNeeded,
        }
    }
}

/// Waits until a worker that asks to be replaced may finish its calls.
async fn retiring_permit(seat: &Seat, retire_at: Instant) -> Option<OwnedSemaphorePermit> {
    tokio::time::sleep_until(retire_at.into()).await;
    Arc::clone(&seat.pool.retiring).acquire_owned().await.ok()
}

impl Deadlines {
    /// Arms the deadlines after calls ran out of time, or replaces the worker if that happened too often or a stream
    /// does not end.
    fn arm(&mut self, seat: &Seat, worker: &Worker, overdue: OverdueCalls) -> Option<Parting> {
        if overdue.unended > 0 {
            // Not probed: what holds the worker up may end, and its other calls have deadlines.
            return Some(Parting::Replaced("a stream that was cancelled does not end"));
        }
        tracing::warn!(deployment = %seat.pool.settings.name, calls = overdue.timed_out, "calls ran out of time");
        let (in_a_row, unanswered) = worker.client.timeouts();
        if in_a_row >= TIMEOUTS_ALLOWED || unanswered >= TIMEOUTS_ALLOWED as usize {
            return Some(Parting::Replaced("its calls run out of time repeatedly"));
        }
        self.stuck = self.stuck.or(Some(clock::now() + STUCK_LIMIT));
        if worker.answers_probes && self.probe.is_none() {
            worker.client.send_line(PROBE);
            self.probe = Some(clock::now() + PROBE_WAIT);
        }
        None
    }
}

fn kill(worker: &Worker, how: &'static str) -> Parting {
    worker.process.kill();
    Parting::Died(CallFailure::Crashed(how.into()))
}

fn broke_protocol(seat: &Seat, worker: &Worker, how: &str) -> Parting {
    worker.process.kill();
    tracing::error!(deployment = %seat.pool.settings.name, how, "worker broke the protocol");
    seat.pool.logs.note(&format!("worker broke the protocol: {how}"));
    Parting::Died(CallFailure::Protocol("broke the worker protocol".into()))
}

/// The worker has closed its end of the channel: it is ending, or else it is killed.
async fn channel_closed(seat: &Seat, worker: &mut Worker) -> Parting {
    match tokio::time::timeout(LAST_OUTPUT, worker.process.ended()).await {
        Ok(ended) => process_ended(seat, worker, ended),
        Err(_) => {
            worker.process.kill();
            seat.pool.logs.note("worker closed its channel and was ended");
            Parting::Died(CallFailure::Crashed("closed its channel".into()))
        }
    }
}

/// Reads what the worker wrote before its end: a call that it answered has succeeded.
fn process_ended(seat: &Seat, worker: &mut Worker, ended: Ended) -> Parting {
    let parts = &mut **worker;
    let last = parts.client.read_rest(&mut parts.inbox);
    let how = parts.process.how(ended);
    tracing::error!(deployment = %seat.pool.settings.name, how, "worker ended");
    seat.pool.logs.note(&format!("worker {how}"));
    match last {
        Some(Incoming::Protocol(how)) => broke_protocol(seat, worker, &how),
        _ => Parting::Died(CallFailure::Crashed(how.into())),
    }
}
