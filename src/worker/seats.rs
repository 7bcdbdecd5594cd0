//! The seats of a pool as a plain table: which workers are ready and how busy they are, which failed and when they
//! start again, which calls wait. `dispatch` holds the lock around it, for a few lines at a time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::clock;
use crate::worker::failure::{CallError, LoadFailure, LoadFailureKind};

/// The shortest `Retry-After` that a caller gets.
pub const RETRY_SOON: Duration = Duration::from_secs(1);

/// The state of a seat.
#[derive(Debug, Clone)]
pub enum SeatState {
    /// A worker is starting.
    Starting,
    /// Its worker takes calls.
    Ready,
    /// The last worker failed, and the next one starts later.
    Failed {
        /// Why it failed.
        failure: Arc<LoadFailure>,
        /// When the next one starts.
        next_try: Instant,
        /// Starts fail repeatedly.
        crash_loop: bool,
    },
}

/// A worker that takes calls. `C` is the client of its channel.
#[derive(Debug)]
pub struct Ready<C> {
    /// Its seat.
    pub seat: u64,
    /// The number of this worker. The next worker in the same seat has another: a lease of the old one must not count
    /// for it.
    pub run: u64,
    /// The client of its channel.
    pub client: C,
    in_flight: u32,
    idle_since: Instant,
}

/// The answer to a call that waits: a leased worker, or the reason why there is none.
pub type Acquisition<L> = Result<L, CallError>;

/// The table. `C` is the client of a worker's channel, `L` a leased worker.
#[derive(Debug)]
pub struct Seats<C, L> {
    concurrency: u32,
    ready: Vec<Ready<C>>,
    states: BTreeMap<u64, SeatState>,
    next_seat: u64,
    next_run: u64,
    /// Calls that wait for a worker, the longest first.
    pub waiting: VecDeque<oneshot::Sender<Acquisition<L>>>,
    /// The deadline of the calls in flight, once the pool stops.
    pub stopping: Option<Instant>,
}

impl<C, L> Seats<C, L> {
    /// A table without seats; each worker will take `concurrency` calls at once.
    #[must_use]
    pub fn new(concurrency: u32) -> Self {
        Self {
            concurrency,
            ready: Vec::new(),
            states: BTreeMap::new(),
            next_seat: 0,
            next_run: 0,
            waiting: VecDeque::new(),
            stopping: None,
        }
    }

    /// Adds a seat in which a worker is starting, and returns its number; none if there are `max` seats.
    pub fn add_below(&mut self, max: usize) -> Option<u64> {
        (self.count() < max).then(|| self.add())
    }

    /// Adds a seat in which a worker is starting, and returns its number.
    fn add(&mut self) -> u64 {
        let seat = self.next_seat;
        self.next_seat += 1;
        self.states.insert(seat, SeatState::Starting);
        seat
    }

    /// The worker of a seat takes calls from now on. A seat that was removed stays removed.
    pub fn set_ready(&mut self, seat: u64, client: C) {
        let Some(state) = self.states.get_mut(&seat) else { return };
        *state = SeatState::Ready;
        self.ready.push(Ready { seat, run: self.next_run, client, in_flight: 0, idle_since: clock::now() });
        self.next_run += 1;
    }

    /// A call found that a worker takes no more calls, before its supervisor did.
    pub fn lose_worker(&mut self, run: u64) {
        if let Some(at) = self.ready.iter().position(|ready| ready.run == run) {
            let seat = self.ready.swap_remove(at).seat;
            self.set_not_ready(seat, SeatState::Starting);
        }
    }

    /// The worker of a seat takes no more calls; `state` is the seat's new one. A seat that was removed stays removed.
    pub fn set_not_ready(&mut self, seat: u64, state: SeatState) {
        self.ready.retain(|ready| ready.seat != seat);
        // Not `insert`: a seat that was given up while idle must not come back when its worker has ended.
        if let Some(current) = self.states.get_mut(&seat) {
            *current = state;
        }
    }

    /// Removes a seat.
    pub fn remove(&mut self, seat: u64) {
        self.ready.retain(|ready| ready.seat != seat);
        self.states.remove(&seat);
    }

    /// Takes the least busy worker that can take one more call, and counts the call.
    pub fn take_worker(&mut self) -> Option<&Ready<C>> {
        let concurrency = self.concurrency;
        let free = self.ready.iter_mut().filter(|ready| ready.in_flight < concurrency);
        let ready = free.min_by_key(|ready| ready.in_flight)?;
        ready.in_flight += 1;
        Some(ready)
    }

    /// Whether a worker can take one more call.
    #[must_use]
    pub fn has_free_worker(&self) -> bool {
        self.ready.iter().any(|ready| ready.in_flight < self.concurrency)
    }

    /// A call of a worker is over. Nothing changes if the worker was replaced: its last calls occupy no seat.
    pub fn give_back(&mut self, run: u64) {
        if let Some(ready) = self.ready.iter_mut().find(|ready| ready.run == run) {
            ready.in_flight -= 1;
            if ready.in_flight == 0 {
                ready.idle_since = clock::now();
            }
        }
    }

    /// Whether the worker of a seat has had no call for this long.
    #[must_use]
    pub fn is_idle(&self, seat: u64, idle: Duration) -> bool {
        let is_idle = |ready: &Ready<C>| ready.in_flight == 0 && clock::since(ready.idle_since) >= idle;
        self.ready.iter().any(|ready| ready.seat == seat && is_idle(ready))
    }

    /// The number of seats, in any state.
    #[must_use]
    pub fn count(&self) -> usize {
        self.states.len()
    }

    /// The workers that take calls.
    #[must_use]
    pub fn ready(&self) -> &[Ready<C>] {
        &self.ready
    }

    /// Calls in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.ready.iter().map(|ready| ready.in_flight as usize).sum()
    }

    /// Whether one more worker would help: calls wait and no worker is starting.
    #[must_use]
    pub fn needs_more(&self) -> bool {
        !self.waiting.is_empty() && self.states.values().all(|state| matches!(state, SeatState::Ready))
    }

    /// Why no worker is ready, and whether starts fail repeatedly.
    #[must_use]
    pub fn failure(&self) -> Option<(Arc<LoadFailure>, bool)> {
        if !self.ready.is_empty() {
            return None;
        }
        let failed = self.states.values().filter_map(|state| match state {
            SeatState::Failed { failure, crash_loop, .. } => Some((Arc::clone(failure), *crash_loop)),
            SeatState::Starting | SeatState::Ready => None,
        });
        failed.max_by_key(|(_, crash_loop)| *crash_loop)
    }

    /// Why a call should not wait: no worker is ready or starting, and the next start is not immediate.
    #[must_use]
    pub fn unavailable(&self) -> Option<CallError> {
        if self.stopping.is_some() {
            return Some(CallError::Stopping);
        }
        if !self.ready.is_empty() {
            return None;
        }
        let mut why = None;
        for state in self.states.values() {
            let SeatState::Failed { failure, next_try, crash_loop } = state else { return None };
            let wait = next_try.saturating_duration_since(clock::now()).max(RETRY_SOON);
            why = match (failure.kind, crash_loop) {
                (LoadFailureKind::Spawn, _) => Some(CallError::SpawnFailed(wait, failure.message.clone())),
                (_, true) => Some(CallError::CrashLoop(wait)),
                (_, false) => return None,
            };
        }
        why
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_ready() -> Seats<&'static str, ()> {
        let mut seats = Seats::new(2);
        for name in ["a", "b"] {
            let seat = seats.add();
            seats.set_ready(seat, name);
        }
        seats
    }

    fn failed(kind: LoadFailureKind, crash_loop: bool) -> SeatState {
        let failure = LoadFailure::new(kind, "it did not run".to_owned());
        SeatState::Failed { failure: Arc::new(failure), next_try: Instant::now(), crash_loop }
    }

    #[test]
    fn the_least_busy_worker_is_taken_until_all_are_full() {
        let mut seats = two_ready();
        let taken: Vec<_> = std::iter::from_fn(|| seats.take_worker().map(|ready| ready.client)).collect();
        assert_eq!(taken, ["a", "b", "a", "b"]);
        seats.give_back(1);
        assert_eq!(seats.take_worker().map(|ready| ready.client), Some("b"));
    }

    #[test]
    fn the_last_calls_of_a_replaced_worker_are_not_those_of_the_new_one() {
        let mut seats = Seats::<_, ()>::new(1);
        let seat = seats.add();
        seats.set_ready(seat, "old");
        let old = seats.take_worker().map(|ready| ready.run).unwrap();
        seats.set_not_ready(seat, SeatState::Starting);
        seats.set_ready(seat, "new");
        assert!(seats.take_worker().is_some());
        seats.give_back(old);
        seats.lose_worker(old);
        assert!(seats.take_worker().is_none());
        assert_eq!((seats.in_flight(), seats.ready().len()), (1, 1));
    }

    #[test]
    fn a_worker_that_has_left_is_not_taken() {
        let mut seats = two_ready();
        seats.set_not_ready(0, SeatState::Starting);
        assert_eq!(seats.take_worker().map(|ready| ready.client), Some("b"));
        seats.remove(1);
        assert!(seats.take_worker().is_none());
        assert_eq!(seats.count(), 1);
    }

    #[test]
    fn a_seat_that_was_removed_does_not_come_back() {
        let mut seats = two_ready();
        seats.remove(0);
        seats.set_not_ready(0, SeatState::Starting);
        seats.set_ready(0, "late");
        assert_eq!((seats.count(), seats.ready().len()), (1, 1));
    }

    #[test]
    fn a_call_waits_only_while_a_worker_may_become_ready() {
        let mut seats: Seats<(), ()> = Seats::new(1);
        let seat = seats.add();
        assert!(seats.unavailable().is_none());
        seats.set_not_ready(seat, failed(LoadFailureKind::Load, false));
        assert!(seats.unavailable().is_none());
        seats.set_not_ready(seat, failed(LoadFailureKind::Load, true));
        assert!(matches!(seats.unavailable(), Some(CallError::CrashLoop(_))));
        seats.set_not_ready(seat, failed(LoadFailureKind::Spawn, false));
        assert!(matches!(seats.unavailable(), Some(CallError::SpawnFailed(..))));
        seats.stopping = Some(Instant::now());
        assert!(matches!(seats.unavailable(), Some(CallError::Stopping)));
    }

    #[test]
    fn one_more_worker_is_needed_when_calls_wait_and_none_is_starting() {
        let mut seats = two_ready();
        assert!(!seats.needs_more());
        seats.waiting.push_back(oneshot::channel().0);
        assert!(seats.needs_more());
        seats.add();
        assert!(!seats.needs_more());
    }
}
