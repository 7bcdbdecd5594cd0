//! What is counted of asynchronous calls, for metrics, and whether their file is usable, for readiness.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use crate::queue::fault::Fault;
use crate::queue::progress::State;

/// Counts since the start of the process, and how much is held now.
#[derive(Debug, Default)]
pub struct Figures {
    accepted: AtomicU64,
    /// Of calls of functions.
    pub calls: Ends,
    /// Of callbacks.
    pub callbacks: Ends,
    waiting: AtomicU64,
    bytes: AtomicU64,
    /// Why the file was not usable the last time that it was used.
    fault: ArcSwapOption<String>,
}

/// Tries, and how calls have ended.
#[derive(Debug, Default)]
pub struct Ends {
    tries: AtomicU64,
    done: AtomicU64,
    dead: AtomicU64,
    cancelled: AtomicU64,
}

impl Ends {
    pub(super) fn tries(&self, tries: u64) {
        self.tries.fetch_add(tries, Ordering::Relaxed);
    }

    pub(super) fn ended(&self, state: State, calls: u64) {
        let counter = match state {
            State::Done => &self.done,
            State::Dead => &self.dead,
            State::Cancelled => &self.cancelled,
            State::Queued | State::Running => return,
        };
        counter.fetch_add(calls, Ordering::Relaxed);
    }

    /// Tries that were begun.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.tries.load(Ordering::Relaxed)
    }

    /// Calls that have ended, by state.
    #[must_use]
    pub fn ends(&self) -> [(State, u64); 3] {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [(State::Done, of(&self.done)), (State::Dead, of(&self.dead)), (State::Cancelled, of(&self.cancelled))]
    }
}

impl Figures {
    pub(super) fn accept(&self, calls: u64) {
        self.accepted.fetch_add(calls, Ordering::Relaxed);
    }

    pub(super) fn fail(&self, fault: &Fault) {
        self.fault.store(Some(Arc::new(fault.to_string())));
    }

    pub(super) fn work(&self) {
        if self.fault.load().is_some() {
            self.fault.store(None);
        }
    }

    /// Why the file was not usable the last time that it was used; none if it was.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.fault.load().as_deref().cloned()
    }

    pub(super) fn of(&self, is_callback: bool) -> &Ends {
        if is_callback { &self.callbacks } else { &self.calls }
    }

    pub(super) fn holds(&self, waiting: u64, bytes: u64) {
        self.waiting.store(waiting, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Calls that were accepted.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Calls that have not ended, and bytes of requests and results.
    #[must_use]
    pub fn held(&self) -> (u64, u64) {
        (self.waiting.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::poll;

    use crate::queue::accepting::Bounds;
    use crate::queue::call::NewCall;
    use crate::queue::looking::Changed;
    use crate::queue::progress::State;
    use crate::queue::trying::Room;
    use crate::queue::{Queue, now};

    async fn queue() -> (Queue, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let queue = Queue::new(folder.path(), Bounds { waiting: 10, bytes: 1 << 20 });
        queue.recover().await.unwrap();
        (queue, folder)
    }

    #[tokio::test]
    async fn a_call_counts_and_begins_also_when_its_caller_has_left() {
        let (queue, _folder) = queue().await;
        let call = NewCall { expires: now() + 60_000, ..NewCall::sample(1) };
        {
            let accepting = std::pin::pin!(queue.accept(call));
            // It is sent to the thread; whoever asks does not wait for its answer.
            let _sent = poll!(accepting);
        }
        tokio::time::timeout(Duration::from_secs(10), queue.due.notified()).await.unwrap();
        assert_eq!(queue.figures.accepted(), 1);
    }

    #[tokio::test]
    async fn each_end_of_a_call_counts_once() {
        let (queue, _folder) = queue().await;
        let cancelled = NewCall { expires: now() + 60_000, ..NewCall::sample(1) };
        let id = cancelled.id;
        queue.accept(cancelled).await.unwrap();
        assert!(matches!(queue.cancel(id).await.unwrap(), Changed::Now(_)));
        assert!(matches!(queue.cancel(id).await.unwrap(), Changed::Before(_)));
        queue.accept(NewCall::sample(2)).await.unwrap();
        let room = Room { tries: 1, callbacks: 1, bytes: 1 };
        assert!(queue.begin_tries("".into(), room, |_| 1).await.unwrap().tries.is_empty(), "it is too old");
        assert_eq!(queue.figures.calls.ends(), [(State::Done, 0), (State::Dead, 1), (State::Cancelled, 1)]);
    }
}
