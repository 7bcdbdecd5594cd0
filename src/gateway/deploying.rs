//! Work on a deployment that goes on by itself while a client waits for it.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::gateway::deploy_error::DeployError;
use crate::logs::book::LogBook;

/// A change of a deployment in progress. It runs to its end even if this is dropped.
pub struct Deploying<T> {
    /// The deployment's log, which has a line for each step.
    pub logs: Arc<LogBook>,
    /// The number of the first log line about this change.
    pub first_line: u64,
    /// Receives the result.
    pub result: oneshot::Receiver<Result<T, DeployError>>,
}
