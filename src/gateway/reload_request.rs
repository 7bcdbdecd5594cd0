//! Requests to read the configuration again, and what a reload reports. Their queue is `reload_queue`; the task that
//! serves them is in `app`.

use std::sync::Arc;

use serde::Serialize;

use crate::plugin::load_error::LoadError;
use crate::worker::failure::LoadFailure;

/// The cause of a reload that was asked for over the admin API.
pub const OVER_HTTP: &str = "request over HTTP";

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
#[derive(Debug, Clone, Copy)]
pub struct ReloadRequest {
    /// Its cause, for the log.
    pub cause: &'static str,
    /// Whether the files of functions are checked for changes as well.
    pub functions: Functions,
}

impl ReloadRequest {
    /// For changes of the configuration and its plugins.
    #[must_use]
    pub fn of_configuration(cause: &'static str) -> Self {
        Self { cause, functions: Functions::Ignore }
    }

    /// For changes of the functions' files as well.
    #[must_use]
    pub fn of_functions(cause: &'static str) -> Self {
        Self { cause, functions: Functions::Check }
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
    /// Tables of the configuration whose changes take effect after a restart or an upgrade; left out of the JSON if
    /// there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub needs_restart: Vec<&'static str>,
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
