//! The hook calls of a run: those of a scripted plugin, in front of calls. The breakers are those of plugins; what runs
//! between admission and result is chosen by the generator.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fastrand::Rng;

use crate::clock;
use crate::config::PluginName;
use crate::plugin::breakers::Origin;
use crate::plugin::trial::SharedBreakers;

/// The longest delay before a trial.
const LONGEST: Duration = Duration::from_secs(60);
/// Clients that call.
const CALLERS: u8 = 3;

/// How one hook call goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fate {
    caller: u8,
    takes: Duration,
    fails: bool,
}

/// The breakers of the scripted plugin.
pub(super) struct Hooks {
    breakers: Arc<SharedBreakers>,
    running: Arc<AtomicUsize>,
    /// How often its hooks fail.
    failures: f64,
}

impl Hooks {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let breakers = Arc::new(SharedBreakers::new(PluginName::new("scripted").unwrap()));
        Self { breakers, running: Arc::default(), failures: if rng.bool() { 0.0 } else { rng.f64() } }
    }

    /// How the next hook call will go.
    pub(super) fn fate(&self, rng: &mut Rng) -> Fate {
        let takes = Duration::from_millis(if rng.bool() { 0 } else { rng.u64(..2_000) });
        Fate { caller: rng.u8(..CALLERS), takes, fails: rng.f64() < self.failures }
    }

    /// Runs a hook in front of a call of `deployment`. Returns what has become of it. If it is dropped, its caller has
    /// left.
    pub(super) fn run(&self, deployment: String, fate: Fate) -> impl Future<Output = &'static str> + use<> {
        let (breakers, running) = (Arc::clone(&self.breakers), Arc::clone(&self.running));
        async move {
            let origin = Origin { caller: Some(address(fate.caller)), deployment: &deployment };
            let Ok(permit) = breakers.admit(origin, clock::now()) else { return "hook refused" };
            // The permit is dropped before it: a caller that leaves gives its trial back first.
            let (_running, permit) = (Running::begin(running), permit);
            tokio::time::sleep(fate.takes).await;
            if fate.fails {
                breakers.fail(permit, origin, clock::now());
            } else {
                breakers.succeed(permit, origin, clock::now());
            }
            if fate.fails { "hook failed" } else { "hook succeeded" }
        }
    }

    /// Finds a breaker that refuses hook calls although its delay is over and none of them runs: it waits for a trial
    /// that has ended.
    pub(super) fn check(&self, deployments: &[String]) -> Option<String> {
        if self.running.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let waits = (0..CALLERS).flat_map(|caller| deployments.iter().map(move |name| (caller, name)));
        for (caller, deployment) in waits {
            match self.wait(caller, deployment) {
                Some(Duration::ZERO) => {
                    return Some(format!("hook calls of caller {caller} to {deployment} wait for no trial"));
                }
                Some(wait) if wait > LONGEST => return Some(format!("a breaker refuses hook calls for {wait:?}")),
                _ => {}
            }
        }
        None
    }

    /// How long the hook calls of a caller are refused.
    fn wait(&self, caller: u8, deployment: &str) -> Option<Duration> {
        self.breakers.check(Origin { caller: Some(address(caller)), deployment }, clock::now()).err()
    }
}

/// A hook call that runs until this is dropped.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn begin(running: Arc<AtomicUsize>) -> Self {
        running.fetch_add(1, Ordering::Relaxed);
        Self(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn address(caller: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, caller))
}
