//! Warm instances: those that wait for the next call of a deployment with `instances = "warm"`.

use parking_lot::Mutex;
use wasmtime::Store;

use crate::wasm_worker::host::{Host, State};

/// Calls after which an instance is dropped: what a function leaks in its memory has a bound.
const MAX_USES: u32 = 10_000;

/// The warm instances of one program. `I` is the instance in the store.
pub(super) struct WarmInstances<I> {
    kept: Mutex<Vec<WarmInstance<I>>>,
}

/// An instance with its store. It is owned by one call at a time.
pub(super) struct WarmInstance<I> {
    /// The store.
    pub(super) store: Store<State>,
    /// The instance in the store, with its functions.
    pub(super) inside: I,
    uses: u32,
    /// Bytes that [`Host::reserve_warm`] counted for it while it waits; `None` for the first of a program, which is
    /// free.
    counted: Option<usize>,
}

impl<I> WarmInstance<I> {
    /// Wraps a fresh instance.
    pub(super) fn new(store: Store<State>, inside: I) -> Self {
        Self { store, inside, uses: 0, counted: None }
    }
}

impl<I> WarmInstances<I> {
    /// Without instances.
    pub(super) fn new() -> Self {
        Self { kept: Mutex::default() }
    }

    /// Takes a warm instance, if there is one.
    pub(super) fn take(&self, host: &Host) -> Option<WarmInstance<I>> {
        let mut taken = self.kept.lock().pop()?;
        if let Some(memory) = taken.counted.take() {
            host.release_warm(memory);
        }
        Some(taken)
    }

    /// Keeps an instance whose call succeeded for the next one, if the deployment reuses instances, it is not worn out,
    /// and there is room. Each program may keep one; beyond that, all programs together keep at most as many as there
    /// can be calls at a time, with at most twice the memory limit of one instance.
    pub(super) fn keep(&self, host: &Host, mut instance: WarmInstance<I>) {
        if !host.settings().keeps_instances {
            return;
        }
        instance.uses += 1;
        let memory = instance.store.data().memory();
        // A memory never shrinks: an instance near its limit would soon fail a call for want of memory.
        let is_large = memory > host.settings().max_memory / 4 * 3;
        if instance.uses >= MAX_USES || is_large {
            return;
        }
        let mut kept = self.kept.lock();
        instance.counted = if kept.is_empty() { None } else { Some(memory) };
        if instance.counted.is_none_or(|memory| host.reserve_warm(memory)) {
            kept.push(instance);
        }
    }
}
