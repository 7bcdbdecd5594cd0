//! The overview: a line of figures for each deployment, as the dashboard and `metagate top` show it, made at most once
//! a second however many look; and the task that looks at the counters of calls once a second.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::clock;
use crate::deployment::DeploymentName;
use crate::gateway::Gateway;
use crate::gateway::async_calls::CallCounts;
use crate::gateway::deployer::Deployer;
use crate::gateway::readiness::{self, DeploymentReadiness, Reason};
use crate::metrics::history::Past;
use crate::process::usage::{self, TreeUsage};
use crate::queue::Counts;
use crate::registry::Deployment;
use crate::supervise;

/// The name of the task that looks at the counters of calls.
pub const LOOKS: &str = "call-history";
/// The time between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// An overview is shown again for so long.
const FRESH: Duration = Duration::from_millis(900);
/// The files of all processes are read again after so long.
const USAGE_FRESH: Duration = Duration::from_secs(2);

/// Looks at the counters of every deployment's calls once a second.
pub async fn look_at_calls(gateway: Arc<Gateway>) {
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        supervise::panic_point(LOOKS);
        let gateway = Arc::clone(&gateway);
        // With thousands of deployments it takes milliseconds.
        let looked = tokio::task::spawn_blocking(move || look(&gateway, clock::now()));
        let _panicked = looked.await;
    }
}

fn look(gateway: &Gateway, now: Instant) {
    for deployment in gateway.deployments() {
        if let Some(calls) = &deployment.calls {
            let snapshot = deployment.pool().map(|pool| pool.snapshot());
            calls.look(now, snapshot.is_some_and(|pool| pool.in_flight + pool.waiting > 0));
        }
    }
}

/// Every deployment at one moment.
#[derive(Debug)]
pub struct Overview {
    /// `ready`, `starting`, `degraded` or `draining`.
    pub status: &'static str,
    /// The first part of call addresses.
    pub prefix: String,
    /// The deployments with their lines, by name.
    pub deployments: BTreeMap<DeploymentName, Arc<str>>,
}

/// The line of a deployment. Figures that are not known, because metrics are off or nothing was called, are null.
#[derive(Debug, Serialize)]
struct Line<'a> {
    name: &'a str,
    /// `ready`, `starting` or `failed`.
    state: &'static str,
    /// The number of its release; none for a deployment of the configuration.
    release: Option<u64>,
    /// `configuration`, `package` or `repository`.
    origin: &'static str,
    workers: Workers,
    functions: usize,
    calls_per_second: Option<f64>,
    errors_per_second: Option<f64>,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    in_flight: usize,
    queued: usize,
    /// When a call last ran: `2026-01-31T12:00:00Z`.
    last_used: Option<String>,
    /// Resident memory of its workers in bytes.
    memory: u64,
    /// Processors that its workers use: 1.5 is one and a half. None at the first look.
    cpu: Option<f64>,
    restarts: u64,
    error: Option<Reason>,
    warnings: Vec<String>,
    /// Its asynchronous calls; none where none wait, are tried or are dead.
    #[serde(rename = "async")]
    async_calls: Option<Counts>,
    history: Minutes,
}

#[derive(Debug, Serialize)]
struct Workers {
    ready: usize,
    all: usize,
}

/// The minutes of the last hour, the current one last; minutes before the start of the gateway are left out.
#[derive(Debug, Default, Serialize)]
struct Minutes {
    calls: Vec<u64>,
    errors: Vec<u64>,
    p99_ms: Vec<Option<f64>>,
}

/// Makes overviews.
pub struct Overviews {
    deployer: Arc<Deployer>,
    /// Held while one is made, so that all who wait for it get the same.
    latest: tokio::sync::Mutex<Option<(Instant, Arc<Overview>)>>,
    usage: Arc<parking_lot::Mutex<Usage>>,
}

/// What processes use.
#[derive(Debug, Default)]
struct Usage {
    read: Option<Instant>,
    trees: BTreeMap<i32, TreeUsage>,
    /// Processors that each used between the last two readings.
    processors: HashMap<i32, f64>,
}

impl Overviews {
    /// Makes overviews of the deployments of this gateway.
    #[must_use]
    pub fn new(deployer: &Arc<Deployer>) -> Self {
        Self { deployer: Arc::clone(deployer), latest: tokio::sync::Mutex::default(), usage: Arc::default() }
    }

    /// An overview that is at most a second old.
    pub async fn current(&self) -> Arc<Overview> {
        let mut latest = self.latest.lock().await;
        if let Some((at, overview)) = &*latest
            && clock::since(*at) < FRESH
        {
            return Arc::clone(overview);
        }
        let (deployer, usage) = (Arc::clone(&self.deployer), Arc::clone(&self.usage));
        let counts = match deployer.gateway.async_calls() {
            Some(calls) => calls.counts().await,
            None => CallCounts::default(),
        };
        // The files of processes are read, and thousands of lines take milliseconds.
        let made = tokio::task::spawn_blocking(move || overview(&deployer, &mut usage.lock(), &counts));
        let overview = match made.await {
            Ok(overview) => Arc::new(overview),
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        };
        *latest = Some((clock::now(), Arc::clone(&overview)));
        overview
    }
}

impl Usage {
    fn refresh(&mut self, roots: &BTreeSet<i32>, now: Instant) {
        let elapsed = self.read.map(|read| now.saturating_duration_since(read));
        if elapsed.is_some_and(|elapsed| elapsed < USAGE_FRESH) && roots.iter().all(|id| self.trees.contains_key(id)) {
            return;
        }
        let trees = usage::of_trees(roots);
        if let Some(elapsed) = elapsed.filter(|elapsed| *elapsed >= INTERVAL) {
            let used = |id: &i32, tree: &TreeUsage| {
                let before = self.trees.get(id)?.processor;
                Some(tree.processor.saturating_sub(before).as_secs_f64() / elapsed.as_secs_f64())
            };
            self.processors = trees.iter().filter_map(|(id, tree)| Some((*id, used(id, tree)?))).collect();
        }
        (self.trees, self.read) = (trees, Some(now));
    }

    fn memory(&self, ids: &BTreeSet<i32>) -> u64 {
        ids.iter().filter_map(|id| self.trees.get(id)).map(|tree| tree.memory).sum()
    }

    fn processors(&self, ids: &BTreeSet<i32>) -> Option<f64> {
        let known: Vec<f64> = ids.iter().filter_map(|id| self.processors.get(id)).copied().collect();
        (!known.is_empty()).then(|| rounded(known.iter().sum()))
    }
}

fn overview(deployer: &Deployer, usage: &mut Usage, counts: &CallCounts) -> Overview {
    let all = deployer.gateway.deployments();
    let ids = |deployment: &Deployment| deployment.pool().map(|pool| pool.process_ids()).unwrap_or_default();
    let processes: Vec<BTreeSet<i32>> = all.iter().map(|deployment| ids(deployment)).collect();
    usage.refresh(&processes.iter().flatten().copied().collect(), clock::now());
    let lines = all.iter().zip(&processes).map(|(deployment, ids)| {
        let line = Line { async_calls: counts.get(deployment.name.as_str()).copied(), ..line(deployment, usage, ids) };
        (deployment.name.clone(), serde_json::to_string(&line).unwrap_or_default().into())
    });
    let deployments = lines.collect();
    let readiness = deployer.readiness();
    Overview { status: readiness.status, prefix: readiness.prefix, deployments }
}

fn line<'a>(deployment: &'a Deployment, usage: &Usage, ids: &BTreeSet<i32>) -> Line<'a> {
    let past = deployment.calls.as_ref().map(|calls| calls.past());
    let of_past = |read: fn(&Past) -> Option<f64>| past.as_ref().and_then(read).map(rounded);
    let exports = deployment.pool().and_then(|pool| pool.exports());
    let state = readiness::of_deployment(deployment);
    let DeploymentReadiness { status, ready_workers, workers, in_flight, waiting, restarts, .. } = state;
    let stored = deployment.stored();
    let last_used = past.as_ref().and_then(|past| past.last_used);
    Line {
        name: deployment.name.as_str(),
        state: status,
        release: stored.map(|stored| stored.number),
        origin: stored.map_or("configuration", |stored| stored.origin),
        workers: Workers { ready: ready_workers, all: workers },
        functions: exports.map_or(0, |exports| exports.functions.len()),
        calls_per_second: of_past(|past| Some(past.calls_per_second)),
        errors_per_second: of_past(|past| Some(past.errors_per_second)),
        p50_ms: of_past(|past| Some(past.p50? * 1e3)),
        p99_ms: of_past(|past| Some(past.p99? * 1e3)),
        in_flight,
        queued: waiting,
        last_used: last_used.map(|at| humantime::format_rfc3339_seconds(clock::time_of_day(at)).to_string()),
        memory: usage.memory(ids),
        cpu: usage.processors(ids),
        restarts,
        error: state.error,
        warnings: state.warnings,
        async_calls: None,
        history: past.map(|past| minutes(&past)).unwrap_or_default(),
    }
}

fn minutes(past: &Past) -> Minutes {
    Minutes {
        calls: past.minutes.iter().map(|minute| minute.calls).collect(),
        errors: past.minutes.iter().map(|minute| minute.errors).collect(),
        p99_ms: past.minutes.iter().map(|minute| minute.p99.map(|seconds| rounded(seconds * 1e3))).collect(),
    }
}

/// Three digits behind the point are enough, and make shorter lines.
fn rounded(figure: f64) -> f64 {
    (figure * 1e3).round() / 1e3
}
