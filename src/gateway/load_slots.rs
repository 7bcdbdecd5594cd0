//! Releases that load at once: many starting workers delay the calls of those that serve.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

/// How long a release that is slow to load delays the next one: it may wait for something else than the processor.
const MAX_DELAY: Duration = Duration::from_secs(5);

/// Places for releases that load, as many as the machine has cores.
#[derive(Debug, Clone)]
pub(super) struct LoadSlots(Arc<Semaphore>);

impl LoadSlots {
    /// With every place free.
    #[must_use]
    pub(super) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self(Arc::new(Semaphore::new(cores)))
    }

    /// Waits for a place and holds it while `loading` runs, but no longer than 5 s.
    pub(super) async fn hold<T>(&self, loading: impl Future<Output = T>) -> T {
        let place = self.0.acquire().await.expect("the semaphore is never closed");
        let mut loading = pin!(loading);
        match tokio::time::timeout(MAX_DELAY, &mut loading).await {
            Ok(loaded) => loaded,
            Err(_slow) => {
                drop(place);
                loading.await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_more_than_the_cores_load_at_once_unless_they_are_slow() {
        let slots = LoadSlots::new();
        let places = slots.0.available_permits();
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let load = async |time: Duration| {
            let loading = async {
                most.fetch_max(running.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                tokio::time::sleep(time).await;
                running.fetch_sub(1, Ordering::Relaxed);
            };
            slots.hold(loading).await;
        };
        futures_util::future::join_all((0..3 * places).map(|_| load(Duration::from_secs(1)))).await;
        assert_eq!(most.load(Ordering::Relaxed), places);
        futures_util::future::join_all((0..2 * places).map(|_| load(2 * MAX_DELAY))).await;
        assert_eq!(most.load(Ordering::Relaxed), 2 * places);
    }
}
