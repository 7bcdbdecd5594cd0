//! Keeps long-lived tasks and threads alive: one that panics is logged, counted and started again after a backoff. A
//! panic then costs what the task was doing at that moment, never the part of the gateway that depends on it.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The delay before the first restart; it doubles with each further panic.
const SHORTEST_BACKOFF: Duration = Duration::from_millis(100);
/// The longest delay: a task that always panics must not fill the log.
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// A task that ran this long before it panicked starts again with the shortest delay.
const STABLE_AFTER: Duration = Duration::from_secs(60);

static RESTARTS: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());

/// Spawns a long-lived task on `tasks`. `make` makes its future, once at the start and again after each panic. The
/// task ends when its future ends without a panic, or when `stop` is cancelled during a backoff.
///
/// The future must keep shared state usable when it is dropped in the middle: the unwinding drops all that it holds
/// before `make` runs again.
pub fn forever<M, F>(tasks: &TaskTracker, stop: &CancellationToken, name: &'static str, mut make: M)
where
    M: FnMut() -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let stop = stop.clone();
    tasks.spawn(async move {
        let mut backoff = Backoff::new();
        loop {
            // The runtime's clock, which tests may pause.
            let begun = tokio::time::Instant::now();
            // `make` is inside as well: it may panic before there is a future.
            if AssertUnwindSafe(async { make().await }).catch_unwind().await.is_ok() {
                return;
            }
            let delay = backoff.after(begun.elapsed());
            report(name, delay);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(delay) => {}
            }
        }
    });
}

/// Spawns a long-lived task as [`forever`] does, whose future is dropped when `stop` is cancelled.
pub fn until_stopped<M, F>(tasks: &TaskTracker, stop: &CancellationToken, name: &'static str, mut make: M)
where
    M: FnMut() -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let stopped = stop.clone();
    forever(tasks, stop, name, move || {
        let (work, stopped) = (make(), stopped.clone());
        async move {
            let _stopped = stopped.run_until_cancelled(work).await;
        }
    });
}

/// Starts a long-lived thread, and returns its handle. `body` runs again after each panic; the thread ends when `body`
/// returns.
///
/// # Errors
///
/// The operating system refuses another thread.
pub fn forever_thread(name: &'static str, mut body: impl FnMut() + Send + 'static) -> io::Result<Thread> {
    let supervised = move || {
        let mut backoff = Backoff::new();
        loop {
            let begun = Instant::now();
            if catch_unwind(AssertUnwindSafe(&mut body)).is_ok() {
                return;
            }
            let delay = backoff.after(begun.elapsed());
            report(name, delay);
            thread::sleep(delay);
        }
    };
    thread::Builder::new().name(name.to_owned()).spawn(supervised).map(|handle| handle.thread().clone())
}

/// How often each task was restarted since the start of the process, by its name; tasks that never panicked are
/// missing.
#[must_use]
pub fn restarts() -> Vec<(&'static str, u64)> {
    RESTARTS.lock().iter().map(|(name, count)| (*name, *count)).collect()
}

/// Panics in a debug build if the environment variable `METAGATE_TEST_PANIC`, a list like
/// `accept-loop,worker-supervisor`, has this name: once for each time that it is in the list. Tests use it to show that
/// a task is restarted. A release build does nothing.
#[cfg(debug_assertions)]
#[expect(clippy::panic, reason = "the panic is the purpose")]
pub fn panic_point(name: &str) {
    use std::sync::LazyLock;

    static PENDING: LazyLock<Mutex<Vec<String>>> = LazyLock::new(|| {
        let names = std::env::var("METAGATE_TEST_PANIC").unwrap_or_default();
        Mutex::new(names.split(',').map(str::to_owned).collect())
    });
    let mut pending = PENDING.lock();
    let Some(position) = pending.iter().position(|pending| pending == name) else { return };
    pending.swap_remove(position);
    // The panic hook logs, and logging may call this again.
    drop(pending);
    panic!("METAGATE_TEST_PANIC has {name:?}");
}

/// Does nothing: panics on demand exist in debug builds only.
#[cfg(not(debug_assertions))]
pub fn panic_point(_: &str) {}

fn report(name: &'static str, delay: Duration) {
    *RESTARTS.lock().entry(name).or_default() += 1;
    let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    tracing::error!(task = %name, delay_ms, "long-lived task panicked; restarting it");
}

/// The delays between restarts of one task.
struct Backoff {
    next: Duration,
}

impl Backoff {
    fn new() -> Self {
        Self { next: SHORTEST_BACKOFF }
    }

    /// The delay after a run of this length.
    fn after(&mut self, ran: Duration) -> Duration {
        if ran >= STABLE_AFTER {
            self.next = SHORTEST_BACKOFF;
        }
        let delay = self.next;
        self.next = (delay * 2).min(LONGEST_BACKOFF);
        delay
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_task_runs_again_after_a_panic_and_ends_when_it_returns() {
        let (tasks, stop, runs) = (TaskTracker::new(), CancellationToken::new(), Arc::new(AtomicU32::new(0)));
        let counted = Arc::clone(&runs);
        forever(&tasks, &stop, "test-task", move || {
            let run = counted.fetch_add(1, Ordering::SeqCst);
            async move { assert!(run >= 2, "run {run} panics") }
        });
        tasks.close();
        tasks.wait().await;
        assert_eq!(runs.load(Ordering::SeqCst), 3);
        assert!(restarts().contains(&("test-task", 2)));
    }

    #[tokio::test]
    async fn a_stopped_task_does_not_wait_for_its_backoff() {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        stop.cancel();
        forever(&tasks, &stop, "test-stopped", || async { panic!("always") });
        tasks.close();
        tasks.wait().await;
        assert!(restarts().contains(&("test-stopped", 1)));
    }

    #[test]
    fn a_thread_runs_again_after_a_panic() {
        let (done, finished) = std::sync::mpsc::channel();
        let mut runs = 0;
        forever_thread("test-thread", move || {
            runs += 1;
            assert!(runs > 1, "the first run panics");
            done.send(runs).unwrap();
        })
        .unwrap();
        assert_eq!(finished.recv_timeout(Duration::from_secs(5)), Ok(2));
    }

    #[test]
    fn delays_double_to_a_limit_and_start_over_after_a_stable_run() {
        let mut backoff = Backoff::new();
        let delays: Vec<u128> = (0..8).map(|_| backoff.after(Duration::ZERO).as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(backoff.after(STABLE_AFTER), SHORTEST_BACKOFF);
    }
}
