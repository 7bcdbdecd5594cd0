//! Dispatch of the calls of one release: each call takes a lease on the least busy worker, or waits in a bounded queue
//! for one. Which seats there are is left to `pool`; the state of each seat is set by its owner, through `seat`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::clock;
use crate::deployment::Exports;
use crate::invocation::uploads::Uploaded;
use crate::ipc::Client;
#[cfg(test)]
use crate::planted::{self, Fault};
use crate::worker::failure::{CallError, LoadFailure};
use crate::worker::open_streams::OpenStreams;
use crate::worker::patience::Patience;
use crate::worker::seats::{self, RETRY_SOON, SeatState, Seats};
use crate::worker::settings::Settings;

/// How long a call waits for a worker that is starting.
const START_WAIT: Duration = Duration::from_secs(5);

/// The client of a worker's channel. A call in flight keeps its lease in it.
pub type WorkerClient = Arc<Client<Lease>>;
/// A worker with the right to one call on it.
type Leased = (WorkerClient, Lease);

/// The table of seats, the queue of calls, and what the release exports.
pub struct Dispatch {
    queue: usize,
    timeout: Duration,
    /// Locked for a few lines, never across an await. A lease must not be dropped while it is locked: see [`Lease`].
    seats: Mutex<Seats<WorkerClient, Leased>>,
    exports: ArcSwapOption<Exports>,
    /// The streams that hold workers.
    pub streams: Arc<OpenStreams>,
    /// A seat changed its state: calls that wait for the first load look again.
    changed: Notify,
    /// A call waits: the pool may grow. One permit is enough, because growing looks at the whole queue.
    grow: Notify,
}

/// The right to have one call in flight on a worker. Dropping it gives it back, which locks the seats.
pub struct Lease {
    /// Empty once the lease has been given back.
    dispatch: Option<Arc<Dispatch>>,
    run: u64,
    /// What its worker may read until it has answered.
    uploads: Option<Arc<[Uploaded]>>,
}

impl Lease {
    /// Keeps files on the disk as long as the call.
    pub(super) fn keep(&mut self, uploads: Option<&Arc<[Uploaded]>>) {
        self.uploads = uploads.cloned();
    }

    /// The number of its worker.
    pub(super) fn run(&self) -> u64 {
        self.run
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(dispatch) = &self.dispatch {
            dispatch.give_back(self.run);
        }
    }
}

/// Counts of the seats and calls at one moment.
#[derive(Debug, Clone)]
pub struct SeatCounts {
    /// Workers that take calls.
    pub ready: usize,
    /// Seats, in any state.
    pub seats: usize,
    /// Calls in flight.
    pub in_flight: usize,
    /// Calls in the queue.
    pub waiting: usize,
    /// Why no worker is ready, if none is and one has failed; and whether starts fail repeatedly.
    pub failure: Option<(Arc<LoadFailure>, bool)>,
    /// Messages of ready workers that fit no call: late answers, unknown ids and types.
    pub odd_messages: u64,
}

impl Dispatch {
    /// A dispatch without seats, with the limits of `settings`.
    #[must_use]
    pub fn new(settings: &Settings) -> Arc<Self> {
        Arc::new(Self {
            queue: settings.queue,
            timeout: settings.timeout,
            seats: Mutex::new(Seats::new(settings.concurrency)),
            exports: ArcSwapOption::empty(),
            streams: Arc::default(),
            changed: Notify::new(),
            grow: Notify::new(),
        })
    }

    /// What the release exports; none before the first load.
    pub fn exports(&self) -> arc_swap::Guard<Option<Arc<Exports>>> {
        self.exports.load()
    }

    /// Takes a lease on the least busy worker, and waits for one in the queue if all are busy. The wait is added to
    /// `waited`.
    ///
    /// # Errors
    ///
    /// [`CallError::Overloaded`] when the queue is full, [`CallError::HeldByStreams`], [`CallError::TimedOut`] or
    /// [`CallError::Starting`] when no worker took the call in time, and the reason why no worker can be expected.
    pub async fn acquire(
        self: &Arc<Self>,
        patience: Patience<'_>,
        waited: &mut Duration,
    ) -> seats::Acquisition<Leased> {
        let Patience { deadline, .. } = patience;
        let (acquisition, any_ready) = {
            let mut seats = self.seats.lock();
            if seats.waiting.is_empty()
                && seats.stopping.is_none()
                && let Some(ready) = seats.take_worker()
            {
                return Ok((Arc::clone(&ready.client), self.lease(ready.run)));
            }
            if let Some(error) = seats.unavailable() {
                return Err(error);
            }
            // Callers that left do not count against the limit of the queue.
            seats.waiting.retain(|waiter| !waiter.is_closed());
            if seats.waiting.len() >= self.queue {
                return Err(CallError::Overloaded(RETRY_SOON));
            }
            let (waiter, acquisition) = oneshot::channel();
            seats.waiting.push_back(waiter);
            (acquisition, !seats.ready().is_empty())
        };
        self.grow.notify_one();
        let begun = clock::now();
        let start_limit = begun + START_WAIT;
        let until = if any_ready { deadline } else { deadline.min(start_limit) };
        let acquired = match patience.caller_left {
            None => tokio::time::timeout_at(until.into(), acquisition).await,
            // Boxed: its state would enlarge the future of every call.
            Some(_) => tokio::select! {
                acquired = Box::pin(tokio::time::timeout_at(until.into(), acquisition)) => acquired,
                () = Box::pin(patience.caller_leaves()) => return Err(CallError::CallerLeft),
            },
        };
        *waited += clock::since(begun);
        match acquired {
            Ok(Ok(acquired)) => acquired,
            Ok(Err(_)) => Err(CallError::Stopping),
            Err(_) if any_ready || deadline <= start_limit => Err(self.waited_in_vain()),
            Err(_) => Err(CallError::Starting),
        }
    }

    /// Why no worker took a call within its time.
    fn waited_in_vain(&self) -> CallError {
        match self.streams.oldest() {
            Some((function, others)) => CallError::HeldByStreams { waited: self.timeout, function, others },
            None => CallError::TimedOut(self.timeout),
        }
    }

    /// Why a call would be refused at this moment instead of getting a worker or a place in the queue.
    #[must_use]
    pub fn refusal(&self) -> Option<CallError> {
        let mut seats = self.seats.lock();
        if let Some(error) = seats.unavailable() {
            return Some(error);
        }
        seats.waiting.retain(|waiter| !waiter.is_closed());
        let is_full = !seats.has_free_worker() && seats.waiting.len() >= self.queue;
        is_full.then_some(CallError::Overloaded(RETRY_SOON))
    }

    /// Waits until the release has loaded once.
    ///
    /// # Errors
    ///
    /// The reason why no worker can be expected, or [`CallError::Starting`] after the deadline or five seconds.
    pub async fn wait_for_load(&self, deadline: Instant) -> Result<(), CallError> {
        let until = deadline.min(clock::now() + START_WAIT);
        loop {
            // Registered before the state is read: a change in between must not be missed.
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

    /// As [`Seats::unavailable`], for a release that has never loaded: callers get the reason instead of a crash loop.
    #[must_use]
    pub fn unavailable_before_load(&self) -> Option<CallError> {
        let seats = self.seats.lock();
        match (seats.unavailable()?, seats.failure()) {
            (CallError::CrashLoop(wait), Some((failure, _))) => Some(CallError::NotLoaded(wait, failure)),
            (error, _) => Some(error),
        }
    }

    /// Waits until the release has loaded, or has failed to load for the first time.
    pub async fn first_load(&self) -> Result<Arc<Exports>, Arc<LoadFailure>> {
        loop {
            // As above: registered before the state is read.
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(exports) = self.exports.load_full() {
                return Ok(exports);
            }
            if let Some((failure, _)) = self.seats.lock().failure() {
                return Err(failure);
            }
            changed.await;
        }
    }

    /// A call found that a worker takes no more calls.
    pub fn lose_worker(&self, run: u64) {
        self.seats.lock().lose_worker(run);
    }

    /// Waits until a call has waited since the last time.
    pub async fn growth_wanted(&self) {
        self.grow.notified().await;
    }

    /// Whether one more worker would help, with fewer than `max` seats.
    #[must_use]
    pub fn needs_more(&self, max: usize) -> bool {
        let mut seats = self.seats.lock();
        seats.waiting.retain(|waiter| !waiter.is_closed());
        seats.needs_more() && seats.count() < max
    }

    /// Accepts no more calls; those in flight may go on until `deadline`. Calls in the queue fail.
    pub fn begin_stop(&self, deadline: Instant) {
        let mut seats = self.seats.lock();
        seats.stopping = Some(deadline);
        for waiter in std::mem::take(&mut seats.waiting) {
            let _caller_left = waiter.send(Err(CallError::Stopping));
        }
    }

    /// The deadline of the calls in flight on a worker that stops now.
    #[must_use]
    pub fn drain_deadline(&self) -> Instant {
        self.seats.lock().stopping.unwrap_or_else(|| clock::now() + self.timeout)
    }

    /// Counts of the seats and calls.
    #[must_use]
    pub fn counts(&self) -> SeatCounts {
        let mut seats = self.seats.lock();
        seats.waiting.retain(|waiter| !waiter.is_closed());
        SeatCounts {
            ready: seats.ready().len(),
            seats: seats.count(),
            in_flight: seats.in_flight(),
            waiting: seats.waiting.len(),
            failure: seats.failure(),
            odd_messages: seats.ready().iter().map(|ready| ready.client.counters.odd()).sum(),
        }
    }

    /// Adds a seat and returns its number; none if there are `max` seats.
    pub(super) fn add_seat(&self, max: usize) -> Option<u64> {
        self.seats.lock().add_below(max)
    }

    /// The worker of a seat has loaded and takes calls.
    pub(super) fn set_ready(self: &Arc<Self>, seat: u64, client: WorkerClient, exports: Exports) {
        self.exports.store(Some(Arc::new(exports)));
        let mut seats = self.seats.lock();
        seats.set_ready(seat, client);
        self.serve_waiting(&mut seats);
        drop(seats);
        // Calls that came while it was starting may need another worker.
        self.grow.notify_one();
        self.changed.notify_waiters();
    }

    /// The worker of a seat takes no more calls. Calls in the queue fail if no worker can be expected any more.
    pub(super) fn set_not_ready(&self, seat: u64, state: SeatState) {
        let mut seats = self.seats.lock();
        seats.set_not_ready(seat, state);
        if let Some(error) = seats.unavailable() {
            for waiter in std::mem::take(&mut seats.waiting) {
                let _caller_left = waiter.send(Err(error.clone()));
            }
        }
        drop(seats);
        self.changed.notify_waiters();
    }

    /// Removes a seat.
    pub(super) fn remove_seat(&self, seat: u64) {
        self.seats.lock().remove(seat);
        self.changed.notify_waiters();
    }

    /// Removes a seat whose worker has been idle for this long, if more than `min` workers are ready. Returns whether
    /// it did.
    pub(super) fn remove_idle_seat(&self, seat: u64, idle: Duration, min: usize) -> bool {
        let mut seats = self.seats.lock();
        #[cfg(test)]
        let min = if planted::is(Fault::ShrinkingPool) { 0 } else { min };
        let removes = seats.ready().len() > min && seats.is_idle(seat, idle);
        if removes {
            seats.remove(seat);
        }
        removes
    }

    fn lease(self: &Arc<Self>, run: u64) -> Lease {
        Lease { dispatch: Some(Arc::clone(self)), run, uploads: None }
    }

    fn give_back(self: &Arc<Self>, run: u64) {
        let mut seats = self.seats.lock();
        seats.give_back(run);
        #[cfg(test)]
        if planted::is(Fault::LostWakeUp) {
            return;
        }
        if !seats.waiting.is_empty() {
            self.serve_waiting(&mut seats);
        }
    }

    /// Gives free workers to the calls that have waited longest.
    fn serve_waiting(self: &Arc<Self>, seats: &mut Seats<WorkerClient, Leased>) {
        while !seats.waiting.is_empty() {
            let Some(ready) = seats.take_worker() else { break };
            let (run, leased) = (ready.run, (Arc::clone(&ready.client), self.lease(ready.run)));
            let Some(waiter) = seats.waiting.pop_front() else { break };
            if let Err(Ok((_, mut lease))) = waiter.send(Ok(leased)) {
                // The caller left. Dropping the lease would lock the seats, which are locked here.
                lease.dispatch = None;
                seats.give_back(run);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tokio::net::UnixStream;

    use super::*;
    use crate::config::DeploymentConfig;
    use crate::deployment::Accepts;
    use crate::ipc::Limits;

    fn dispatch(min: u32, max: u32) -> Arc<Dispatch> {
        let text = format!("name = 'math'\npath = 'math'\nworkers = {{ min = {min}, max = {max} }}");
        let config: DeploymentConfig = toml::from_str(&text).unwrap();
        Dispatch::new(&Settings::from_config(&config))
    }

    fn until(deadline: Instant) -> Patience<'static> {
        Patience { deadline, caller_left: None }
    }

    fn exports() -> Exports {
        let packages = serde_json::Value::Null;
        Exports {
            functions: HashMap::new(),
            aliases: HashMap::new(),
            accepts: Accepts::default(),
            packages,
            warnings: Vec::new(),
        }
    }

    fn add_ready_seat(dispatch: &Arc<Dispatch>) -> u64 {
        let seat = dispatch.add_seat(4).unwrap();
        let limits = Limits { max_line: 1024, stream_idle: Duration::from_secs(60) };
        let (client, _inbox) = Client::new(UnixStream::pair().unwrap().0, limits);
        dispatch.set_ready(seat, client, exports());
        seat
    }

    #[tokio::test]
    async fn idle_workers_that_are_slow_to_end_leave_the_minimum_behind() {
        let dispatch = dispatch(1, 4);
        let seats: Vec<u64> = (0..4).map(|_| add_ready_seat(&dispatch)).collect();
        let mut left = 0;
        for seat in seats {
            if dispatch.remove_idle_seat(seat, Duration::ZERO, 1) {
                left += 1;
                // The supervisor reports that the worker takes no more calls; its process still runs.
                dispatch.set_not_ready(seat, SeatState::Starting);
            }
        }
        let counts = dispatch.counts();
        assert_eq!((left, counts.ready, counts.seats), (3, 1, 1));
    }

    #[tokio::test]
    async fn the_last_ready_worker_stays_however_many_others_fail() {
        let dispatch = dispatch(1, 2);
        let seat = add_ready_seat(&dispatch);
        let _starting = dispatch.add_seat(2).unwrap();
        assert!(!dispatch.remove_idle_seat(seat, Duration::ZERO, 1));
        assert!(dispatch.add_seat(2).is_none(), "the pool has its maximum");
    }

    #[tokio::test]
    async fn a_pool_grows_while_idle_workers_end() {
        let dispatch = dispatch(1, 4);
        let seats = [add_ready_seat(&dispatch), add_ready_seat(&dispatch)];
        assert!(dispatch.remove_idle_seat(seats[1], Duration::ZERO, 1));
        dispatch.set_not_ready(seats[1], SeatState::Starting);
        let concurrency = 64;
        let soon = Instant::now() + Duration::from_secs(60);
        let mut leases = Vec::new();
        for _ in 0..concurrency {
            leases.push(dispatch.acquire(until(soon), &mut Duration::default()).await.unwrap());
        }
        let waiting = Arc::clone(&dispatch);
        let waiting = tokio::spawn(async move { waiting.acquire(until(soon), &mut Duration::default()).await.is_ok() });
        while !dispatch.needs_more(4) {
            dispatch.growth_wanted().await;
        }
        leases.pop();
        assert!(waiting.await.unwrap());
    }
}
