//! Work that blocks, on a thread that serves no calls.

use tokio::task::JoinError;

/// Runs `work` on a thread for blocking work. Fails if it panics.
pub(super) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    #[cfg(test)]
    if crate::planted::is_inline() {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await
}
