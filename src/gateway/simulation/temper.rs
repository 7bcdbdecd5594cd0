//! What a run is made of: how its workers behave, how large its pool is, and how often each thing happens. Each run has
//! its own, so that some have crashes without end and others crowds of calls.

use std::time::Duration;

use fastrand::Rng;

use crate::config::{DeploymentConfig, Timeout, Workers};

/// The behaviour of the workers of a run. The figures are probabilities of one turn of one worker.
#[derive(Debug, Clone)]
pub(super) struct Temper {
    /// It reads.
    pub(super) reads: f64,
    /// It has loaded what it was told to load.
    pub(super) loads: f64,
    /// It answers a call that it has received.
    pub(super) answers: f64,
    /// It reads or writes a few bytes only.
    pub(super) splits: f64,
    /// An answer is an error.
    pub(super) throws: f64,
    /// It answers a second time.
    pub(super) repeats: f64,
    /// It hangs, dies, closes its channel or says what it should not.
    pub(super) misbehaves: f64,
    /// Workers answer probes.
    pub(super) answers_probes: bool,
    /// The start of a process fails.
    pub(super) fails_to_start: f64,
    /// The start of a process panics.
    pub(super) panics: f64,
    /// A file of the deployment changes, in a step.
    pub(super) changes: f64,
    /// A deployment is replaced or removed, in a step.
    pub(super) deploys: f64,
    /// A worker is killed, in a step.
    pub(super) kills: f64,
    /// Time passes, in a step.
    pub(super) waits: f64,
    /// The longest time that passes in one step.
    pub(super) longest_wait: Duration,
}

impl Temper {
    /// The behaviour of a run.
    pub(super) fn of(rng: &mut Rng) -> Self {
        // Half of the runs lack a kind of trouble at all.
        let mut rarely = |most: f64| if rng.bool() { 0.0 } else { rng.f64() * most };
        let (throws, repeats, misbehaves) = (rarely(0.3), rarely(0.3), rarely(0.1));
        let (fails_to_start, panics) = (rarely(0.5), rarely(0.1));
        let (changes, deploys, kills) = (rarely(0.1), rarely(0.06), rarely(0.15));
        let splits = rarely(1.0);
        Self {
            reads: 0.3 + 0.7 * rng.f64(),
            loads: if rng.bool() { 1.0 } else { 0.02 + 0.3 * rng.f64() },
            answers: rng.f64(),
            splits,
            throws,
            repeats,
            misbehaves,
            answers_probes: rng.bool(),
            fails_to_start,
            panics,
            changes,
            deploys,
            kills,
            waits: 0.1 + 0.4 * rng.f64(),
            longest_wait: Duration::from_millis(10 << rng.u32(..14)),
        }
    }

    /// The behaviour of workers without faults.
    pub(super) fn good() -> Self {
        Self {
            reads: 1.0,
            loads: 1.0,
            answers: 1.0,
            splits: 0.0,
            throws: 0.0,
            repeats: 0.0,
            misbehaves: 0.0,
            answers_probes: true,
            fails_to_start: 0.0,
            panics: 0.0,
            changes: 0.0,
            deploys: 0.0,
            kills: 0.0,
            waits: 1.0,
            longest_wait: Duration::from_secs(1),
        }
    }

    /// Whether workers behave as they should.
    pub(super) fn is_good(&self) -> bool {
        self.reads >= 1.0
    }

    /// Whether files of this version do not load.
    pub(super) fn is_broken(version: u64) -> bool {
        version.is_multiple_of(5)
    }

    /// Changes the limits of a deployment.
    pub(super) fn limit(config: &mut DeploymentConfig, rng: &mut Rng) {
        let min = rng.u32(1..=2);
        config.workers = Workers { min, max: min + rng.u32(..3) };
        config.concurrency = rng.u32(1..=4);
        config.queue = rng.u32(..8);
        config.timeout = Timeout::milliseconds(rng.u64(50..40_000));
        config.load_timeout = Timeout::milliseconds(rng.u64(500..60_000));
    }
}
