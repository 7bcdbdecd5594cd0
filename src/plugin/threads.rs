//! The threads for slow hooks. The gateway's own thread runs a hook for a few milliseconds at most, so that a hook that
//! loops or waits does not delay other calls.

use std::future::Future;

use tokio::runtime::{Builder, Handle, Runtime};

/// Runs hooks outside the gateway's thread.
pub struct Threads(Option<Runtime>);

impl Threads {
    /// Starts the threads: one for every two cores, at least one.
    pub fn start() -> std::io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self::start_some((cores / 2).max(1), "plugins")
    }

    /// Starts the one thread that starts the processes of plugins and serves their channels. The kernel ends a process
    /// with the thread that has started it.
    pub fn for_processes() -> std::io::Result<Self> {
        Self::start_some(1, "plugin-channels")
    }

    fn start_some(count: usize, name: &str) -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(count)
            .max_blocking_threads(64)
            .thread_name(name)
            // Hooks that yield continuously must not starve the timers, on which deadlines depend.
            .event_interval(2)
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// The handle of their runtime.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        self.0.as_ref().expect("the runtime is taken in drop only").handle()
    }

    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
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
