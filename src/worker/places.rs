//! The places of a pool's workers as a plain table: who is ready and how busy, who failed and when the next try is, which
//! calls wait. `pool` locks it for a few lines at a time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::worker::outcome::{CallError, LoadFailure, LoadFailureKind};

/// What a caller is told to wait at least.
pub const RETRY_SOON: Duration = Duration::from_secs(1);

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

/// A worker that answers. `C` is how to reach it.
#[derive(Debug)]
pub struct Ready<C> {
    /// Its place.
    pub place: u64,
    /// Its own number: the worker that takes its place later has another.
    pub run: u64,
    /// How to reach it.
    pub client: C,
    in_flight: u32,
    idle_since: Instant,
}

/// A waiting call gets a worker, or the reason why there is none.
pub type Grant<G> = Result<G, CallError>;

/// The table. `C` reaches a worker, `G` is what a waiting call is granted.
#[derive(Debug)]
pub struct Places<C, G> {
    concurrency: u32,
    ready: Vec<Ready<C>>,
    places: BTreeMap<u64, Place>,
    next_place: u64,
    next_run: u64,
    /// Calls that wait for a worker, the longest first.
    pub waiting: VecDeque<oneshot::Sender<Grant<G>>>,
    /// Until when calls may go on, once the pool is being stopped.
    pub stopping: Option<Instant>,
}

impl<C, G> Places<C, G> {
    /// No workers yet; each will take `concurrency` calls at once.
    #[must_use]
    pub fn new(concurrency: u32) -> Self {
        Self {
            concurrency,
            ready: Vec::new(),
            places: BTreeMap::new(),
            next_place: 0,
            next_run: 0,
            waiting: VecDeque::new(),
            stopping: None,
        }
    }

    /// A new place, in which a worker is starting.
    pub fn add(&mut self) -> u64 {
        let place = self.next_place;
        self.next_place += 1;
        self.places.insert(place, Place::Starting);
        place
    }

    /// A worker answers now.
    pub fn set_ready(&mut self, place: u64, client: C) {
        self.places.insert(place, Place::Ready);
        self.ready.push(Ready { place, run: self.next_run, client, in_flight: 0, idle_since: Instant::now() });
        self.next_run += 1;
    }

    /// A worker turned out to take no more calls, before its supervisor has said so.
    pub fn lose(&mut self, run: u64) {
        if let Some(at) = self.ready.iter().position(|ready| ready.run == run) {
            let place = self.ready.swap_remove(at).place;
            self.places.insert(place, Place::Starting);
        }
    }

    /// What is with a place now, its worker no longer being ready.
    pub fn set(&mut self, place: u64, what: Place) {
        self.ready.retain(|ready| ready.place != place);
        self.places.insert(place, what);
    }

    /// A place is given up.
    pub fn remove(&mut self, place: u64) {
        self.ready.retain(|ready| ready.place != place);
        self.places.remove(&place);
    }

    /// The least busy worker that can take one call more; it is counted as taken.
    pub fn take(&mut self) -> Option<&Ready<C>> {
        let concurrency = self.concurrency;
        let free = self.ready.iter_mut().filter(|ready| ready.in_flight < concurrency);
        let ready = free.min_by_key(|ready| ready.in_flight)?;
        ready.in_flight += 1;
        Some(ready)
    }

    /// A call of a worker is over. A worker that was replaced may still finish some: they are nobody's slots.
    pub fn give_back(&mut self, run: u64) {
        if let Some(ready) = self.ready.iter_mut().find(|ready| ready.run == run) {
            ready.in_flight -= 1;
            if ready.in_flight == 0 {
                ready.idle_since = Instant::now();
            }
        }
    }

    /// Whether a place's worker has had nothing to do for so long.
    #[must_use]
    pub fn is_idle(&self, place: u64, idle: Duration) -> bool {
        let is_idle = |ready: &Ready<C>| ready.in_flight == 0 && ready.idle_since.elapsed() >= idle;
        self.ready.iter().any(|ready| ready.place == place && is_idle(ready))
    }

    /// Places, whatever is with them.
    #[must_use]
    pub fn count(&self) -> usize {
        self.places.len()
    }

    /// The workers that answer.
    #[must_use]
    pub fn ready(&self) -> &[Ready<C>] {
        &self.ready
    }

    /// Calls in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.ready.iter().map(|ready| ready.in_flight as usize).sum()
    }

    /// Whether one more worker would help: calls wait and none is about to be ready.
    #[must_use]
    pub fn wants_more(&self) -> bool {
        !self.waiting.is_empty() && self.places.values().all(|place| matches!(place, Place::Ready))
    }

    /// Why no worker answers, and whether that goes on and on.
    #[must_use]
    pub fn failure(&self) -> Option<(Arc<LoadFailure>, bool)> {
        if !self.ready.is_empty() {
            return None;
        }
        let failed = self.places.values().filter_map(|place| match place {
            Place::Failed { failure, crash_loop, .. } => Some((Arc::clone(failure), *crash_loop)),
            Place::Starting | Place::Ready => None,
        });
        failed.max_by_key(|(_, crash_loop)| *crash_loop)
    }

    /// Why waiting makes no sense: no worker answers, none is starting, and the next start is not at once.
    #[must_use]
    pub fn unavailable(&self) -> Option<CallError> {
        if self.stopping.is_some() {
            return Some(CallError::Stopping);
        }
        if !self.ready.is_empty() {
            return None;
        }
        let mut why = None;
        for place in self.places.values() {
            let Place::Failed { failure, next_try, crash_loop } = place else { return None };
            let wait = next_try.saturating_duration_since(Instant::now()).max(RETRY_SOON);
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

    fn two_ready() -> Places<&'static str, ()> {
        let mut places = Places::new(2);
        for name in ["a", "b"] {
            let place = places.add();
            places.set_ready(place, name);
        }
        places
    }

    fn failed(kind: LoadFailureKind, crash_loop: bool) -> Place {
        let failure = LoadFailure { kind, message: "it did not run".to_owned(), stderr: String::new() };
        Place::Failed { failure: Arc::new(failure), next_try: Instant::now(), crash_loop }
    }

    #[test]
    fn the_least_busy_worker_is_taken_until_all_are_full() {
        let mut places = two_ready();
        let taken: Vec<_> = std::iter::from_fn(|| places.take().map(|ready| ready.client)).collect();
        assert_eq!(taken, ["a", "b", "a", "b"]);
        places.give_back(1);
        assert_eq!(places.take().map(|ready| ready.client), Some("b"));
    }

    #[test]
    fn the_last_calls_of_a_replaced_worker_are_not_those_of_the_new_one() {
        let mut places = Places::<_, ()>::new(1);
        let place = places.add();
        places.set_ready(place, "old");
        let old = places.take().map(|ready| ready.run).unwrap();
        places.set(place, Place::Starting);
        places.set_ready(place, "new");
        assert!(places.take().is_some());
        places.give_back(old);
        places.lose(old);
        assert!(places.take().is_none());
        assert_eq!((places.in_flight(), places.ready().len()), (1, 1));
    }

    #[test]
    fn a_worker_that_is_gone_is_not_taken() {
        let mut places = two_ready();
        places.set(0, Place::Starting);
        assert_eq!(places.take().map(|ready| ready.client), Some("b"));
        places.remove(1);
        assert!(places.take().is_none());
        assert_eq!(places.count(), 1);
    }

    #[test]
    fn waiting_makes_sense_only_while_a_worker_may_come() {
        let mut places: Places<(), ()> = Places::new(1);
        let place = places.add();
        assert!(places.unavailable().is_none());
        places.set(place, failed(LoadFailureKind::Load, false));
        assert!(places.unavailable().is_none());
        places.set(place, failed(LoadFailureKind::Load, true));
        assert!(matches!(places.unavailable(), Some(CallError::CrashLoop(_))));
        places.set(place, failed(LoadFailureKind::Spawn, false));
        assert!(matches!(places.unavailable(), Some(CallError::SpawnFailed(..))));
        places.stopping = Some(Instant::now());
        assert!(matches!(places.unavailable(), Some(CallError::Stopping)));
    }

    #[test]
    fn one_more_worker_is_wanted_when_calls_wait_and_none_is_starting() {
        let mut places = two_ready();
        assert!(!places.wants_more());
        places.waiting.push_back(oneshot::channel().0);
        assert!(places.wants_more());
        places.add();
        assert!(!places.wants_more());
    }
}
