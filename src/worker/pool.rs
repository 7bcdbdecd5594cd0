//! The workers of one deployment and the calls that wait for one: the least busy worker takes a call, a bounded queue
//! holds the rest. Each worker's life is left to its `supervisor`.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::deployment::{Accepts, Exports, Function, Takes};
use crate::invocation::{Arguments, ErrorKind, Returned};
use crate::ipc::message::Call;
use crate::ipc::{CallFailure, Client, SendError};
use crate::logs::book::LogBook;
use crate::process::spawner::Spawner;
use crate::runtime::Plan;
use crate::worker::admission::Admit;
use crate::worker::outcome::{CallError, LoadFailure};
use crate::worker::places::{self, Place, Places, RETRY_SOON};
use crate::worker::settings::Settings;
use crate::worker::supervisor::Supervisor;

/// How long a call waits for a worker that is being started.
const START_WAIT: Duration = Duration::from_secs(5);

/// The workers of one release.
pub struct Pool {
    /// Limits.
    pub settings: Settings,
    /// How a worker is started.
    pub plan: Plan,
    /// What the workers print.
    pub logs: Arc<LogBook>,
    /// Starts the processes.
    pub spawner: Arc<Spawner>,
    admission: Arc<dyn Admit>,
    exports: ArcSwapOption<Exports>,
    places: Mutex<Places<WorkerClient, Granted>>,
    changed: Notify,
    grow: Notify,
    stop: CancellationToken,
    kill: CancellationToken,
    tasks: TaskTracker,
    restarts: AtomicU64,
    /// The gateway goes on without it.
    retired: AtomicBool,
}

type WorkerClient = Arc<Client<Lease>>;
type Granted = (WorkerClient, Lease);
type Grant = places::Grant<Granted>;

/// The right to have one call in flight on a worker; given back when dropped.
pub struct Lease {
    /// Where it goes back to; nobody when it was never used.
    pool: Option<Arc<Pool>>,
    run: u64,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(pool) = &self.pool {
            pool.release(self.run);
        }
    }
}

/// What a pool is doing, for people.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Workers that answer.
    pub ready: usize,
    /// Places of workers, ready or not.
    pub workers: usize,
    /// Calls in flight.
    pub in_flight: usize,
    /// Calls that wait.
    pub waiting: usize,
    /// Workers that were replaced since the start.
    pub restarts: u64,
    /// Why no worker answers, if none does.
    pub failure: Option<Arc<LoadFailure>>,
    /// No worker answers because starts go wrong again and again.
    pub crash_loop: bool,
    /// Answers that came after their call was over, unknown ids and unknown types, of the workers that are ready.
    pub odd_messages: u64,
}

impl Pool {
    /// A pool whose first workers are being started.
    #[must_use]
    pub fn start(
        settings: Settings,
        plan: Plan,
        logs: Arc<LogBook>,
        spawner: Arc<Spawner>,
        admission: Arc<dyn Admit>,
    ) -> Arc<Self> {
        let pool = Arc::new(Self {
            places: Mutex::new(Places::new(settings.concurrency)),
            settings,
            plan,
            logs,
            spawner,
            admission,
            exports: ArcSwapOption::empty(),
            changed: Notify::new(),
            grow: Notify::new(),
            stop: CancellationToken::new(),
            kill: CancellationToken::new(),
            tasks: TaskTracker::new(),
            restarts: AtomicU64::new(0),
            retired: AtomicBool::new(false),
        });
        for _ in 0..pool.settings.min {
            pool.add_worker();
        }
        if pool.settings.max > pool.settings.min {
            let growing = Arc::clone(&pool);
            pool.tasks.spawn(async move { growing.grow_on_demand().await });
        }
        pool
    }

    /// What the release offers, once it has loaded.
    pub fn exports(&self) -> Option<Arc<Exports>> {
        self.exports.load_full()
    }

    /// Whether a call is to carry the names of its arguments, as far as that is known.
    pub fn wants_names(&self) -> bool {
        self.plan.kind.may_use_names() && self.exports.load().as_ref().is_none_or(|exports| exports.accepts.names)
    }

    /// The name of the function that a caller means: an alias stands for a name, anything else for itself. Where there
    /// may be aliases it waits for the first load, and fails as a call would that finds no worker.
    pub async fn name_of<'a>(&self, called: &'a str, deadline: Instant) -> Result<Cow<'a, str>, CallError> {
        if self.plan.kind.may_use_names() && self.exports.load().is_none() {
            self.loaded(deadline).await?;
        }
        let exports = self.exports.load();
        let name = exports.as_ref().and_then(|exports| exports.aliases.get(called));
        Ok(name.map_or(Cow::Borrowed(called), |name| Cow::Owned(name.to_string())))
    }

    /// Calls a function, by its name and with what it takes, and waits for its answer until the deadline.
    pub async fn call(
        self: &Arc<Self>,
        function: &str,
        takes: Takes,
        arguments: &Arguments,
        deadline: Instant,
    ) -> Result<Returned, CallError> {
        if self.exports.load().is_none() {
            self.loaded(deadline).await?;
        }
        let (function, accepts) = self.find(function, takes)?;
        let names = if accepts.names { arguments.names() } else { None };
        loop {
            let (client, lease) = self.acquire(deadline).await?;
            let run = lease.run;
            let timeout = accepts.timeout.then(|| deadline.saturating_duration_since(Instant::now()));
            let call = Call { names, timeout, ..Call::new(&function.quoted, arguments.as_json()) };
            match client.call(&call, deadline, lease) {
                Ok(reply) => match reply.await {
                    Ok(Ok(returned)) => return Ok(returned),
                    Ok(Err(CallFailure::Unsent)) => {}
                    Ok(Err(failure)) => {
                        self.note_failure(&function.name, &failure);
                        return Err(self.call_error(failure));
                    }
                    Err(_) => return Err(CallError::Crashed("was given up".into())),
                },
                Err(SendError::Closed) => self.places.lock().lose(run),
                Err(SendError::Full) => return Err(CallError::Overloaded(RETRY_SOON)),
            }
        }
    }

    fn find(&self, name: &str, takes: Takes) -> Result<(Arc<Function>, Accepts), CallError> {
        let exports = self.exports.load();
        let Some(exports) = exports.as_ref() else { return Err(CallError::FunctionNotFound) };
        match exports.functions.get(name) {
            Some(function) if function.takes == takes => Ok((Arc::clone(function), exports.accepts)),
            Some(_) => Err(CallError::FunctionNotFound),
            // It was not yet known as one when the call's plugins were looked up: these may be the wrong ones.
            None if exports.aliases.contains_key(name) => Err(CallError::Starting),
            None => Err(CallError::FunctionNotFound),
        }
    }

    /// Callers hear less than the log does: the stack is for whoever wrote the function.
    fn note_failure(&self, function: &str, failure: &CallFailure) {
        match failure {
            CallFailure::Function(error) if error.kind == ErrorKind::Argument => {}
            CallFailure::Function(error) => {
                self.logs
                    .report(&format!("{function} failed: {}", error.stack.as_deref().unwrap_or(&error.to_string())));
            }
            CallFailure::TimedOut => {
                self.logs.report(&format!("{function} gave no answer within {:?}", self.settings.timeout));
            }
            CallFailure::Crashed(_) | CallFailure::Protocol(_) | CallFailure::Stopped | CallFailure::Unsent => {}
        }
    }

    fn call_error(&self, failure: CallFailure) -> CallError {
        match failure {
            CallFailure::Function(error) => CallError::Function(error),
            CallFailure::Crashed(how) => CallError::Crashed(how),
            CallFailure::Protocol(how) => CallError::Protocol(how),
            CallFailure::TimedOut => CallError::TimedOut(self.settings.timeout),
            CallFailure::Stopped if self.retired.load(Ordering::Relaxed) => CallError::Deleted,
            CallFailure::Stopped => CallError::Cut,
            CallFailure::Unsent => CallError::Stopping,
        }
    }

    /// Waits until the release has loaded, or has failed to for the first time.
    pub async fn first_load(&self) -> Result<Arc<Exports>, Arc<LoadFailure>> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(exports) = self.exports() {
                return Ok(exports);
            }
            if let Some((failure, _)) = self.places.lock().failure() {
                return Err(failure);
            }
            changed.await;
        }
    }

    /// Shows what a worker has loaded to whoever has the last word on it.
    pub(super) async fn admit(&self, exports: Exports) -> Result<Exports, String> {
        self.admission.admit(exports).await
    }

    /// Waits until a release has loaded at least once.
    async fn loaded(&self, deadline: Instant) -> Result<(), CallError> {
        let until = deadline.min(Instant::now() + START_WAIT);
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.exports.load().is_some() {
                return Ok(());
            }
            if let Some(error) = self.unavailable_before_load() {
                return Err(error);
            }
            if tokio::time::timeout_at(until.into(), changed).await.is_err() {
                return Err(CallError::Starting);
            }
        }
    }

    /// As [`Places::unavailable`], for a release that has never loaded: callers get the reason instead of a crash loop.
    fn unavailable_before_load(&self) -> Option<CallError> {
        let places = self.places.lock();
        match (places.unavailable()?, places.failure()) {
            (CallError::CrashLoop(wait), Some((failure, _))) => Some(CallError::NotLoaded(wait, failure)),
            (error, _) => Some(error),
        }
    }

    async fn acquire(self: &Arc<Self>, deadline: Instant) -> Grant {
        let (grant, any_ready) = {
            let mut places = self.places.lock();
            if places.waiting.is_empty()
                && places.stopping.is_none()
                && let Some(ready) = places.take()
            {
                return Ok((Arc::clone(&ready.client), self.lease(ready.run)));
            }
            if let Some(error) = places.unavailable() {
                return Err(error);
            }
            places.waiting.retain(|waiter| !waiter.is_closed());
            if places.waiting.len() >= self.settings.queue {
                return Err(CallError::Overloaded(RETRY_SOON));
            }
            let (waiter, grant) = oneshot::channel();
            places.waiting.push_back(waiter);
            (grant, !places.ready().is_empty())
        };
        self.grow.notify_one();
        let start_limit = Instant::now() + START_WAIT;
        let until = if any_ready { deadline } else { deadline.min(start_limit) };
        match tokio::time::timeout_at(until.into(), grant).await {
            Ok(Ok(grant)) => grant,
            Ok(Err(_)) => Err(CallError::Stopping),
            Err(_) if any_ready || deadline <= start_limit => Err(CallError::TimedOut(self.settings.timeout)),
            Err(_) => Err(CallError::Starting),
        }
    }

    fn lease(self: &Arc<Self>, run: u64) -> Lease {
        Lease { pool: Some(Arc::clone(self)), run }
    }

    fn release(self: &Arc<Self>, run: u64) {
        let mut places = self.places.lock();
        places.give_back(run);
        if !places.waiting.is_empty() {
            self.serve_waiting(&mut places);
        }
    }

    /// Hands free workers to the calls that have waited longest.
    fn serve_waiting(self: &Arc<Self>, places: &mut Places<WorkerClient, Granted>) {
        while !places.waiting.is_empty() {
            let Some(ready) = places.take() else { break };
            let (run, grant) = (ready.run, (Arc::clone(&ready.client), self.lease(ready.run)));
            let Some(waiter) = places.waiting.pop_front() else { break };
            if let Err(Ok((_, mut lease))) = waiter.send(Ok(grant)) {
                // The caller is gone. Its lease must not come back by itself: the table is locked here.
                lease.pool = None;
                places.give_back(run);
            }
        }
    }

    /// A worker has loaded and takes calls.
    pub(super) fn worker_ready(self: &Arc<Self>, place: u64, client: Arc<Client<Lease>>, exports: Exports) {
        self.exports.store(Some(Arc::new(exports)));
        let mut places = self.places.lock();
        places.set_ready(place, client);
        self.serve_waiting(&mut places);
        drop(places);
        // Calls that came while it was starting may want another one.
        self.grow.notify_one();
        self.changed.notify_waiters();
    }

    /// A worker takes no more calls.
    pub(super) fn remove_ready(&self, place: u64) {
        self.places.lock().set(place, Place::Starting);
    }

    /// What is with a place now; calls that wait learn of it when nothing is left to wait for.
    pub(super) fn set_place(&self, place: u64, what: Place) {
        let mut places = self.places.lock();
        places.set(place, what);
        if let Some(error) = places.unavailable() {
            for waiter in std::mem::take(&mut places.waiting) {
                let _gone = waiter.send(Err(error.clone()));
            }
        }
        drop(places);
        self.changed.notify_waiters();
    }

    /// A worker's place is given up.
    pub(super) fn remove_place(&self, place: u64) {
        self.places.lock().remove(place);
        self.changed.notify_waiters();
    }

    /// Gives a place up if the pool has more than it needs and this one has been idle for so long.
    pub(super) fn give_up_idle(&self, place: u64, idle: Duration) -> bool {
        let mut places = self.places.lock();
        let gives_up = places.count() > self.settings.min && places.is_idle(place, idle);
        if gives_up {
            places.remove(place);
        }
        gives_up
    }

    pub(super) fn count_restart(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }

    /// Until when calls on a worker that is being stopped may go on.
    pub(super) fn drain_until(&self) -> Instant {
        self.places.lock().stopping.unwrap_or_else(|| Instant::now() + self.settings.timeout)
    }

    pub(super) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    fn add_worker(self: &Arc<Self>) {
        let place = self.places.lock().add();
        let supervisor = Supervisor::new(Arc::clone(self), place, self.stop.clone());
        self.tasks.spawn(supervisor.run());
    }

    async fn grow_on_demand(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = self.grow.notified() => {}
                () = self.stop.cancelled() => return,
            }
            let wanted = {
                let places = self.places.lock();
                places.wants_more() && places.count() < self.settings.max
            };
            if wanted {
                self.add_worker();
            }
        }
    }

    /// As [`Self::stop`], for a release that is no longer wanted while the gateway goes on.
    pub async fn retire(&self, drain: Duration) {
        self.retired.store(true, Ordering::Relaxed);
        self.stop(drain).await;
    }

    /// Takes no more calls, lets those in flight end within `drain`, and returns when no process is left.
    pub async fn stop(&self, drain: Duration) {
        {
            let mut places = self.places.lock();
            places.stopping = Some(Instant::now() + drain);
            for waiter in std::mem::take(&mut places.waiting) {
                let _gone = waiter.send(Err(CallError::Stopping));
            }
        }
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Ends every worker at once, whatever it does; for a pool that is being stopped.
    pub fn kill(&self) {
        self.kill.cancel();
    }

    /// Waits until workers are to be ended at once.
    pub(super) async fn killed(&self) {
        self.kill.cancelled().await;
    }

    /// What the pool is doing.
    pub fn snapshot(&self) -> Snapshot {
        let mut places = self.places.lock();
        places.waiting.retain(|waiter| !waiter.is_closed());
        let (failure, crash_loop) = places.failure().unzip();
        Snapshot {
            ready: places.ready().len(),
            workers: places.count(),
            in_flight: places.in_flight(),
            waiting: places.waiting.len(),
            restarts: self.restarts.load(Ordering::Relaxed),
            failure,
            crash_loop: crash_loop.unwrap_or(false),
            odd_messages: places.ready().iter().map(|ready| ready.client.counters.odd()).sum(),
        }
    }
}
