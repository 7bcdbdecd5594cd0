//! The threads that run calls. One of them at a time reads the channel and runs what it has read itself, so that a
//! short call never waits for another thread to wake up. The engine's clock notices calls that take longer, and wakes
//! or starts other threads to read and to run.
//!
//! ```text
//!          ┌── queue empty, no reader ──► reads ──► fills the queue ──┐
//! thread ──┼── queue not empty ─────────► runs a call ────────────────┼──► again
//!          └── queue empty, a reader ───► sleeps until it is woken ───┘
//! ```

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::wasm_worker::{log, priority};

/// Stack of each thread, in bytes. WebAssembly may use 512 KiB of it (wasmtime's default); reading and writing nested
/// JSON values recurses on the rest.
const STACK_SIZE: usize = 2 << 20;
/// Most threads of a worker, however large the deployment's concurrency is.
const MOST_THREADS: u32 = 513;

/// The work that the threads of a pool share.
pub(super) trait Work: Send + Sync + 'static {
    /// One piece of work, read by one thread and run by any.
    type Job: Send;

    /// Waits for jobs. An empty list means that no more will come. The pool calls it from one thread at a time.
    fn read(&self) -> Vec<Self::Job>;

    /// Runs a job. Its output may be buffered until [`Self::flush`].
    fn run(&self, job: Self::Job);

    /// Sends buffered output. May block.
    fn flush(&self);

    /// Whether output is buffered that no thread is sending. Does not wait for I/O: the pool calls it under its lock.
    fn has_unsent(&self) -> bool;
}

/// Threads that share the jobs.
pub(super) struct ThreadPool<W: Work> {
    work: W,
    state: Mutex<State<W::Job>>,
    /// Wakes sleeping threads.
    wake: Condvar,
    /// Wakes the thread in [`ThreadPool::lead`]: a thread is to be started, or the last job has ended.
    leader: Condvar,
    /// Threads that share a burst of jobs at once. More would only compete for the processors; when jobs take long,
    /// [`ThreadPool::tick`] adds them.
    burst: usize,
}

struct State<J> {
    queue: VecDeque<J>,
    /// A thread is in [`Work::read`].
    reading: bool,
    /// No more jobs will come.
    ended: bool,
    /// A thread is in [`Work::flush`], where it may block.
    flushing: bool,
    /// Threads of the pool, including those that are still to be started.
    threads: usize,
    to_start: usize,
    /// Most threads: one for each call at a time, and the reader. Lowered when the system refuses another thread.
    max_threads: usize,
    sleeping: usize,
    running: usize,
    /// Jobs that ended, in total and until the last tick.
    done: u64,
    done_at_tick: u64,
}

/// The most threads for `concurrency` jobs at a time: one more, because one reads.
pub(super) fn threads(concurrency: u32) -> u32 {
    concurrency.saturating_add(1).min(MOST_THREADS)
}

impl<W: Work> ThreadPool<W> {
    /// Makes a pool for `concurrency` jobs at a time. [`Self::lead`] starts its threads.
    pub(super) fn new(work: W, concurrency: u32) -> Arc<Self> {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let max_threads = threads(concurrency) as usize;
        Arc::new(Self {
            work,
            state: Mutex::new(State {
                queue: VecDeque::new(),
                reading: false,
                ended: false,
                flushing: false,
                // The first thread, which reads.
                threads: 1,
                to_start: 1,
                max_threads,
                sleeping: 0,
                running: 0,
                done: 0,
                done_at_tick: 0,
            }),
            wake: Condvar::new(),
            leader: Condvar::new(),
            burst: processors.min(max_threads),
        })
    }

    /// Starts threads on demand, until no more jobs come and all have run. Threads are started here only, because a
    /// thread inherits the priority of the one that starts it, and this one keeps the normal priority.
    ///
    /// # Errors
    ///
    /// Fails if the pool has no thread and the system refuses to start one.
    pub(super) fn lead(self: &Arc<Self>) -> io::Result<()> {
        let mut state = self.state.lock();
        while !self.is_done(&state) {
            while state.to_start > 0 {
                state.to_start -= 1;
                let pool = Arc::clone(self);
                let thread = thread::Builder::new().name("wasm-call".to_owned()).stack_size(STACK_SIZE);
                if let Err(error) = thread.spawn(move || pool.run_jobs()) {
                    state.threads -= 1;
                    if state.threads == 0 {
                        return Err(error);
                    }
                    state.max_threads = state.threads;
                    log::write(format_args!(
                        "metagate worker: no more than {} threads: starting another failed: {error}",
                        state.max_threads
                    ));
                }
            }
            self.leader.wait(&mut state);
        }
        Ok(())
    }

    fn is_done(&self, state: &State<W::Job>) -> bool {
        let is_idle = state.running == 0 && state.queue.is_empty() && !state.flushing;
        state.ended && is_idle && !self.work.has_unsent()
    }

    /// The loop of one thread. It ends when no more jobs come, or when a long call has lowered the thread's priority.
    fn run_jobs(self: &Arc<Self>) {
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.queue.pop_front() {
                state.running += 1;
                if !state.queue.is_empty() && state.running < self.burst {
                    self.wake_or_start_one(&mut state);
                }
                // The lock is never held while a job runs, while reading or while sending.
                MutexGuard::unlocked(&mut state, || self.work.run(job));
                state.running -= 1;
                state.done += 1;
                if state.ended {
                    self.leader.notify_one();
                }
                if priority::is_lowered() {
                    state.threads -= 1;
                    self.hand_over(&mut state);
                    return;
                }
            } else if self.work.has_unsent() && !state.flushing {
                state.flushing = true;
                MutexGuard::unlocked(&mut state, || self.work.flush());
                state.flushing = false;
            } else if state.ended {
                self.leader.notify_one();
                return;
            } else if state.reading {
                state.sleeping += 1;
                self.wake.wait(&mut state);
            } else {
                state.reading = true;
                let jobs = MutexGuard::unlocked(&mut state, || self.work.read());
                state.reading = false;
                if jobs.is_empty() {
                    state.ended = true;
                    self.wake.notify_all();
                }
                state.queue.extend(jobs);
            }
        }
    }

    /// The clock calls this at every tick: if jobs run and none has ended since the last tick, it adds threads.
    pub(super) fn tick(&self) {
        let mut state = self.state.lock();
        let stalled = state.done == state.done_at_tick;
        state.done_at_tick = state.done;
        if state.running == 0 || !stalled {
            return;
        }
        let unsent = self.work.has_unsent() && !state.flushing;
        let missing = (state.queue.len() + usize::from(!state.reading)).max(usize::from(unsent));
        for _ in 0..missing {
            if !self.wake_or_start_one(&mut state) {
                break;
            }
        }
    }

    /// Hands over before a thread ends: another one does what it would have done next.
    fn hand_over(&self, state: &mut State<W::Job>) {
        if !state.reading || !state.queue.is_empty() || self.work.has_unsent() {
            self.wake_or_start_one(state);
        }
    }

    /// Wakes a sleeping thread or has one started. Returns `false` if all threads are busy and there can be no more.
    fn wake_or_start_one(&self, state: &mut State<W::Job>) -> bool {
        if state.sleeping > 0 {
            // Counted here and not by the woken thread: the next caller must not count on the same sleeper.
            state.sleeping -= 1;
            return self.wake.notify_one();
        }
        if state.threads >= state.max_threads {
            return false;
        }
        state.threads += 1;
        state.to_start += 1;
        self.leader.notify_one();
        true
    }
}
