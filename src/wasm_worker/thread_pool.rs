//! The threads that run calls. One of them at a time reads the channel and runs what it has read by itself, so that a short
//! call never waits for another thread to wake up; a clock notices calls that take longer and sends others to read and to run.
//!
//! ```text
//!          ┌── queue empty, nobody reads ──► reads ──► fills the queue ──┐
//! thread ──┼── queue not empty ────────────► runs a call ────────────────┼──► again
//!          └── queue empty, somebody reads ► sleeps until it is woken ───┘
//! ```

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::wasm_worker::priority;

/// Of each thread, in bytes: WebAssembly may use 512 KiB of it.
const STACK_SIZE: usize = 2 << 20;
/// Threads at most, whatever the deployment's concurrency.
const MOST_THREADS: u32 = 513;

/// What a pool does.
pub(super) trait Work: Send + Sync + 'static {
    /// What is read and then run.
    type Job: Send;

    /// Waits for jobs; none at all when no more will come. One thread at a time is in it.
    fn read(&self) -> Vec<Self::Job>;

    /// Runs a job. What comes of it may wait for others until [`Self::flush`].
    fn run(&self, job: Self::Job);

    /// Sends what waits.
    fn flush(&self);

    /// Whether something waits. Never blocks.
    fn has_unsent(&self) -> bool;
}

/// Threads that share the jobs.
pub(super) struct ThreadPool<W: Work> {
    work: W,
    state: Mutex<State<W::Job>>,
    /// Who sleeps is wanted.
    wake: Condvar,
    /// Threads are wanted, or the end has come.
    wanted: Condvar,
    /// Threads that are sent to run jobs at once; more only when these do not get on.
    at_once: usize,
}

struct State<J> {
    queue: VecDeque<J>,
    is_read: bool,
    ended: bool,
    /// A thread sends what waits; it may have to wait itself.
    flushing: bool,
    /// Threads that take part or will, and how many of them are to be started.
    threads: usize,
    wanted: usize,
    /// Threads at most: one for each call at a time, and one that reads.
    most: usize,
    sleeping: usize,
    running: usize,
    /// Jobs ended so far, and how many had at the last tick.
    done: u64,
    done_at_tick: u64,
}

/// Threads at most for that many jobs at a time: one more reads.
pub(super) fn threads(concurrency: u32) -> u32 {
    concurrency.saturating_add(1).min(MOST_THREADS)
}

impl<W: Work> ThreadPool<W> {
    /// A pool for that many jobs at a time; [`Self::lead`] starts its threads.
    pub(super) fn new(work: W, concurrency: u32) -> Arc<Self> {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let most = threads(concurrency) as usize;
        Arc::new(Self {
            work,
            state: Mutex::new(State {
                queue: VecDeque::new(),
                is_read: false,
                ended: false,
                flushing: false,
                // The first reads.
                threads: 1,
                wanted: 1,
                most,
                sleeping: 0,
                running: 0,
                done: 0,
                done_at_tick: 0,
            }),
            wake: Condvar::new(),
            wanted: Condvar::new(),
            at_once: processors.min(most),
        })
    }

    /// Starts threads as they are wanted, until no more jobs come and all have been run. Threads are started here only: they
    /// have the priority of the one that starts them. Fails when there is none and none can be started.
    pub(super) fn lead(self: &Arc<Self>) -> io::Result<()> {
        let mut state = self.state.lock();
        while !self.is_done(&state) {
            while state.wanted > 0 {
                state.wanted -= 1;
                let pool = Arc::clone(self);
                let thread = thread::Builder::new().name("wasm-call".to_owned()).stack_size(STACK_SIZE);
                if let Err(error) = thread.spawn(move || pool.take_part()) {
                    state.threads -= 1;
                    if state.threads == 0 {
                        return Err(error);
                    }
                    state.most = state.threads;
                    crate::wasm_worker::log::write(format_args!(
                        "metagate worker: there will be no more than {} threads: {error}",
                        state.most
                    ));
                }
            }
            self.wanted.wait(&mut state);
        }
        Ok(())
    }

    fn is_done(&self, state: &State<W::Job>) -> bool {
        let is_idle = state.running == 0 && state.queue.is_empty() && !state.flushing;
        state.ended && is_idle && !self.work.has_unsent()
    }

    /// Takes part, until no more jobs come, or the thread has given way.
    fn take_part(self: &Arc<Self>) {
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.queue.pop_front() {
                state.running += 1;
                if !state.queue.is_empty() && state.running < self.at_once {
                    self.send_one(&mut state);
                }
                MutexGuard::unlocked(&mut state, || self.work.run(job));
                state.running -= 1;
                state.done += 1;
                if state.ended {
                    self.wanted.notify_one();
                }
                if priority::gave_way() {
                    state.threads -= 1;
                    self.leave(&mut state);
                    return;
                }
            } else if self.work.has_unsent() && !state.flushing {
                state.flushing = true;
                MutexGuard::unlocked(&mut state, || self.work.flush());
                state.flushing = false;
            } else if state.ended {
                self.wanted.notify_one();
                return;
            } else if state.is_read {
                state.sleeping += 1;
                self.wake.wait(&mut state);
            } else {
                state.is_read = true;
                let jobs = MutexGuard::unlocked(&mut state, || self.work.read());
                state.is_read = false;
                if jobs.is_empty() {
                    state.ended = true;
                    self.wake.notify_all();
                }
                state.queue.extend(jobs);
            }
        }
    }

    /// Called by the clock: when jobs are being run and none has ended since the last tick, others take part.
    pub(super) fn tick(&self) {
        let mut state = self.state.lock();
        let stands_still = state.done == state.done_at_tick;
        state.done_at_tick = state.done;
        if state.running == 0 || !stands_still {
            return;
        }
        let unsent = self.work.has_unsent() && !state.flushing;
        let wanted = (state.queue.len() + usize::from(!state.is_read)).max(usize::from(unsent));
        for _ in 0..wanted {
            if !self.send_one(&mut state) {
                break;
            }
        }
    }

    /// A thread goes. What it would have done next is another's.
    fn leave(&self, state: &mut State<W::Job>) {
        if !state.is_read || !state.queue.is_empty() || self.work.has_unsent() {
            self.send_one(state);
        }
    }

    /// Wakes a thread or has one started; tells whether there was one to be had.
    fn send_one(&self, state: &mut State<W::Job>) -> bool {
        if state.sleeping > 0 {
            state.sleeping -= 1;
            return self.wake.notify_one();
        }
        if state.threads >= state.most {
            return false;
        }
        state.threads += 1;
        state.wanted += 1;
        self.wanted.notify_one();
        true
    }
}
