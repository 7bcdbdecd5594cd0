//! One seat of a pool, owned by the supervisor that keeps it filled: all that a supervisor knows of its pool. Dropping
//! it frees the seat, also when the supervisor panics.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock;
use crate::deployment::Exports;
use crate::logs::book::LogBook;
use crate::runtime::Plan;
use crate::traces::timeline::{OpenStep, Part, Timeline};
use crate::worker::admission::Admit;
use crate::worker::dispatch::{Dispatch, WorkerClient};
use crate::worker::failure::LoadFailure;
use crate::worker::processes::Processes;
use crate::worker::release_check::CheckRelease;
use crate::worker::restarts::{Reason, Restarts};
use crate::worker::seats::SeatState;
use crate::worker::settings::Settings;
use crate::worker::spawn::StartWorker;

/// What the seats of one pool share: how workers are started, and when they end.
pub struct PoolContext {
    /// Limits of the workers.
    pub settings: Settings,
    /// How a worker is started.
    pub plan: Plan,
    /// The log of the deployment.
    pub logs: Arc<LogBook>,
    /// Starts the processes.
    pub workers: Arc<dyn StartWorker>,
    /// Decides whether a loaded release may serve.
    pub admission: Arc<dyn Admit>,
    /// Decides whether the files are still those of the release.
    pub files: Arc<dyn CheckRelease>,
    /// Gives the calls to the workers.
    pub dispatch: Arc<Dispatch>,
    /// Workers finish their calls and end.
    pub stop: CancellationToken,
    /// Workers end at once.
    pub kill: CancellationToken,
    /// Supervisors, and the ends of workers.
    pub tasks: TaskTracker,
    /// Permits for workers that finish their calls after they have asked to be replaced: as many as the pool has seats.
    pub retiring: Arc<Semaphore>,
    /// Workers that were replaced.
    pub restarts: Restarts,
    /// The processes of its workers.
    pub processes: Processes,
    /// What keeps the steps of the deploy that has made the pool, as long as that goes on.
    pub change: Weak<Timeline>,
}

impl PoolContext {
    /// Begins a step of the deploy that has made the pool, if that goes on and is traced.
    #[must_use]
    pub fn begin_step(&self, name: &str) -> Option<OpenStep> {
        Some(self.change.upgrade()?.begin(Part::Change, name))
    }
}

/// The right to fill one seat of a pool.
pub struct Seat {
    number: u64,
    /// Shared with the other seats.
    pub pool: Arc<PoolContext>,
}

impl Seat {
    /// Adds a seat to the pool, in which a worker is starting; none if the pool has its maximum.
    #[must_use]
    pub fn take(pool: &Arc<PoolContext>) -> Option<Self> {
        let number = pool.dispatch.add_seat(pool.settings.max)?;
        Some(Self { number, pool: Arc::clone(pool) })
    }

    /// Its worker has loaded and takes calls.
    pub fn ready(&self, client: WorkerClient, exports: Exports) {
        self.pool.dispatch.set_ready(self.number, client, exports);
    }

    /// Its worker takes no more calls, and another one starts.
    pub fn starting(&self) {
        self.pool.dispatch.set_not_ready(self.number, SeatState::Starting);
    }

    /// Its worker failed, and the next one starts after `delay`.
    pub fn failed(&self, failure: Arc<LoadFailure>, delay: Duration, crash_loop: bool) {
        let next_try = clock::now() + delay;
        self.pool.dispatch.set_not_ready(self.number, SeatState::Failed { failure, next_try, crash_loop });
    }

    /// Frees the seat if its worker has been idle for this long and more workers than the pool's minimum are ready. The
    /// worker takes no more calls then, and the seat no longer counts while the worker ends.
    #[must_use]
    pub fn give_up_if_idle(&self, idle: Duration) -> bool {
        self.pool.dispatch.remove_idle_seat(self.number, idle, self.pool.settings.min)
    }

    /// Counts a worker that was replaced.
    pub fn count_restart(&self, reason: Reason) {
        self.pool.restarts.add(reason);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        #[cfg(test)]
        if crate::planted::is(crate::planted::Fault::LeakedSeat) {
            return;
        }
        self.pool.dispatch.remove_seat(self.number);
    }
}
