//! The settings of one pool, taken from the configuration of its deployment.

use std::time::Duration;

use crate::config::{ArgumentOrder, DeploymentConfig, Handler};
use crate::deployment::DeploymentName;

/// The settings of a pool.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The deployment's name.
    pub name: DeploymentName,
    /// Seats that the pool always keeps filled.
    pub min: usize,
    /// Seats at most; the pool grows up to this number while calls wait.
    pub max: usize,
    /// Calls in flight per worker at most.
    pub concurrency: u32,
    /// Calls that may wait for a lease; one more is refused as overloaded.
    pub queue: usize,
    /// Timeout of a call, from dispatch to answer.
    pub timeout: Duration,
    /// How long a stream may pass without an item.
    pub stream_idle: Duration,
    /// The web app that its workers serve, if one is named.
    pub app: Option<String>,
    /// The form of the handler that its workers serve, if it is not metagate's own.
    pub handler: Option<Handler>,
    /// Timeout of a load, from the start of the process to MetaData.
    pub load_timeout: Duration,
    /// Whether calls carry the names of their arguments to workers that accept them.
    pub names: bool,
    /// Memory limit of each worker, in bytes.
    pub max_memory: Option<u64>,
    /// Share of the processors of each worker, relative to other workers.
    pub cpu_weight: u32,
    /// Longest line that a worker may send, in bytes.
    pub max_message: usize,
}

impl Settings {
    /// Takes the settings of a pool from the configuration of its deployment.
    #[must_use]
    pub fn from_config(config: &DeploymentConfig) -> Self {
        Self {
            name: config.name.clone(),
            min: config.workers.min as usize,
            max: config.workers.max as usize,
            concurrency: config.concurrency,
            queue: config.queue as usize,
            timeout: config.timeout.get(),
            stream_idle: config.stream_idle_timeout.get(),
            app: config.app.clone(),
            handler: config.handler,
            load_timeout: config.load_timeout.get(),
            names: config.arguments == ArgumentOrder::Names,
            max_memory: config.max_memory.map(|size| size.bytes()),
            cpu_weight: config.cpu_weight,
            max_message: usize::try_from(config.max_message.bytes()).unwrap_or(usize::MAX),
        }
    }
}
