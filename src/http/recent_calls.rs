//! The last calls of each deployment, for people who look for one of them. Errors and slow calls have rings of their
//! own: they are kept longer than the calls that went well. How a ring is bounded is left to `ring`.

mod kept_call;
mod pace;
mod ring;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

pub use self::kept_call::{CallOf, KeptCall, Kind, kept_name, kept_path};
pub use self::ring::Numbered;
use self::ring::{Filter, Ring, share};
use crate::clock;
use crate::deployment::DeploymentName;
use crate::metrics::calls::Ended;

/// Deployments, those that were removed included, whose calls are kept. The least recently called is forgotten first.
const DEPLOYMENTS: usize = if cfg!(test) { 200 } else { 4096 };

/// The last calls of every deployment.
#[derive(Debug)]
pub struct RecentCalls {
    /// A call whose answer began after this is slow.
    slow: Duration,
    /// From when on the paces of deployments count.
    since: Instant,
    rings: ArcSwap<HashMap<DeploymentName, Arc<Ring>>>,
    /// Of calls of what is not deployed.
    nowhere: Ring,
    /// The number of the next call.
    next: AtomicU64,
}

/// Which calls are looked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Those of this deployment alone.
    pub deployment: Option<&'a str>,
    /// Those of this kind, or all.
    pub kind: Option<Kind>,
    /// Those from this number on.
    pub from: u64,
    /// The newest of them, at most so many.
    pub limit: usize,
}

impl RecentCalls {
    /// Keeps calls from now on. `slow`: a call whose answer begins later than this is slow.
    #[must_use]
    pub fn new(slow: Duration) -> Self {
        Self { slow, since: clock::now(), rings: ArcSwap::default(), nowhere: Ring::default(), next: AtomicU64::new(0) }
    }

    /// The time after which a call is slow.
    #[must_use]
    pub fn slow(&self) -> Duration {
        self.slow
    }

    /// Whether a call that ends at this time is to be kept: each that failed or was slow is, and of the others as many
    /// as people can follow.
    #[must_use]
    pub fn takes(&self, deployment: &DeploymentName, ended: &Ended, now: Instant) -> bool {
        let passed = u64::try_from(now.saturating_duration_since(self.since).as_nanos()).unwrap_or(u64::MAX);
        let takes = || self.rings.load().get(deployment.as_str()).is_none_or(|ring| ring.pace.takes(passed));
        Kind::of(ended, self.slow) != Kind::Ordinary || takes()
    }

    /// Keeps a call.
    pub fn keep(&self, call: KeptCall) {
        let kind = call.kind(self.slow);
        let call = Arc::new(call);
        let Some(name) = &call.of.deployment else {
            return self.nowhere.keep(call, kind, &self.next, share(1));
        };
        let rings = self.rings.load();
        let share = share(rings.len());
        match rings.get(name.as_str()) {
            Some(ring) => ring.keep(Arc::clone(&call), kind, &self.next, share),
            None => {
                let ring = self.add_ring(name);
                ring.keep(Arc::clone(&call), kind, &self.next, share);
            }
        }
    }

    /// Calls newest first, of the deployments that `may_see` allows; it is asked about none for calls of what is not
    /// deployed. The number is that of the call.
    pub fn list(&self, wanted: Wanted<'_>, may_see: impl Fn(Option<&str>) -> bool) -> Vec<Numbered> {
        // Calls that get their numbers from here on may be kept while others are looked through: the next look has
        // them.
        let Wanted { deployment, kind, from, limit } = wanted;
        let filter = Filter { kind, slow: self.slow, numbers: from..self.end(), limit };
        let mut found = Vec::new();
        let rings = self.rings.load();
        for (name, ring) in rings.iter() {
            if deployment.is_none_or(|only| only == name.as_str()) && may_see(Some(name.as_str())) {
                ring.list(&filter, &mut found);
            }
        }
        if deployment.is_none() && may_see(None) {
            self.nowhere.list(&filter, &mut found);
        }
        found.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
        found.truncate(limit);
        found
    }

    /// The newest call with this request id, of the deployments that `may_see` allows.
    pub fn find(&self, id: &str, may_see: impl Fn(Option<&str>) -> bool) -> Option<Numbered> {
        let rings = self.rings.load();
        let seen = rings.iter().filter(|(name, _)| may_see(Some(name.as_str()))).map(|(_, ring)| &**ring);
        let all = seen.chain(may_see(None).then_some(&self.nowhere));
        all.filter_map(|ring| ring.find(id)).max_by_key(|(number, _)| *number)
    }

    /// The number that the next call will have.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.next.load(Ordering::SeqCst)
    }

    /// The ring of a deployment, added if it has none.
    fn add_ring(&self, name: &DeploymentName) -> Arc<Ring> {
        let mut added = Arc::default();
        self.rings.rcu(|rings| {
            if let Some(ring) = rings.get(name.as_str()) {
                added = Arc::clone(ring);
                return Arc::clone(rings);
            }
            let mut rings = HashMap::clone(rings);
            if rings.len() >= DEPLOYMENTS {
                let oldest = rings.iter().min_by_key(|(_, ring)| ring.newest()).map(|(name, _)| name.clone());
                rings.remove(oldest.as_ref().map_or("", DeploymentName::as_str));
            }
            rings.insert(name.clone(), Arc::clone(&added));
            Arc::new(rings)
        });
        // The others' shares have become smaller.
        let rings = self.rings.load();
        for ring in rings.values() {
            ring.shrink(share(rings.len()));
        }
        added
    }
}

#[cfg(test)]
mod tests;
