//! What is deployed and how it does: the list that MetaCall's clients read, and the readiness with its reasons.

use std::collections::{BTreeMap, HashSet};

use std::sync::atomic::Ordering;

use serde::Serialize;
use serde_json::Value;

use crate::config::HookName;
use crate::gateway::{Gateway, VERSION};
use crate::registry::{Live, Serving};
use crate::worker::outcome::{LoadFailure, LoadFailureKind};

/// A deployment in the form of MetaCall's protocol.
#[derive(Debug, Serialize)]
pub struct Inspected {
    /// `ready`, `create` while it starts, or `fail`.
    pub status: &'static str,
    /// First part of its addresses.
    pub prefix: String,
    /// Its name.
    pub suffix: String,
    /// Always `v1`.
    pub version: &'static str,
    /// language → scripts → functions.
    pub packages: Value,
    /// Always empty; MetaCall's clients expect it.
    pub ports: [u16; 0],
    /// The number of its release; none for deployments of the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<u64>,
    /// `package` or `repository`; none for deployments of the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<&'static str>,
    /// What load hooks of plugins have said about it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Reason>,
}

/// Why something is not ready.
#[derive(Debug, Serialize)]
pub struct Reason {
    /// One of the error codes.
    pub code: &'static str,
    /// What happened.
    pub message: String,
    /// The last of what the worker wrote to standard error.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stderr: String,
}

/// Whether the gateway can do its work, and each deployment's part in that.
#[derive(Debug, Serialize)]
pub struct Readiness {
    /// `ready`, `starting`, `degraded` (something failed) or `draining`.
    pub status: &'static str,
    /// First part of call addresses.
    pub prefix: String,
    /// Each deployment.
    pub deployments: Vec<DeploymentReadiness>,
    /// Each plugin, in the order of the chain.
    pub plugins: Vec<PluginReadiness>,
    /// What of the configuration's last change is not in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reload_error: Option<String>,
    /// What is wrong with the data folder.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub storage: Vec<String>,
}

/// One plugin's state.
#[derive(Debug, Serialize)]
pub struct PluginReadiness {
    /// Its name.
    pub name: String,
    /// `ready`, `open` (it failed so often that it is not asked for a while), `disabled` (off until it is loaded again),
    /// `stale` (its newest version cannot be loaded, the one before runs) or `failed` (it cannot be loaded).
    pub status: &'static str,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One deployment's readiness.
#[derive(Debug, Serialize)]
pub struct DeploymentReadiness {
    /// Its name.
    pub name: String,
    /// `ready`, `starting` or `failed`.
    pub status: &'static str,
    /// Workers that answer.
    pub ready_workers: usize,
    /// Workers, ready or not.
    pub workers: usize,
    /// Calls in flight.
    pub in_flight: usize,
    /// Calls that wait for a worker.
    pub waiting: usize,
    /// Workers that were replaced.
    pub restarts: u64,
    /// Messages that were ignored: late answers, unknown ids, unknown types.
    pub odd_messages: u64,
    /// Bytes of output that came too fast to keep.
    pub dropped_log_bytes: u64,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Reason>,
}

/// A plugin in full.
#[derive(Debug, Serialize)]
pub struct InspectedPlugin {
    /// Name, status and why.
    #[serde(flatten)]
    pub state: PluginReadiness,
    /// The SHA-256 of its file.
    pub sha256: String,
    /// Hooks that it takes part in.
    pub hooks: Vec<&'static str>,
    /// `enforce` or `observe`.
    pub mode: &'static str,
    /// Hook calls since it was loaded.
    pub calls: u64,
    /// Of these, those that trapped, took too long or answered nonsense.
    pub failures: u64,
    /// Verdicts other than going on.
    pub refusals: u64,
    /// Verdicts that were not carried out, in observe mode.
    pub observed: u64,
    /// Mean time of a hook call in microseconds.
    pub mean_microseconds: f64,
    /// Instances made since it was loaded.
    pub instances: u64,
    /// Its own counters.
    pub counters: BTreeMap<String, u64>,
}

impl InspectedPlugin {
    /// One that does not run.
    fn failed(state: PluginReadiness) -> Self {
        Self {
            state,
            sha256: String::new(),
            hooks: Vec::new(),
            mode: "",
            calls: 0,
            failures: 0,
            refusals: 0,
            observed: 0,
            mean_microseconds: 0.0,
            instances: 0,
            counters: BTreeMap::new(),
        }
    }
}

impl Readiness {
    /// Leaves out the words that workers, plugins and the machine have said: they may hold secrets.
    pub fn leave_details_out(&mut self) {
        let hidden = || "told to those who have the admin token".to_owned();
        for reason in self.deployments.iter_mut().filter_map(|deployment| deployment.error.as_mut()) {
            reason.message = hidden();
            reason.stderr.clear();
        }
        for error in self.plugins.iter_mut().filter_map(|plugin| plugin.error.as_mut()) {
            *error = hidden();
        }
        if let Some(error) = &mut self.reload_error {
            *error = hidden();
        }
        self.storage.iter_mut().for_each(|fault| *fault = hidden());
    }

    /// Whether everything is as it should be.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.status == "ready"
    }
}

impl Gateway {
    /// Every deployment that has loaded or failed, the newest first.
    #[must_use]
    pub fn inspect(&self) -> Vec<Inspected> {
        self.registry.all().iter().filter_map(|live| self.inspect_one(live)).collect()
    }

    fn inspect_one(&self, live: &Live) -> Option<Inspected> {
        let state = readiness_of(live);
        let packages = match &live.serving {
            Serving::Pool(pool) => pool.exports().map(|exports| exports.packages.clone()),
            Serving::Refused(_) | Serving::Waiting => None,
        };
        let status = match (state.status, &packages) {
            ("failed", _) => "fail",
            (_, Some(_)) => "ready",
            (_, None) => return None,
        };
        Some(Inspected {
            status,
            prefix: self.prefix.as_str().to_owned(),
            suffix: live.name.as_str().to_owned(),
            version: VERSION,
            packages: packages.unwrap_or_else(|| Value::Object(serde_json::Map::new())),
            ports: [],
            release: live.stored.map(|stored| stored.release),
            origin: live.stored.map(|stored| stored.origin),
            labels: live.labels.lock().clone(),
            error: state.error,
        })
    }

    /// Whether every deployment can be called.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let all = self.registry.all();
        let mut deployments: Vec<_> = all.iter().map(|live| readiness_of(live)).collect();
        deployments.reverse();
        // What was never in service is for whoever deploys it to look at: everything else works.
        let counts: HashSet<&str> =
            all.iter().filter(|live| self.was_in_service(live)).map(|live| live.name.as_str()).collect();
        let storage = self.store.faults();
        let any = |status| {
            deployments
                .iter()
                .any(|deployment| deployment.status == status && counts.contains(deployment.name.as_str()))
        };
        let status = if self.is_draining() {
            "draining"
        } else if any("failed") || !storage.is_empty() {
            "degraded"
        } else if any("starting") {
            "starting"
        } else {
            "ready"
        };
        Readiness {
            status,
            prefix: self.prefix.as_str().to_owned(),
            deployments,
            plugins: self.plugin_states(),
            reload_error: self.reload_failure.load().as_deref().cloned(),
            storage,
        }
    }

    fn was_in_service(&self, live: &Live) -> bool {
        live.stored.is_none() || self.store.record(live.name.as_str()).is_some_and(|record| record.live.is_some())
    }

    /// Every plugin, in the order of the chain.
    #[must_use]
    pub fn inspect_plugins(&self) -> Vec<InspectedPlugin> {
        let set = self.plugins.current();
        let inspected = self.plugin_states().into_iter().zip(&set.plugins).map(|(state, plugin)| {
            let figures = &plugin.figures;
            let calls = figures.calls.load(Ordering::Relaxed);
            let nanoseconds = figures.nanoseconds.load(Ordering::Relaxed);
            InspectedPlugin {
                state,
                sha256: plugin.surface.sha256_text(),
                hooks: HookName::ALL.iter().filter(|hook| plugin.has(**hook)).map(|hook| hook.as_str()).collect(),
                mode: plugin.settings.mode.as_str(),
                calls,
                failures: figures.failures.load(Ordering::Relaxed),
                refusals: figures.refusals.load(Ordering::Relaxed),
                observed: figures.observed.load(Ordering::Relaxed),
                mean_microseconds: (nanoseconds / calls.max(1)) as f64 / 1000.0,
                instances: figures.instances.load(Ordering::Relaxed),
                counters: plugin.counters(),
            }
        });
        let failed = self.plugin_states().into_iter().skip(set.plugins.len());
        inspected.chain(failed.map(InspectedPlugin::failed)).collect()
    }

    fn plugin_states(&self) -> Vec<PluginReadiness> {
        let set = self.plugins.current();
        let failure = |name: &str| set.failed.iter().find(|failed| failed.settings.name.as_str() == name);
        let running = set.plugins.iter().map(|plugin| {
            let (status, error) = match failure(plugin.name()) {
                _ if plugin.is_disabled() => ("disabled", Some("it made the WebAssembly engine fail".to_owned())),
                _ if plugin.is_open() => ("open", Some("it failed five times in ten seconds: see the log".to_owned())),
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
}

fn readiness_of(live: &Live) -> DeploymentReadiness {
    let mut readiness = DeploymentReadiness {
        name: live.name.as_str().to_owned(),
        status: "failed",
        ready_workers: 0,
        workers: 0,
        in_flight: 0,
        waiting: 0,
        restarts: 0,
        odd_messages: 0,
        dropped_log_bytes: live.logs.dropped(),
        error: None,
    };
    match &live.serving {
        Serving::Waiting => readiness.status = "starting",
        Serving::Refused(failure) => readiness.error = Some(reason(failure, false)),
        Serving::Pool(pool) => {
            let snapshot = pool.snapshot();
            readiness.ready_workers = snapshot.ready;
            readiness.workers = snapshot.workers;
            readiness.in_flight = snapshot.in_flight;
            readiness.waiting = snapshot.waiting;
            readiness.restarts = snapshot.restarts;
            readiness.odd_messages = snapshot.odd_messages;
            readiness.status = match (&snapshot.failure, snapshot.ready) {
                (_, 1..) => "ready",
                (Some(_), 0) => "failed",
                (None, 0) => "starting",
            };
            readiness.error = snapshot.failure.map(|failure| reason(&failure, snapshot.crash_loop));
        }
    }
    readiness
}

fn reason(failure: &LoadFailure, crash_loop: bool) -> Reason {
    let code = match failure.kind {
        LoadFailureKind::Died if crash_loop => "crash_loop",
        kind => kind.code(),
    };
    Reason { code, message: failure.message.clone(), stderr: failure.stderr.clone() }
}
