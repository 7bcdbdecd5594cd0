//! One run: a gateway with its deployments, the steps that the generator chooses, and the checks after each.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::task::{JoinHandle, yield_now};

use crate::clock;
use crate::config::{DeploymentConfig, Isolation, RuntimeKind};
use crate::deployment::{DeploymentName, Takes};
use crate::gateway::Gateway;
use crate::gateway::call::Call;
use crate::gateway::deployer::Deployer;
use crate::gateway::simulation::hooks::Hooks;
use crate::gateway::simulation::machine::Machine;
use crate::gateway::simulation::stage::{FILE, RELEASE, Stage};
use crate::gateway::simulation::temper::Temper;
use crate::invocation::Arguments;
use crate::worker::pool::Snapshot;

/// Rounds of the runtime after which nothing moves any more: a round runs every task that can run, then looks for
/// input, output and timers.
const ROUNDS: usize = 4;
/// Changes of deployments that run at once.
const CHANGES: usize = 3;
/// How long a pool may lack a seat whose supervisor has panicked: the longest delay before it starts again.
const PANIC: Duration = Duration::from_secs(6);

/// A run.
pub(super) struct World {
    pub(super) stage: Arc<Stage>,
    pub(super) gateway: Arc<Gateway>,
    pub(super) deployer: Arc<Deployer>,
    pub(super) hooks: Hooks,
    pub(super) configs: Vec<DeploymentConfig>,
    callers: Vec<(u64, JoinHandle<()>)>,
    changing: Arc<AtomicUsize>,
    deploys: u64,
    versions: Vec<u64>,
}

impl World {
    /// A gateway with one or two deployments, whose workers are starting.
    pub(super) async fn new(machine: &Machine, stage: Arc<Stage>) -> Self {
        let gateway = machine.gateway(Arc::clone(&stage) as _);
        let deployer = machine.deployer(Arc::clone(&gateway));
        let mut rng = stage.rng.lock().fork();
        let names = &["one", "two"][..rng.usize(1..=2)];
        let configs = names.iter().map(|name| config(machine, name, &mut rng)).collect();
        let hooks = Hooks::new(&mut rng);
        let versions = vec![1; names.len()];
        let (callers, changing) = (Vec::new(), Arc::default());
        let mut world = Self { stage, gateway, deployer, hooks, configs, callers, changing, deploys: 0, versions };
        for index in 0..world.configs.len() {
            world.write(index, 1);
            let config = world.next_config(index);
            world.deployer.deploy_configured(config).await;
        }
        world
    }

    /// Does what the generator chooses, lets everything settle, and checks.
    pub(super) async fn step(&mut self) {
        let temper = self.stage.temper.lock().clone();
        let index = self.stage.rng.lock().usize(..self.configs.len());
        if self.stage.happens(temper.kills) {
            self.stage.kill_one();
        }
        if self.stage.happens(temper.changes) {
            self.change_files(index);
        }
        if self.stage.happens(temper.deploys) && self.changing.load(Ordering::Relaxed) < CHANGES {
            self.change_deployment(index);
        }
        if self.stage.happens(0.05) {
            self.leave_caller();
        }
        if self.stage.happens(temper.waits) {
            let time = temper.longest_wait.mul_f64(self.stage.rng.lock().f64().powi(3));
            self.pass(time).await;
        } else {
            let calls = self.stage.rng.lock().usize(1..4);
            for _ in 0..calls {
                self.call(index);
            }
            self.turn().await;
        }
    }

    /// Lets time pass, in a few parts.
    pub(super) async fn pass(&mut self, time: Duration) {
        let end = clock::now() + time;
        loop {
            let left = end.saturating_duration_since(clock::now());
            let part = left.mul_f64(0.3 + 0.7 * self.stage.rng.lock().f64()).max(Duration::from_millis(1)).min(left);
            tokio::time::advance(part).await;
            self.turn().await;
            if left <= part {
                return;
            }
        }
    }

    /// A turn of every worker, and what follows from it.
    async fn turn(&mut self) {
        self.stage.act();
        for _ in 0..ROUNDS {
            yield_now().await;
        }
        self.check();
    }

    fn call(&mut self, index: usize) {
        let name = self.configs[index].name.as_str().to_owned();
        let Some(deployment) = self.gateway.deployment(&name) else { return };
        let deadline = deployment.deadline(clock::now());
        let hook = {
            let mut rng = self.stage.rng.lock();
            (rng.u8(..) < 50).then(|| self.hooks.fate(&mut rng)).map(|fate| self.hooks.run(name.clone(), fate))
        };
        let (stage, gateway) = (Arc::clone(&self.stage), Arc::clone(&self.gateway));
        let nonce = self.stage.history.lock().begin_call(&name, deadline);
        let caller = tokio::spawn(async move {
            if let Some(hook) = hook {
                let end = tokio::time::timeout_at(deadline.into(), hook).await.unwrap_or("hook timed out");
                stage.history.lock().note(end, &name, nonce);
                if end != "hook succeeded" {
                    return stage.history.lock().leave_call(nonce);
                }
            }
            let call = Call {
                function: "f",
                takes: Takes::Arguments,
                arguments: Arguments::from_checked(Bytes::from(format!("[{nonce}]"))),
                request_id: "simulated",
                method: "POST",
                target: None,
                peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
                headers: HeaderMap::new(),
                started: clock::now(),
                deadline,
                callers: Vec::new(),
                mcp: None,
                timeline: None,
            };
            let outcome = gateway.call(&deployment, call).await;
            stage.history.lock().end_call(nonce, &outcome);
        });
        self.callers.retain(|(_, caller)| !caller.is_finished());
        self.callers.push((nonce, caller));
    }

    /// One of the callers leaves.
    fn leave_caller(&mut self) {
        if self.callers.is_empty() {
            return;
        }
        let (nonce, caller) = self.callers.swap_remove(self.stage.rng.lock().usize(..self.callers.len()));
        caller.abort();
        self.stage.history.lock().leave_call(nonce);
    }

    fn write(&mut self, index: usize, version: u64) {
        self.versions[index] = version;
        let text = vec![b'x'; usize::try_from(version).unwrap()];
        fs::write(self.configs[index].path.join(FILE), text).unwrap();
    }

    fn change_files(&mut self, index: usize) {
        let version = self.versions[index] + 1;
        self.stage.history.lock().note("files change", self.configs[index].name.as_str(), version);
        self.stage.history.lock().has_changes = true;
        self.write(index, version);
    }

    fn next_config(&mut self, index: usize) -> DeploymentConfig {
        self.deploys += 1;
        let mut config = self.configs[index].clone();
        config.env.insert(RELEASE.to_owned(), serde_json::from_value(self.deploys.to_string().into()).unwrap());
        config
    }

    /// Replaces or removes a deployment, or takes its change lock.
    fn change_deployment(&mut self, index: usize) {
        let (stage, deployer, name) =
            (Arc::clone(&self.stage), Arc::clone(&self.deployer), self.configs[index].name.clone());
        let changing = Changing::begin(&self.changing);
        self.stage.history.lock().has_changes = true;
        let kind = self.stage.rng.lock().u8(..8);
        let time = Duration::from_millis(self.stage.rng.lock().u64(..3_000));
        let config = self.next_config(index);
        self.stage.history.lock().note("change", name.as_str(), kind.into());
        tokio::spawn(async move {
            let _changing = changing;
            match kind {
                0 => {
                    deployer.undeploy(name.as_str()).await;
                    stage.history.lock().note("undeployed", name.as_str(), 0);
                }
                1 | 2 => hold_lock(&stage, &deployer, &name, time).await,
                _ => {
                    let replaced = deployer.redeploy(config).await.is_ok();
                    let end = if replaced { "redeployed" } else { "redeploy failed" };
                    stage.history.lock().note(end, name.as_str(), 0);
                }
            }
        });
    }

    /// Deploys what is missing or does not load, so that the run can end in good order.
    pub(super) async fn mend(&mut self) {
        if self.changing.load(Ordering::Relaxed) > 0 {
            return;
        }
        for index in 0..self.configs.len() {
            if Temper::is_broken(self.versions[index]) {
                self.change_files(index);
            }
            if self.gateway.deployment(self.configs[index].name.as_str()).is_none() {
                let config = self.next_config(index);
                self.deployer.deploy_configured(config).await;
            }
        }
    }

    /// Whether every call has ended, no change runs, and each pool has its workers.
    pub(super) fn is_quiet(&self) -> bool {
        let is_quiet = |config: &DeploymentConfig| {
            let snapshot = self.snapshot(config);
            snapshot.is_some_and(|snapshot| {
                snapshot.ready >= config.workers.min as usize && snapshot.in_flight == 0 && snapshot.waiting == 0
            })
        };
        self.stage.history.lock().is_quiet()
            && self.changing.load(Ordering::Relaxed) == 0
            && self.configs.iter().all(is_quiet)
    }

    fn snapshot(&self, config: &DeploymentConfig) -> Option<Snapshot> {
        Some(self.gateway.deployment(config.name.as_str())?.pool()?.snapshot())
    }

    /// Finds what must not be at any moment at which nothing moves.
    pub(super) fn check(&self) {
        let mut findings = Vec::new();
        let lacks_seats = self.stage.panicked.lock().is_some_and(|at| clock::since(at) < PANIC);
        for config in &self.configs {
            let Some(Snapshot { ready, workers, in_flight, waiting, .. }) = self.snapshot(config) else { continue };
            let (name, concurrency) = (&config.name, config.concurrency as usize);
            if workers > config.workers.max as usize || (workers < config.workers.min as usize && !lacks_seats) {
                findings.push(format!("{name} has {workers} seats of {:?}", config.workers));
            }
            if in_flight > ready * concurrency {
                findings.push(format!("{in_flight} calls are in flight on {ready} workers of {name}"));
            }
            if waiting > config.queue as usize {
                findings.push(format!("{waiting} calls of {name} wait in a queue of {}", config.queue));
            }
            if waiting > 0 && in_flight < ready * concurrency {
                findings.push(format!("{waiting} calls of {name} wait although a worker is free"));
            }
        }
        findings.extend(self.check_releases());
        let names: Vec<String> = self.configs.iter().map(|config| config.name.as_str().to_owned()).collect();
        findings.extend(self.hooks.check(&names));
        let mut history = self.stage.history.lock();
        history.check_deadlines();
        findings.into_iter().for_each(|finding| history.find(finding));
    }

    /// The workers of a pool serve one version, and a name has those of two releases at most: the old and the new one.
    fn check_releases(&self) -> Option<String> {
        let actors = self.stage.actors.lock();
        self.configs.iter().find_map(|config| {
            let own = actors.iter().map(|actor| actor.lock());
            let alive = own.filter(|actor| actor.serves && actor.deployment == config.name.as_str());
            let serving: BTreeSet<_> =
                alive.map(|actor| (actor.release, actor.pool, actor.ended().is_some())).collect();
            let releases: BTreeSet<(u64, u64)> = serving.iter().map(|(release, ..)| *release).collect();
            let mut pools = BTreeMap::new();
            let mut serves_another = |&((_, version), pool, has_ended): &((u64, u64), usize, bool)| {
                !has_ended && *pools.entry(pool).or_insert(version) != version
            };
            let is_mixed = serving.iter().any(&mut serves_another);
            (is_mixed || releases.len() > 2).then(|| format!("{} has the workers of {releases:?}", config.name))
        })
    }
}

/// A change that runs until this is dropped.
struct Changing(Arc<AtomicUsize>);

impl Changing {
    fn begin(changing: &Arc<AtomicUsize>) -> Self {
        changing.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(changing))
    }
}

impl Drop for Changing {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Holds the change lock of a name. Nothing may change the deployment meanwhile.
async fn hold_lock(stage: &Stage, deployer: &Deployer, name: &DeploymentName, time: Duration) {
    let Some(lock) = deployer.change_locks.acquire(name.as_str()).await else { return };
    let sequence = || deployer.gateway.deployment(name.as_str()).map(|deployment| deployment.sequence);
    let before = sequence();
    tokio::time::sleep(time).await;
    let mut history = stage.history.lock();
    history.note("lock held", name.as_str(), 0);
    if sequence() != before && !history.stops {
        history.find(format!("{name} was changed while another change had its lock"));
    }
    drop(lock);
}

fn config(machine: &Machine, name: &str, rng: &mut fastrand::Rng) -> DeploymentConfig {
    let folder = machine.folder_of(name);
    fs::create_dir_all(&folder).unwrap();
    let mut config = DeploymentConfig::new(DeploymentName::new(name).unwrap(), folder);
    config.runtime = Some(RuntimeKind::Command);
    // Any program that exists: it is not run.
    config.command = Some(vec!["/proc/self/exe".to_owned()]);
    config.isolation = Isolation::None;
    Temper::limit(&mut config, rng);
    config
}
