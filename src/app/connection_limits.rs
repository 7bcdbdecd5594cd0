//! How many connections each listener accepts, so that connections, workers and the gateway's own files fit into the
//! process's limit of open files.

use rustix::process::{Resource, getrlimit};

use crate::config::Config;
use crate::http::connection::accept::{self, ConnectionLimits};
use crate::http::connection::stream::Deadlines;

/// Maximum number of connections by default, however many files may be open.
const MAX_DEFAULT: u64 = 16 * 1024;
/// Minimum number of connections by default.
const MIN_DEFAULT: u64 = 16;
/// Connections of a separate admin listener: they keep the API reachable while clients use up all connections for
/// calls.
const ADMIN: u64 = 64;
/// Descriptors of a worker in the gateway: channel, standard output, standard error, pidfd.
const PER_WORKER: u64 = 4;
/// Descriptors of the gateway itself: listeners, log files, the data folder's lock, watchers, the runtime, reserved
/// connections.
const OWN: u64 = 32 + accept::RESERVED as u64;

/// The limits of both listeners.
#[derive(Debug, Clone, Copy)]
pub(super) struct ListenerLimits {
    /// The listener for calls.
    pub(super) calls: ConnectionLimits,
    /// The separate admin listener, if there is one.
    pub(super) admin: ConnectionLimits,
}

/// The limits of both listeners. Warns once if they do not fit with the workers of `stored` stored deployments and of
/// those in the configuration.
pub(super) fn connection_limits(config: &Config, stored: usize) -> ListenerLimits {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let budget = Budget::new(config, stored, descriptors);
    let needed = budget.needed();
    if needed > descriptors {
        let Budget { calls, admin, workers } = budget;
        let connections = calls + admin;
        tracing::warn!(
            descriptors,
            needed,
            workers,
            connections,
            "limit of open files is too low for all workers and connections"
        );
    }
    let deadlines = Deadlines { head: config.server.header_timeout.get(), idle: config.server.idle_timeout.get() };
    let limits =
        |connections| ConnectionLimits { connections: usize::try_from(connections).unwrap_or(usize::MAX), deadlines };
    ListenerLimits { calls: limits(budget.calls), admin: limits(budget.admin) }
}

/// The uses of the process's descriptors.
#[derive(Debug, PartialEq, Eq)]
struct Budget {
    calls: u64,
    admin: u64,
    workers: u64,
}

impl Budget {
    fn new(config: &Config, stored: usize, descriptors: u64) -> Self {
        // The other half is for workers and files.
        let by_default = || (descriptors / 2).clamp(MIN_DEFAULT, MAX_DEFAULT);
        let configured = config.deployments.iter().map(|deployment| u64::from(deployment.workers.max));
        Self {
            calls: config.server.max_connections.map_or_else(by_default, u64::from),
            admin: if config.admin.listen.is_some() { ADMIN } else { 0 },
            workers: configured.sum::<u64>() + stored as u64 * u64::from(config.deploy.workers.max),
        }
    }

    fn needed(&self) -> u64 {
        self.calls + self.admin + PER_WORKER * self.workers + OWN
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::config::{DeploymentConfig, Listen, Workers};
    use crate::deployment::DeploymentName;

    fn config() -> Config {
        let mut deployment = DeploymentConfig::new(DeploymentName::new("math").unwrap(), "math".into());
        deployment.workers = Workers { min: 1, max: 3 };
        Config { deployments: vec![deployment], ..Config::default() }
    }

    #[test]
    fn workers_of_stored_deployments_need_descriptors_too() {
        let mut config = config();
        config.deploy.workers = Workers { min: 1, max: 5 };
        config.server.max_connections = Some(100);
        let budget = Budget::new(&config, 2, 1024);
        assert_eq!(budget, Budget { calls: 100, admin: 0, workers: 3 + 2 * 5 });
        assert_eq!(budget.needed(), 100 + 4 * 13 + 48);
    }

    #[test]
    fn an_admin_listener_does_not_double_the_connections() {
        let mut config = config();
        config.admin.listen = Some(Listen::from(SocketAddr::from(([127, 0, 0, 1], 9001))));
        let Budget { calls, admin, .. } = Budget::new(&config, 0, 1024);
        assert_eq!((calls, admin), (512, 64));
    }

    #[test]
    fn the_default_is_half_of_the_descriptors_within_bounds() {
        for (descriptors, calls) in [(8, 16), (1024, 512), (1 << 20, 16 * 1024)] {
            assert_eq!(Budget::new(&config(), 0, descriptors).calls, calls);
        }
    }
}
