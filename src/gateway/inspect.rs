//! What is deployed and how it does: the list that MetaCall's clients read, and the readiness with its reasons.

use serde::Serialize;
use serde_json::Value;

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

impl Readiness {
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
            Serving::Refused(_) => None,
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
            error: state.error,
        })
    }

    /// Whether every deployment can be called.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let mut deployments: Vec<_> = self.registry.all().iter().map(|live| readiness_of(live)).collect();
        deployments.reverse();
        let any = |status| deployments.iter().any(|deployment| deployment.status == status);
        let status = if self.is_draining() {
            "draining"
        } else if any("failed") {
            "degraded"
        } else if any("starting") {
            "starting"
        } else {
            "ready"
        };
        Readiness { status, prefix: self.prefix.as_str().to_owned(), deployments }
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
        LoadFailureKind::Spawn => "spawn_failed",
        LoadFailureKind::Load => "load_failed",
        LoadFailureKind::Timeout => "load_timeout",
        LoadFailureKind::Died if crash_loop => "crash_loop",
        LoadFailureKind::Died => "worker_crashed",
    };
    Reason { code, message: failure.message.clone(), stderr: failure.stderr.clone() }
}
