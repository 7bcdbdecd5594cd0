//! Calls that may wait for something outside the instance: each thread of the crew waits by itself, and what a call has
//! started goes on while it waits.

use std::cell::OnceCell;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

use crate::wasm_worker::host::Overtime;

/// Everything that a call waits for ends with its time. What does not is given up with all its instance, this much later.
const LAST_RESORT: Duration = Duration::from_millis(500);

thread_local! {
    static RUNTIME: OnceCell<Runtime> = const { OnceCell::new() };
}

/// Runs a call to its end on this thread. Fails when it does not end with its time, or when the thread cannot wait.
pub(super) fn block_on<F: Future>(future: F, deadline: Instant) -> wasmtime::Result<F::Output> {
    RUNTIME.with(|kept| {
        let runtime = match kept.get() {
            Some(runtime) => runtime,
            None => {
                let made = Builder::new_current_thread().enable_time().build()?;
                kept.get_or_init(|| made)
            }
        };
        let latest = deadline + LAST_RESORT;
        runtime.block_on(async { Ok(tokio::time::timeout_at(latest.into(), future).await.map_err(|_| Overtime)?) })
    })
}
