//! Runs async calls to their end on the current thread. Each thread of the pool has its own runtime, which drives the
//! call's I/O while the call waits for it.

use std::cell::OnceCell;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

use crate::wasm::waits::DeadlineExceeded;

/// Every wait of WASI ends at the call's deadline by itself. A call that still waits this much later is dropped
/// together with its instance, so that no thread is lost to a wait that has no deadline.
const OVERRUN: Duration = Duration::from_millis(500);

thread_local! {
    static RUNTIME: OnceCell<Runtime> = const { OnceCell::new() };
}

/// Runs `future` to its end on this thread.
///
/// # Errors
///
/// Fails with [`DeadlineExceeded`] if the future outlives `deadline`, or if the system refuses what a runtime needs.
pub(super) fn block_on<F: Future>(future: F, deadline: Instant) -> wasmtime::Result<F::Output> {
    RUNTIME.with(|kept| {
        let runtime = match kept.get() {
            Some(runtime) => runtime,
            None => {
                let made = Builder::new_current_thread().enable_time().build()?;
                kept.get_or_init(|| made)
            }
        };
        let latest = deadline + OVERRUN;
        runtime
            .block_on(async { Ok(tokio::time::timeout_at(latest.into(), future).await.map_err(|_| DeadlineExceeded)?) })
    })
}
