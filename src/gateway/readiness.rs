//! Readiness: whether the gateway and each of its deployments and plugins can do their work, and if not, why.

use std::collections::HashSet;

use serde::Serialize;

use crate::answer::code::Code;
use crate::gateway::clustered::status::EngineStatus;
use crate::gateway::deployer::Deployer;
use crate::plugin::breakers::Part;
use crate::plugin::plugins::PluginSet;
use crate::registry::{Deployment, State};
use crate::worker::failure::{LoadFailure, LoadFailureKind};

/// The readiness of the gateway: the body of `/readyz`.
#[derive(Debug, Serialize)]
pub struct Readiness {
    /// `ready`, `starting`, `degraded` (something failed) or `draining`.
    pub status: &'static str,
    /// The first part of call addresses.
    pub prefix: String,
    /// Each deployment, the oldest first.
    pub deployments: Vec<DeploymentReadiness>,
    /// Each plugin, in the order of the chain.
    pub plugins: Vec<PluginReadiness>,
    /// Why parts of the configuration's last change are not in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reload_error: Option<String>,
    /// The NATS servers of the cluster, if the gateway is part of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<EngineStatus>,
    /// The faults of the data folder, and of the file of asynchronous calls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub storage: Vec<String>,
    /// The walls around workers that this machine cannot put up: `files`, `signals`, `system_calls`, `process_trees`,
    /// `memory`, `processes`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing_walls: Vec<&'static str>,
}

/// The readiness of one deployment.
#[derive(Debug, Serialize)]
pub struct DeploymentReadiness {
    /// Its name.
    pub name: String,
    /// `ready`, `starting` or `failed`.
    pub status: &'static str,
    /// Workers that accept calls.
    pub ready_workers: usize,
    /// Workers, ready or not.
    pub workers: usize,
    /// Calls in flight.
    pub in_flight: usize,
    /// Calls in the queue.
    pub waiting: usize,
    /// Workers that were replaced.
    pub restarts: u64,
    /// Messages that were ignored: late answers, unknown ids, unknown types.
    pub odd_messages: u64,
    /// Bytes of output that were dropped because they came too fast.
    pub dropped_log_bytes: u64,
    /// What is odd about it although it serves.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Reason>,
}

/// Why a deployment is not ready.
#[derive(Debug, Serialize)]
pub struct Reason {
    /// One of the error codes.
    pub code: &'static str,
    /// What happened.
    pub message: String,
    /// The end of the worker's standard error.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stderr: String,
}

/// The readiness of one plugin.
#[derive(Debug, Serialize)]
pub struct PluginReadiness {
    /// Its name.
    pub name: String,
    /// `ready`, `open` (it failed so often that it is not called for a while; breakers that are open for some callers
    /// or deployments only do not count), `disabled` (off
    /// until it is loaded again), `stale` (its newest version cannot be loaded, the one before runs) or `failed` (it
    /// cannot be loaded).
    pub status: &'static str,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Readiness {
    /// Removes every text that comes from workers, plugins or the machine: such texts may hold secrets.
    pub fn hide_details(&mut self) {
        let hidden = || "shown to users of the admin API".to_owned();
        for reason in self.deployments.iter_mut().filter_map(|deployment| deployment.error.as_mut()) {
            reason.message = hidden();
            reason.stderr.clear();
        }
        for warning in self.deployments.iter_mut().flat_map(|deployment| &mut deployment.warnings) {
            *warning = hidden();
        }
        for error in self.plugins.iter_mut().filter_map(|plugin| plugin.error.as_mut()) {
            *error = hidden();
        }
        if let Some(error) = &mut self.reload_error {
            *error = hidden();
        }
        if let Some(cluster) = &mut self.cluster {
            cluster.servers.clear();
            cluster.reason = cluster.reason.as_ref().map(|_| hidden());
        }
        self.storage.iter_mut().for_each(|fault| *fault = hidden());
    }

    /// Whether the status is `ready`.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.status == "ready"
    }
}

impl Deployer {
    /// The readiness of the gateway.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let all = self.gateway.registry.all();
        let mut deployments: Vec<_> = all.iter().map(|deployment| of_deployment(deployment)).collect();
        deployments.reverse();
        // A deployment whose first deploy failed has never served a call: its failure does not degrade the gateway.
        let in_service: HashSet<&str> = all
            .iter()
            .filter(|deployment| self.was_in_service(deployment))
            .map(|deployment| deployment.name.as_str())
            .collect();
        let mut storage = self.store.faults();
        let any = |status| {
            let mut deployments = deployments.iter();
            deployments.any(|deployment| deployment.status == status && in_service.contains(deployment.name.as_str()))
        };
        let cluster = self.cluster.as_ref().map(|cluster| EngineStatus::of(cluster));
        let needs_cluster = self.cluster.as_ref().is_some_and(|cluster| cluster.config.required);
        let is_cut_off = needs_cluster && cluster.as_ref().is_some_and(|cluster| !cluster.is_reached());
        let status = if self.gateway.is_stopping() {
            "draining"
        } else if any("failed") || !storage.is_empty() || is_cut_off {
            "degraded"
        } else if any("starting") {
            "starting"
        } else {
            "ready"
        };
        // Plain calls go on, so it does not change the status.
        let queue = self.gateway.async_calls().and_then(|calls| calls.queue.figures.fault());
        storage.extend(queue.map(|fault| format!("the file of asynchronous calls is not usable: {fault}")));
        Readiness {
            status,
            prefix: self.gateway.prefix.as_str().to_owned(),
            deployments,
            plugins: of_plugins(&self.gateway.plugins()),
            reload_error: self.reloads.failure(),
            cluster,
            storage,
            missing_walls: self.gateway.walls().iter().filter(|wall| !wall.up).map(|wall| wall.name).collect(),
        }
    }

    fn was_in_service(&self, deployment: &Deployment) -> bool {
        let record = || self.store.record(deployment.name.as_str());
        deployment.stored().is_none() || record().is_some_and(|record| record.live.is_some())
    }
}

/// The readiness of every plugin: those in service in the order of the chain, then those that cannot be loaded.
pub(super) fn of_plugins(set: &PluginSet) -> Vec<PluginReadiness> {
    let failure = |name: &str| set.failed.iter().find(|failed| failed.settings.name.as_str() == name);
    let running = set.plugins.iter().map(|plugin| {
        let (status, error) = match failure(plugin.name()) {
            _ if plugin.is_disabled() => ("disabled", Some("it made the WebAssembly engine fail".to_owned())),
            _ if plugin.open_parts().contains(&Part::Whole) => {
                ("open", Some("it failed too often for several callers and deployments: see the log".to_owned()))
            }
            Some(failed) => ("stale", Some(failed.reason.clone())),
            None => ("ready", None),
        };
        PluginReadiness { name: plugin.name().to_owned(), status, error }
    });
    let failed = set.failed.iter().filter(|failed| !failed.keeps_old).map(|failed| PluginReadiness {
        name: failed.settings.name.as_str().to_owned(),
        status: "failed",
        error: Some(failed.reason.clone()),
    });
    running.chain(failed).collect()
}

/// The readiness of a deployment.
pub(super) fn of_deployment(deployment: &Deployment) -> DeploymentReadiness {
    let mut readiness = DeploymentReadiness {
        name: deployment.name.as_str().to_owned(),
        status: "failed",
        ready_workers: 0,
        workers: 0,
        in_flight: 0,
        waiting: 0,
        restarts: 0,
        odd_messages: 0,
        dropped_log_bytes: deployment.logs.dropped(),
        warnings: Vec::new(),
        error: None,
    };
    match &deployment.state {
        State::Pending => readiness.status = "starting",
        State::Failed(failure) => readiness.error = Some(reason(failure, false)),
        State::Running(pool) => {
            let snapshot = pool.snapshot();
            readiness.ready_workers = snapshot.ready;
            readiness.workers = snapshot.workers;
            readiness.in_flight = snapshot.in_flight;
            readiness.waiting = snapshot.waiting;
            readiness.restarts = snapshot.restarts;
            readiness.odd_messages = snapshot.odd_messages;
            readiness.warnings = pool.exports().map(|exports| exports.warnings.clone()).unwrap_or_default();
            readiness.status = match (&snapshot.failure, snapshot.ready) {
                (_, 1..) => "ready",
                (Some(_), 0) => "failed",
                (None, 0) => "starting",
            };
            readiness.error = match snapshot.failure {
                Some(failure) => Some(reason(&failure, snapshot.crash_loop)),
                None => deployment.loaded_folder().and_then(|folder| folder.rejection()).map(|failure| {
                    let message = format!("changed files do not load, the release before serves: {}", failure.message);
                    Reason { message, ..reason(&failure, false) }
                }),
            };
        }
    }
    readiness
}

fn reason(failure: &LoadFailure, crash_loop: bool) -> Reason {
    let code = match failure.kind {
        LoadFailureKind::Died if crash_loop => Code::CrashLoop.as_str(),
        kind => kind.code(),
    };
    Reason { code, message: failure.message.clone(), stderr: failure.stderr.clone() }
}
