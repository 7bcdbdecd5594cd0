//! Keeps one seat of a pool filled: starts a worker, has it load the release, serves with it, and starts the next when
//! it ends. `lifecycle` decides which step follows which; loading is in `loading`, serving in `serving`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use crate::clock;
use crate::invocation::CallFailure;
use crate::supervise;
use crate::traces::timeline;
use crate::worker::failure::{LoadFailure, LoadFailureKind};
use crate::worker::lifecycle::{self, Event, GOOD_LIFE, Lifecycle, Phase};
use crate::worker::loading::{self, NotLoaded};
use crate::worker::release_check::Files;
use crate::worker::restarts::Reason;
use crate::worker::running::Worker;
use crate::worker::seat::Seat;
use crate::worker::serving::{self, Parting};

/// The name of the supervisor as a long-lived task.
pub const TASK: &str = "worker-supervisor";
/// A worker that asks to be replaced at this age or later is replaced at once.
const LONG_LIFE: Duration = Duration::from_secs(60);
/// How long streams may go on on a worker that is replaced. Calls end at their own deadlines.
const STREAM_TIME: Duration = Duration::from_secs(600);

/// Keeps one seat filled.
pub struct Supervisor {
    seat: Seat,
    life: Lifecycle,
    worker: Option<Worker>,
    /// What the worker was started from.
    files: Files,
    /// Workers in a row that asked to be replaced before they were [`LONG_LIFE`] old.
    early_retirements: u32,
    /// Why the last worker is no longer there.
    failure: Option<Arc<LoadFailure>>,
}

impl Supervisor {
    /// A supervisor for a seat without a worker.
    #[must_use]
    pub fn new(seat: Seat) -> Self {
        Self { seat, life: Lifecycle::default(), worker: None, files: None, early_retirements: 0, failure: None }
    }

    /// Keeps the seat filled until the pool stops or the seat is given up. Returns when no process of it is left.
    pub async fn run(mut self) {
        while self.life.phase != Phase::Stopped {
            let event = match (self.life.phase, self.worker.take()) {
                (Phase::Starting, _) => self.start().await,
                (Phase::Loading, Some(worker)) => self.load(worker).await,
                (Phase::Ready, Some(worker)) => self.serve(worker).await,
                (Phase::Waiting(_), _) => self.wait().await,
                // Without a worker these phases cannot go on.
                (Phase::Loading | Phase::Ready, None) | (Phase::Stopped, _) => Event::Stop,
            };
            // The jitter keeps workers that failed together from starting together again and again.
            self.life = self.life.after(event, 0.8 + 0.4 * fastrand::f64());
        }
    }

    async fn start(&mut self) -> Event {
        let pool = &self.seat.pool;
        let checked = tokio::select! {
            biased;
            () = pool.stop.cancelled() => return Event::Stop,
            checked = pool.files.check() => checked,
        };
        match checked {
            Ok(files) => self.files = files,
            Err(failure) => {
                self.failure = Some(failure);
                return Event::FilesChanged;
            }
        }
        let step = pool.begin_step("start");
        match loading::start_worker(pool) {
            Ok(worker) => {
                timeline::succeed(step);
                self.worker = Some(worker);
                Event::Spawned
            }
            Err(failure) => {
                self.failure = Some(Arc::new(failure));
                Event::SpawnFailed
            }
        }
    }

    async fn load(&mut self, mut worker: Worker) -> Event {
        let pool = &self.seat.pool;
        let step = pool.begin_step("load");
        let loaded = loading::load(pool, &mut worker).await;
        if let Some(step) = step {
            step.end("", loaded.is_err().then(|| "load_failed".into()));
        }
        match loaded {
            Ok(_) if !pool.files.confirm(self.files) => {
                let message = format!("the files of {:?} changed while its workers loaded", pool.settings.name);
                tracing::warn!(deployment = %pool.settings.name, "files changed during the load: loading them again");
                self.failure = Some(Arc::new(LoadFailure::new(LoadFailureKind::Load, message)));
                self.end_in_background(worker, CallFailure::Stopped);
                Event::LoadFailed
            }
            Ok(exports) => {
                let name = &pool.settings.name;
                let milliseconds = clock::since(worker.started).as_millis();
                tracing::info!(deployment = %name, functions = exports.functions.len(), milliseconds, "loaded");
                for warning in &exports.warnings {
                    tracing::warn!(deployment = %name, warning, "loaded with a warning");
                    pool.logs.note(&format!("warning: {warning}"));
                }
                self.seat.ready(Arc::clone(&worker.client), exports);
                self.worker = Some(worker);
                Event::Loaded
            }
            Err(NotLoaded::PoolStops) => {
                worker.end(CallFailure::Stopped).await;
                Event::Stop
            }
            Err(NotLoaded::Failed(failure)) => {
                self.failure = Some(Arc::new(failure));
                self.end_in_background(worker, CallFailure::Stopped);
                Event::LoadFailed
            }
        }
    }

    async fn serve(&mut self, mut worker: Worker) -> Event {
        supervise::panic_point(TASK);
        let pool = Arc::clone(&self.seat.pool);
        // What a worker does wrong soon after each start must not keep the machine busy with starts.
        let retire_at = worker.started + lifecycle::delay(self.early_retirements);
        let parting = serving::serve(&self.seat, &mut worker, retire_at).await;
        self.seat.starting();
        match parting {
            Parting::Died(failure) => {
                let has_answered = worker.client.counters.answered.load(Ordering::Relaxed) > 0;
                let good = has_answered || clock::since(worker.started) >= GOOD_LIFE;
                self.failure = Some(Arc::new(self.death(&failure)));
                let is_protocol = matches!(failure, CallFailure::Protocol(_));
                self.seat.count_restart(if is_protocol { Reason::Protocol } else { Reason::Crashed });
                self.end_in_background(worker, failure);
                Event::Died { good }
            }
            Parting::Replaced(reason) => {
                tracing::warn!(deployment = %pool.settings.name, reason, "replacing a worker");
                pool.logs.note(&format!("worker is replaced: {reason}"));
                // The pool has enough permits for itself; without one, its streams end with the time of calls.
                self.seat.count_restart(Reason::Overdue);
                self.replace(worker, Arc::clone(&pool.retiring).try_acquire_owned().ok());
                Event::Retired
            }
            Parting::Retired { reason, asked, permit } => {
                tracing::warn!(deployment = %pool.settings.name, reason, "a worker asks to be replaced");
                pool.logs.note(&format!("worker is replaced: {reason}"));
                let is_early = asked.saturating_duration_since(worker.started) < LONG_LIFE;
                self.early_retirements = if is_early { self.early_retirements.saturating_add(1) } else { 0 };
                self.seat.count_restart(Reason::Asked);
                self.replace(worker, Some(permit));
                Event::Retired
            }
            Parting::NotNeeded => {
                worker.drain_and_end(&pool, pool.settings.timeout).await;
                Event::Stop
            }
        }
    }

    /// Lets a worker finish its calls and end while the next one starts.
    fn replace(&self, worker: Worker, permit: Option<OwnedSemaphorePermit>) {
        let pool = Arc::clone(&self.seat.pool);
        self.seat.pool.tasks.spawn(async move {
            let timeout = pool.settings.timeout;
            let time = if permit.is_some() { timeout.max(STREAM_TIME) } else { timeout };
            worker.drain_and_end(&pool, time).await;
            drop(permit);
        });
    }

    /// Waits for the delay before the next start; callers see why there is no worker.
    async fn wait(&self) -> Event {
        let Phase::Waiting(delay) = self.life.phase else { return Event::DelayOver };
        match &self.failure {
            Some(failure) if !delay.is_zero() || self.life.bad_starts > 0 => {
                self.seat.failed(Arc::clone(failure), delay, self.life.in_crash_loop());
            }
            _ => self.seat.starting(),
        }
        tokio::select! {
            // First: a pool that stops must not start a worker only to end it.
            biased;
            () = self.seat.pool.stop.cancelled() => Event::Stop,
            () = tokio::time::sleep(delay) => Event::DelayOver,
        }
    }

    fn death(&self, failure: &CallFailure) -> LoadFailure {
        let how = match failure {
            CallFailure::Crashed(how) | CallFailure::Protocol(how) => how.as_ref(),
            CallFailure::Function(_) | CallFailure::TimedOut | CallFailure::Stopped | CallFailure::Unsent => "ended",
        };
        let message = format!("worker of {:?} {how}", self.seat.pool.settings.name);
        LoadFailure { public: Some(message.clone()), ..LoadFailure::new(LoadFailureKind::Died, message) }
    }

    /// Fails the calls in flight at once, and ends the rest of the process tree while the next worker starts: finding
    /// all of its processes takes some milliseconds.
    fn end_in_background(&self, worker: Worker, failure: CallFailure) {
        worker.client.fail_all(&failure);
        self.seat.pool.tasks.spawn(worker.end(failure));
    }
}
