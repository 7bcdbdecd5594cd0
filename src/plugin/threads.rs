//! The threads for hooks that take long. The gateway's own thread runs a hook for a moment only, so that a hook that
//! loops or waits does not delay other calls.

use std::future::Future;

use tokio::runtime::{Builder, Handle, Runtime};

/// Runs hooks away from the gateway's thread.
pub struct Threads(Option<Runtime>);

impl Threads {
    /// Starts them: half of the cores, at least one.
    pub fn start() -> std::io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let runtime = Builder::new_multi_thread()
            .worker_threads((cores / 2).max(1))
            .max_blocking_threads(64)
            .thread_name("plugins")
            // Hooks that yield without pause must not starve timers: deadlines depend on them.
            .event_interval(2)
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// Where to spawn.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        self.0.as_ref().expect("there until it is dropped").handle()
    }

    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        drop(self.handle().spawn(work));
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
