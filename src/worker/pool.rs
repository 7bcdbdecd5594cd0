//! The workers of one deployment and the calls that wait for one: the least busy worker takes a call, a bounded queue
//! holds the rest. Each worker's life is left to its `supervisor`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::DeploymentConfig;
use crate::deployment::{DeploymentName, Exports};
use crate::invocation::{Arguments, FunctionError, Returned};
use crate::ipc::{CallFailure, Client, SendError};
use crate::runtime::Plan;
use crate::worker::logs::LogBook;
use crate::worker::process::Spawner;
use crate::worker::supervisor::Supervisor;

/// How long a call waits for a worker that is being started.
const START_WAIT: Duration = Duration::from_secs(5);
/// What a caller is told to wait when the queue is full.
const RETRY_SOON: Duration = Duration::from_secs(1);

/// Why a release did not load, or a worker is not there.
#[derive(Debug, Clone)]
pub struct LoadFailure {
    /// Which kind of failure.
    pub kind: LoadFailureKind,
    /// What happened, without the worker's own words.
    pub message: String,
    /// The last of what the worker wrote to standard error.
    pub stderr: String,
}

/// The kinds of [`LoadFailure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadFailureKind {
    /// The program could not be run.
    Spawn,
    /// It ended or broke the protocol before it was ready.
    Load,
    /// It was not ready in time.
    Timeout,
    /// It was ready and ended.
    Died,
}

/// Why a call was not answered with a result.
#[derive(Debug, Clone)]
pub enum CallError {
    /// The deployment has no such function.
    FunctionNotFound,
    /// The function raised an error.
    Function(Box<FunctionError>),
    /// The worker ended during the call; how.
    Crashed(Arc<str>),
    /// The worker broke the protocol during the call; how.
    Protocol(Arc<str>),
    /// No answer in time.
    TimedOut(Duration),
    /// Too many calls wait already.
    Overloaded(Duration),
    /// No worker is ready yet.
    Starting,
    /// Workers end right after their start, again and again.
    CrashLoop(Duration),
    /// The worker's program cannot be run; why.
    SpawnFailed(Duration, String),
    /// The deployment or the gateway is being stopped.
    Stopping,
}

/// Limits and settings of a pool, from the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The deployment.
    pub name: DeploymentName,
    /// Workers that are always there.
    pub min: u32,
    /// Workers at most.
    pub max: u32,
    /// Calls in flight per worker.
    pub concurrency: u32,
    /// Calls that wait beyond that.
    pub queue: usize,
    /// Deadline of a call.
    pub timeout: Duration,
    /// Deadline of a load.
    pub load_timeout: Duration,
    /// Memory of each worker in bytes.
    pub max_memory: Option<u64>,
    /// Longest line from a worker in bytes.
    pub max_message: usize,
}

impl Settings {
    /// The part of a deployment's configuration that its pool needs.
    #[must_use]
    pub fn from_config(config: &DeploymentConfig) -> Self {
        let bytes = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
        Self {
            name: config.name.clone(),
            min: config.workers.min,
            max: config.workers.max,
            concurrency: config.concurrency,
            queue: config.queue as usize,
            timeout: config.timeout.get(),
            load_timeout: config.load_timeout.get(),
            max_memory: config.max_memory.map(|size| size.bytes()),
            max_message: bytes(config.max_message.bytes()),
        }
    }
}

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
    exports: ArcSwapOption<Exports>,
    state: Mutex<State>,
    changed: Notify,
    grow: Notify,
    stop: CancellationToken,
    tasks: TaskTracker,
    restarts: AtomicU64,
}

struct State {
    ready: Vec<Ready>,
    waiting: VecDeque<oneshot::Sender<Grant>>,
    /// Every place of a worker and what is with it.
    places: BTreeMap<u64, Place>,
    next_place: u64,
    stopping: bool,
    drain_until: Option<Instant>,
}

struct Ready {
    place: u64,
    client: Arc<Client<Lease>>,
    in_flight: u32,
    idle_since: Instant,
}

/// What is with a worker's place while it is not ready.
#[derive(Debug, Clone)]
pub enum Place {
    /// A worker is starting.
    Starting,
    /// A worker answers.
    Ready,
    /// The last one failed; the next start comes then.
    Failed {
        /// Why.
        failure: Arc<LoadFailure>,
        /// When the next try is.
        next_try: Instant,
        /// Starts go wrong again and again.
        crash_loop: bool,
    },
}

type Grant = Result<(Arc<Client<Lease>>, Lease), CallError>;

/// The right to have one call in flight on a worker; given back when dropped.
pub struct Lease {
    /// Where it goes back to; nobody when it was never used.
    pool: Option<Arc<Pool>>,
    place: u64,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(pool) = &self.pool {
            pool.release(self.place);
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
    pub fn start(settings: Settings, plan: Plan, logs: Arc<LogBook>, spawner: Arc<Spawner>) -> Arc<Self> {
        let pool = Arc::new(Self {
            settings,
            plan,
            logs,
            spawner,
            exports: ArcSwapOption::empty(),
            state: Mutex::new(State {
                ready: Vec::new(),
                waiting: VecDeque::new(),
                places: BTreeMap::new(),
                next_place: 0,
                stopping: false,
                drain_until: None,
            }),
            changed: Notify::new(),
            grow: Notify::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            restarts: AtomicU64::new(0),
        });
        for _ in 0..pool.settings.min {
            pool.add_place();
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

    /// Calls a function and waits for its answer, within the deployment's deadline.
    pub async fn call(self: &Arc<Self>, function: &str, arguments: &Arguments) -> Result<Returned, CallError> {
        let deadline = Instant::now() + self.settings.timeout;
        let exports = match self.exports.load_full() {
            Some(exports) => exports,
            None => self.loaded(deadline).await?,
        };
        let function = exports.functions.get(function).ok_or(CallError::FunctionNotFound)?;
        loop {
            let (client, lease) = self.acquire(deadline).await?;
            let place = lease.place;
            match client.call(&function.quoted, arguments.as_json(), deadline, lease) {
                Ok(reply) => match reply.await {
                    Ok(Ok(returned)) => return Ok(returned),
                    Ok(Err(CallFailure::Unsent)) => {}
                    Ok(Err(failure)) => return Err(self.call_error(failure)),
                    Err(_) => return Err(CallError::Crashed("was given up".into())),
                },
                Err(SendError::Closed) => self.remove_ready(place),
                Err(SendError::Full) => return Err(CallError::Overloaded(RETRY_SOON)),
            }
        }
    }

    fn call_error(&self, failure: CallFailure) -> CallError {
        match failure {
            CallFailure::Function(error) => CallError::Function(error),
            CallFailure::Crashed(how) => CallError::Crashed(how),
            CallFailure::Protocol(how) => CallError::Protocol(how),
            CallFailure::TimedOut => CallError::TimedOut(self.settings.timeout),
            CallFailure::Stopped | CallFailure::Unsent => CallError::Stopping,
        }
    }

    /// Waits until a release has loaded at least once.
    async fn loaded(&self, deadline: Instant) -> Result<Arc<Exports>, CallError> {
        let until = deadline.min(Instant::now() + START_WAIT);
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(exports) = self.exports.load_full() {
                return Ok(exports);
            }
            if let Some(error) = self.state.lock().unavailable() {
                return Err(error);
            }
            if tokio::time::timeout_at(until.into(), changed).await.is_err() {
                return Err(CallError::Starting);
            }
        }
    }

    async fn acquire(self: &Arc<Self>, deadline: Instant) -> Grant {
        let (grant, any_ready) = {
            let mut state = self.state.lock();
            if state.stopping {
                return Err(CallError::Stopping);
            }
            if state.waiting.is_empty()
                && let Some(ready) = state.least_busy(self.settings.concurrency)
            {
                return Ok(self.lease(ready));
            }
            if let Some(error) = state.unavailable() {
                return Err(error);
            }
            state.waiting.retain(|waiter| !waiter.is_closed());
            if state.waiting.len() >= self.settings.queue {
                return Err(CallError::Overloaded(RETRY_SOON));
            }
            let (waiter, grant) = oneshot::channel();
            state.waiting.push_back(waiter);
            (grant, !state.ready.is_empty())
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

    fn lease(self: &Arc<Self>, ready: &mut Ready) -> (Arc<Client<Lease>>, Lease) {
        ready.in_flight += 1;
        (Arc::clone(&ready.client), Lease { pool: Some(Arc::clone(self)), place: ready.place })
    }

    fn release(self: &Arc<Self>, place: u64) {
        let mut state = self.state.lock();
        if let Some(ready) = state.ready.iter_mut().find(|ready| ready.place == place) {
            ready.in_flight -= 1;
            if ready.in_flight == 0 {
                ready.idle_since = Instant::now();
            }
        }
        if !state.waiting.is_empty() {
            self.serve_waiting(&mut state);
        }
    }

    /// Hands free workers to the calls that have waited longest.
    fn serve_waiting(self: &Arc<Self>, state: &mut State) {
        while !state.waiting.is_empty() {
            let Some(ready) = state.least_busy(self.settings.concurrency) else { break };
            let grant = self.lease(ready);
            let place = grant.1.place;
            let Some(waiter) = state.waiting.pop_front() else { break };
            if let Err(Ok((_, mut lease))) = waiter.send(Ok(grant)) {
                // The caller is gone. Its lease must not come back by itself: the state is locked here.
                lease.pool = None;
                if let Some(ready) = state.ready.iter_mut().find(|ready| ready.place == place) {
                    ready.in_flight -= 1;
                }
            }
        }
    }

    /// A worker has loaded and takes calls.
    pub(super) fn worker_ready(self: &Arc<Self>, place: u64, client: Arc<Client<Lease>>, exports: Exports) {
        self.exports.store(Some(Arc::new(exports)));
        let mut state = self.state.lock();
        state.places.insert(place, Place::Ready);
        state.ready.push(Ready { place, client, in_flight: 0, idle_since: Instant::now() });
        self.serve_waiting(&mut state);
        drop(state);
        self.changed.notify_waiters();
    }

    /// A worker takes no more calls.
    pub(super) fn remove_ready(&self, place: u64) {
        let mut state = self.state.lock();
        state.ready.retain(|ready| ready.place != place);
        if let Some(state) = state.places.get_mut(&place) {
            *state = Place::Starting;
        }
    }

    /// What is with a place now; calls that wait learn of it when nothing is left to wait for.
    pub(super) fn set_place(&self, place: u64, what: Place) {
        let mut state = self.state.lock();
        state.ready.retain(|ready| ready.place != place);
        state.places.insert(place, what);
        if let Some(error) = state.unavailable() {
            for waiter in std::mem::take(&mut state.waiting) {
                let _gone = waiter.send(Err(error.clone()));
            }
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// A worker's place is given up.
    pub(super) fn remove_place(&self, place: u64) {
        let mut state = self.state.lock();
        state.ready.retain(|ready| ready.place != place);
        state.places.remove(&place);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Gives a place up if the pool has more than it needs and this one has been idle for so long.
    pub(super) fn give_up_idle(&self, place: u64, idle: Duration) -> bool {
        let mut state = self.state.lock();
        let spare = state.places.len() > self.settings.min as usize;
        let is_idle = state
            .ready
            .iter()
            .any(|ready| ready.place == place && ready.in_flight == 0 && ready.idle_since.elapsed() >= idle);
        if spare && is_idle {
            state.ready.retain(|ready| ready.place != place);
            state.places.remove(&place);
        }
        spare && is_idle
    }

    pub(super) fn count_restart(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }

    /// Until when calls on a worker that is being stopped may go on.
    pub(super) fn drain_until(&self) -> Instant {
        self.state.lock().drain_until.unwrap_or_else(|| Instant::now() + self.settings.timeout)
    }

    pub(super) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    fn add_place(self: &Arc<Self>) {
        let place = {
            let mut state = self.state.lock();
            let place = state.next_place;
            state.next_place += 1;
            state.places.insert(place, Place::Starting);
            place
        };
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
                let state = self.state.lock();
                let starting = state.places.values().any(|place| !matches!(place, Place::Ready));
                !state.waiting.is_empty() && !starting && state.places.len() < self.settings.max as usize
            };
            if wanted {
                self.add_place();
            }
        }
    }

    /// Takes no more calls, lets those in flight end within `drain`, and returns when no process is left.
    pub async fn stop(&self, drain: Duration) {
        {
            let mut state = self.state.lock();
            state.stopping = true;
            state.drain_until = Some(Instant::now() + drain);
            for waiter in std::mem::take(&mut state.waiting) {
                let _gone = waiter.send(Err(CallError::Stopping));
            }
        }
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Waits until the release has loaded, or its first try has failed.
    pub async fn first_outcome(&self) -> Result<Arc<Exports>, Arc<LoadFailure>> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(exports) = self.exports.load_full() {
                return Ok(exports);
            }
            let failure = self.snapshot().failure;
            if let Some(failure) = failure {
                return Err(failure);
            }
            changed.await;
        }
    }

    /// What the pool is doing.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.state.lock();
        let mut failure = None;
        let mut crash_loop = false;
        if state.ready.is_empty() {
            for place in state.places.values() {
                if let Place::Failed { failure: why, crash_loop: looping, .. } = place {
                    failure = Some(Arc::clone(why));
                    crash_loop |= *looping;
                }
            }
        }
        Snapshot {
            ready: state.ready.len(),
            workers: state.places.len(),
            in_flight: state.ready.iter().map(|ready| ready.in_flight as usize).sum(),
            waiting: state.waiting.len(),
            restarts: self.restarts.load(Ordering::Relaxed),
            failure,
            crash_loop,
            odd_messages: state.ready.iter().map(|ready| ready.client.counters.odd()).sum(),
        }
    }
}

impl State {
    fn least_busy(&mut self, concurrency: u32) -> Option<&mut Ready> {
        self.ready.iter_mut().filter(|ready| ready.in_flight < concurrency).min_by_key(|ready| ready.in_flight)
    }

    /// Why waiting makes no sense: no worker answers, none is starting, and the next start is not at once.
    fn unavailable(&self) -> Option<CallError> {
        if self.stopping {
            return Some(CallError::Stopping);
        }
        if !self.ready.is_empty() {
            return None;
        }
        let mut soonest: Option<CallError> = None;
        for place in self.places.values() {
            let Place::Failed { failure, next_try, crash_loop } = place else { return None };
            let wait = next_try.saturating_duration_since(Instant::now()).max(RETRY_SOON);
            if failure.kind == LoadFailureKind::Spawn {
                soonest = Some(CallError::SpawnFailed(wait, failure.message.clone()));
            } else if *crash_loop {
                soonest = Some(CallError::CrashLoop(wait));
            } else {
                return None;
            }
        }
        soonest
    }
}
