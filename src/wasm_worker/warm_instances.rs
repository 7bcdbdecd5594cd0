//! Instances between two calls, where the deployment keeps them.

use parking_lot::Mutex;
use wasmtime::Store;

use crate::wasm_worker::host::{Host, State};

/// Calls after which an instance is replaced.
const MOST_USES: u32 = 10_000;

/// The instances of one program that wait for their next call. `I` is what is called in their store.
pub(super) struct WarmInstances<I> {
    kept: Mutex<Vec<WarmInstance<I>>>,
}

/// An instance with its store. Whoever has it is the only one.
pub(super) struct WarmInstance<I> {
    /// Its state.
    pub(super) store: Store<State>,
    /// Its functions.
    pub(super) inside: I,
    uses: u32,
    /// What was counted of its memory when it was put aside; the first of a program is not.
    counted: Option<usize>,
}

impl<I> WarmInstance<I> {
    /// One that was not used yet.
    pub(super) fn new(store: Store<State>, inside: I) -> Self {
        Self { store, inside, uses: 0, counted: None }
    }
}

impl<I> WarmInstances<I> {
    /// Without any instance.
    pub(super) fn new() -> Self {
        Self { kept: Mutex::default() }
    }

    /// An instance that waits, if there is one.
    pub(super) fn take(&self, host: &Host) -> Option<WarmInstance<I>> {
        let mut taken = self.kept.lock().pop()?;
        if let Some(memory) = taken.counted.take() {
            host.keep_one_less(memory);
        }
        Some(taken)
    }

    /// Keeps an instance whose call has ended well for the next one, if the deployment wants it, it is not worn out, and
    /// there is room: for one of each program, and for as many over all programs as there may be calls at a time, which have
    /// no more memory together than twice that of one instance.
    pub(super) fn keep(&self, host: &Host, mut instance: WarmInstance<I>) {
        if !host.settings().keeps_instances {
            return;
        }
        instance.uses += 1;
        let memory = instance.store.data().memory();
        let is_large = memory > host.settings().max_memory / 4 * 3;
        if instance.uses >= MOST_USES || is_large {
            return;
        }
        let mut kept = self.kept.lock();
        instance.counted = if kept.is_empty() { None } else { Some(memory) };
        if instance.counted.is_none_or(|memory| host.keep_one_more(memory)) {
            kept.push(instance);
        }
    }
}
