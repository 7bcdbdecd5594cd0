//! The reloads of a gateway, for those who request them and those who ask how the last one went.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;

use crate::gateway::reload_queue::{ReloadResult, ReloadSender};
use crate::gateway::reload_request::ReloadRequest;

/// Where reload requests go, and the failure of the last reload.
#[derive(Default)]
pub struct Reloads {
    requests: OnceLock<ReloadSender>,
    failure: ArcSwapOption<String>,
    /// Held by a reload, and by an upgrade: neither begins during the other.
    pub turn: tokio::sync::Mutex<()>,
}

impl Reloads {
    /// Sends requests to the task that reloads. Set once, when that task starts.
    pub fn serve_with(&self, requests: ReloadSender) {
        let _set_before = self.requests.set(requests);
    }

    /// Requests a reload and waits for its result; none if no task serves requests, because the gateway stops.
    pub async fn request(&self, cause: &'static str) -> Option<ReloadResult> {
        self.requests.get()?.request(ReloadRequest::of_functions(cause)).await
    }

    /// Records the failure of the last reload for `/readyz`, or that there was none.
    pub fn record_failure(&self, failure: Option<String>) {
        self.failure.store(failure.map(Arc::new));
    }

    /// The failure of the last reload.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.failure.load().as_deref().cloned()
    }
}
