//! Requests to read the configuration again, and what a reload reports. The task that serves them is in `app`.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::plugin::load_error::LoadError;
use crate::worker::failure::LoadFailure;

/// Why a reload changed nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Rejected {
    /// The configuration as a whole has faults.
    #[error("{0}")]
    Faults(String),
    /// The task that reloads panicked.
    #[error("the reload failed: see the gateway's log")]
    Internal,
}

/// A request to read the configuration again.
pub struct ReloadRequest {
    /// Its cause, for the log.
    pub cause: &'static str,
    /// Whether the files of functions are checked for changes as well.
    pub functions: Functions,
    /// Where to send the result, if the requester waits for it.
    pub answer: Option<oneshot::Sender<Result<Arc<Reloaded>, Rejected>>>,
}

impl ReloadRequest {
    /// For changes of the configuration and its plugins.
    #[must_use]
    pub fn of_configuration(cause: &'static str) -> Self {
        Self { cause, functions: Functions::Ignore, answer: None }
    }

    /// For changes of the functions' files as well.
    #[must_use]
    pub fn of_functions(cause: &'static str) -> Self {
        Self { cause, functions: Functions::Check, answer: None }
    }
}

/// What a reload does about a deployment whose table has not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Functions {
    /// Deploys it again if its files have changed since they were loaded.
    Check,
    /// Nothing.
    Ignore,
}

/// What a reload has changed, and what it could not change.
#[derive(Debug, Default, Serialize)]
pub struct Reloaded {
    /// The plugins in service, in the order of the chain.
    pub plugins: Vec<String>,
    /// Deployments that were started or replaced.
    pub deployed: Vec<String>,
    /// Deployments that were taken out of service.
    pub removed: Vec<String>,
    /// The changes that failed. In each case the old plugin or deployment stays in service.
    #[serde(skip)]
    pub failures: Vec<ReloadFailure>,
}

/// A change that a reload could not make.
#[derive(Debug, thiserror::Error)]
pub enum ReloadFailure {
    /// A plugin was not loaded.
    #[error(transparent)]
    Plugin(#[from] LoadError),
    /// A deployment was not replaced.
    #[error("deployment {name:?}: {failure}", failure = failure.message)]
    Deployment {
        /// Its name.
        name: String,
        /// Why.
        failure: Arc<LoadFailure>,
    },
}

impl ReloadFailure {
    /// The failure in words for `/readyz`: without a plugin's own words about its configuration, which may hold
    /// secrets.
    #[must_use]
    pub fn public_message(&self) -> String {
        match self {
            Self::Plugin(error) => format!("plugin {:?}: {}", error.name, error.without_secrets()),
            Self::Deployment { .. } => self.to_string(),
        }
    }
}

/// Where reload requests go, and the failure of the last reload.
#[derive(Default)]
pub struct Reloads {
    requests: OnceLock<mpsc::UnboundedSender<ReloadRequest>>,
    failure: ArcSwapOption<String>,
}

impl Reloads {
    /// Sends requests to the task that reloads. Set once, when that task starts.
    pub fn serve_with(&self, requests: mpsc::UnboundedSender<ReloadRequest>) {
        let _set_before = self.requests.set(requests);
    }

    /// Requests a reload and waits for its result; none if no task serves requests, because the gateway stops.
    pub async fn request(&self, cause: &'static str) -> Option<Result<Arc<Reloaded>, Rejected>> {
        let (sender, result) = oneshot::channel();
        let requests = self.requests.get()?;
        requests.send(ReloadRequest { answer: Some(sender), ..ReloadRequest::of_functions(cause) }).ok()?;
        match result.await {
            Ok(result) => Some(result),
            Err(_) if requests.is_closed() => None,
            // The task panicked with the request in hand, and is started again.
            Err(_) => Some(Err(Rejected::Internal)),
        }
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
