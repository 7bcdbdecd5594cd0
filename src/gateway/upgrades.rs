//! Requests to replace the running program by the one that is on disk now. Who starts it is left to `app`.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use serde::Serialize;

/// Starts the new program, and waits until it has taken over.
pub trait StartSuccessor: Send + Sync {
    /// One attempt.
    fn start(self: Arc<Self>) -> Pin<Box<dyn Future<Output = Result<Upgraded, UpgradeError>> + Send>>;
}

/// An upgrade that was made.
#[derive(Debug, Clone, Serialize)]
pub struct Upgraded {
    /// The process that serves now.
    pub pid: u32,
    /// The one that finishes its calls.
    pub previous: u32,
}

/// Why an upgrade was not made. The program that was running serves on.
#[derive(Debug, Clone, thiserror::Error)]
pub enum UpgradeError {
    /// Another one is under way.
    #[error("an upgrade is under way")]
    UnderWay,
    /// The program before this one still finishes its calls.
    #[error("the gateway before the last upgrade still finishes its calls")]
    PreviousFinishes,
    /// The gateway stops, or has not started.
    #[error("the gateway does not take calls now")]
    NotServing,
    /// It cannot work here.
    #[error("{0}")]
    Impossible(&'static str),
    /// The new program does not start.
    #[error("the new program does not take over, and this one goes on: {0}")]
    Failed(String),
}

/// Where requests go.
#[derive(Default)]
pub struct Upgrades {
    starter: OnceLock<Arc<dyn StartSuccessor>>,
    is_under_way: AtomicBool,
}

impl Upgrades {
    /// Has requests served. Set once, when the gateway takes calls.
    pub fn serve_with(&self, starter: Arc<dyn StartSuccessor>) {
        let _set_before = self.starter.set(starter);
    }

    /// Makes an upgrade. One that has begun goes on if nobody waits for it.
    ///
    /// # Errors
    ///
    /// Why it was not made.
    pub async fn request(self: &Arc<Self>) -> Result<Upgraded, UpgradeError> {
        let Some(starter) = self.starter.get().map(Arc::clone) else {
            return Err(logged(UpgradeError::NotServing));
        };
        if self.is_under_way.swap(true, Ordering::Relaxed) {
            return Err(logged(UpgradeError::UnderWay));
        }
        let upgrades = Arc::clone(self);
        let making = tokio::spawn(async move {
            // Also after a panic the next request may try again.
            let under_way = UnderWay(upgrades);
            let made = starter.start().await.map_err(logged)?;
            // It stays under way until this process ends.
            std::mem::forget(under_way);
            Ok(made)
        });
        making.await.unwrap_or_else(|_| Err(logged(UpgradeError::Failed("internal error".to_owned()))))
    }
}

/// Reports why an upgrade was not made, whoever has asked for it and may not wait for it any more.
fn logged(error: UpgradeError) -> UpgradeError {
    tracing::error!(reason = %error, "upgrade failed");
    error
}

struct UnderWay(Arc<Upgrades>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.is_under_way.store(false, Ordering::Relaxed);
    }
}
