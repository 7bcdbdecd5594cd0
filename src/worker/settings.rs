//! The limits of one deployment's workers, taken from its configuration.

use std::time::Duration;

use crate::config::DeploymentConfig;
use crate::deployment::DeploymentName;

/// Limits and settings of a pool.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The deployment.
    pub name: DeploymentName,
    /// Workers that are always there.
    pub min: usize,
    /// Workers at most.
    pub max: usize,
    /// Calls in flight per worker.
    pub concurrency: u32,
    /// Calls that wait beyond that.
    pub queue: usize,
    /// Deadline of a call.
    pub timeout: Duration,
    /// Deadline of a load.
    pub load_timeout: Duration,
    /// Memory of each worker in bytes.
    pub max_memory: Option<u64>,
    /// Longest line from a worker in bytes.
    pub max_message: usize,
}

impl Settings {
    /// The part of a deployment's configuration that its pool needs.
    #[must_use]
    pub fn from_config(config: &DeploymentConfig) -> Self {
        Self {
            name: config.name.clone(),
            min: config.workers.min as usize,
            max: config.workers.max as usize,
            concurrency: config.concurrency,
            queue: config.queue as usize,
            timeout: config.timeout.get(),
            load_timeout: config.load_timeout.get(),
            max_memory: config.max_memory.map(|size| size.bytes()),
            max_message: usize::try_from(config.max_message.bytes()).unwrap_or(usize::MAX),
        }
    }
}
