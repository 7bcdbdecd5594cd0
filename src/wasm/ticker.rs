//! The clock of the engine: a thread that advances the epoch while WebAssembly runs, and parks when none does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::{Engine, EngineWeak};

use crate::supervise;

/// The length of an epoch. A hook on the gateway's thread delays every other call until the next tick interrupts it.
pub const TICK: Duration = Duration::from_millis(1);
/// The name of the thread as a long-lived task.
const TASK: &str = "wasm-epoch";
/// Ticks without work after which the thread parks.
const IDLE_TICKS: u32 = 100;

/// Moves the engine's epoch on.
pub struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Default)]
struct Shared {
    running: AtomicU64,
    begun: AtomicU64,
    asleep: AtomicBool,
    ended: AtomicBool,
}

/// Keeps the clock going until it is dropped.
pub struct Ticking {
    shared: Arc<Shared>,
}

impl Ticker {
    /// Starts the thread; it ends with the ticker.
    pub fn start(engine: &Engine) -> std::io::Result<Self> {
        Self::start_with(engine, || {})
    }

    /// Starts the thread, which also calls `each` at every tick.
    pub fn start_with(engine: &Engine, mut each: impl FnMut() + Send + 'static) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (engine, ticking) = (engine.weak(), Arc::clone(&shared));
        // Without its clock no hook would be interrupted any more.
        let thread = supervise::forever_thread(TASK, move || tick(&engine, &ticking, &mut each))?;
        Ok(Self { shared, thread })
    }

    /// From now on, until the returned value is dropped, the epoch moves on.
    #[must_use]
    pub fn begin(&self) -> Ticking {
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        self.shared.begun.fetch_add(1, Ordering::Relaxed);
        if self.shared.asleep.load(Ordering::SeqCst) && self.shared.asleep.swap(false, Ordering::SeqCst) {
            self.thread.unpark();
        }
        Ticking { shared: Arc::clone(&self.shared) }
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.shared.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

fn tick(engine: &EngineWeak, shared: &Shared, each: &mut impl FnMut()) {
    let (mut idle, mut begun) = (0, 0);
    while !shared.ended.load(Ordering::SeqCst) {
        thread::sleep(TICK);
        let Some(engine) = engine.upgrade() else { return };
        supervise::panic_point(TASK);
        engine.increment_epoch();
        drop(engine);
        each();
        let begun_now = shared.begun.load(Ordering::Relaxed);
        idle = if begun_now == begun { idle + 1 } else { 0 };
        begun = begun_now;
        if idle < IDLE_TICKS || shared.running.load(Ordering::SeqCst) > 0 {
            continue;
        }
        shared.asleep.store(true, Ordering::SeqCst);
        // A call that began before the store did not see it, and so did not unpark the thread.
        if shared.running.load(Ordering::SeqCst) > 0 {
            shared.asleep.store(false, Ordering::SeqCst);
        }
        while shared.asleep.load(Ordering::SeqCst) && !shared.ended.load(Ordering::SeqCst) {
            thread::park();
        }
        idle = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use wasmtime::{Config, Module, Store};

    use super::*;

    #[test]
    fn an_endless_loop_is_cut_after_the_clock_has_slept() {
        let engine = Engine::new(Config::new().epoch_interruption(true)).unwrap();
        let ticker = Ticker::start(&engine).unwrap();
        let module = Module::new(&engine, "(module (func (export \"f\") (loop (br 0))))").unwrap();
        for _ in 0..2 {
            let asleep = Instant::now() + Duration::from_secs(10);
            while !ticker.shared.asleep.load(Ordering::SeqCst) {
                assert!(Instant::now() < asleep, "the clock does not go to sleep");
                thread::yield_now();
            }
            let mut store = Store::new(&engine, ());
            store.set_epoch_deadline(5);
            let instance = wasmtime::Instance::new(&mut store, &module, &[]).unwrap();
            let endless = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
            let _ticking = ticker.begin();
            assert!(endless.call(&mut store, ()).is_err());
        }
    }
}
