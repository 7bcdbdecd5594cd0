//! The breakers of a plugin as concurrent hook calls share them. A hook call holds a [`Permit`]; a permit that is
//! dropped without a result gives its trials back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::clock;
use crate::config::PluginName;
use crate::plugin::breakers::{Breakers, Change, Origin, Part};

/// The breakers of one plugin.
#[derive(Debug)]
pub(crate) struct SharedBreakers {
    plugin: PluginName,
    breakers: Mutex<Breakers>,
    /// Whether any part is in the table. Hook calls of a plugin that does not fail read this flag and do not take the
    /// lock.
    is_failing: AtomicBool,
}

/// The right to one hook call.
#[derive(Debug, Default)]
pub(crate) struct Permit {
    /// The breakers, if the plugin had failed when the hook call was admitted: then its success counts as well.
    breakers: Option<Arc<SharedBreakers>>,
    /// The parts whose trial this hook call is.
    trials: Vec<Part>,
}

impl SharedBreakers {
    pub(crate) fn new(plugin: PluginName) -> Self {
        Self { plugin, breakers: Mutex::default(), is_failing: AtomicBool::new(false) }
    }

    /// Refuses a hook call before it waits for a slot. Does not take a trial.
    pub(crate) fn check(&self, origin: Origin<'_>, now: Instant) -> Result<(), Duration> {
        if !self.is_failing.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.change(now, |breakers| breakers.check(origin, now))
    }

    /// Admits a hook call that is about to run.
    pub(crate) fn admit(self: &Arc<Self>, origin: Origin<'_>, now: Instant) -> Result<Permit, Duration> {
        if !self.is_failing.load(Ordering::Relaxed) {
            return Ok(Permit::default());
        }
        let trials = self.change(now, |breakers| breakers.admit(origin, now))?;
        Ok(Permit { breakers: Some(Arc::clone(self)), trials })
    }

    /// Settles a hook call that succeeded.
    pub(crate) fn succeed(&self, mut permit: Permit, origin: Origin<'_>, now: Instant) {
        if permit.breakers.is_some() {
            let trials = std::mem::take(&mut permit.trials);
            let changes = self.change(now, |breakers| breakers.succeed(origin, &trials, now));
            self.log(changes);
        }
    }

    /// Settles a hook call that failed.
    pub(crate) fn fail(&self, mut permit: Permit, origin: Origin<'_>, now: Instant) {
        let trials = std::mem::take(&mut permit.trials);
        let changes = self.change(now, |breakers| breakers.fail(origin, &trials, now));
        self.log(changes);
    }

    /// The parts whose breaker is open.
    pub(crate) fn open(&self, now: Instant) -> Vec<Part> {
        if !self.is_failing.load(Ordering::Relaxed) {
            return Vec::new();
        }
        self.change(now, |breakers| breakers.open().cloned().collect())
    }

    /// Forgets all failures.
    pub(crate) fn reset(&self) {
        *self.breakers.lock() = Breakers::default();
        self.is_failing.store(false, Ordering::Relaxed);
    }

    fn change<T>(&self, now: Instant, change: impl FnOnce(&mut Breakers) -> T) -> T {
        let mut breakers = self.breakers.lock();
        let forgotten = breakers.sweep(now);
        let result = change(&mut breakers);
        // Set under the lock, so that the flag agrees with the table.
        self.is_failing.store(!breakers.is_empty(), Ordering::Relaxed);
        drop(breakers);
        self.log(forgotten);
        result
    }

    fn log(&self, changes: Vec<Change>) {
        let plugin = &self.plugin;
        for change in changes {
            match change {
                Change::Opened(part, delay) => {
                    tracing::error!(%plugin, %part, ?delay, "breaker opened: the plugin failed too often");
                }
                Change::Closed(part, refused) => tracing::info!(%plugin, %part, refused, "breaker closed"),
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        #[cfg(test)]
        if crate::planted::is(crate::planted::Fault::BurntTrial) {
            return;
        }
        if let Some(shared) = self.breakers.take()
            && !self.trials.is_empty()
        {
            shared.breakers.lock().give_back(&self.trials, clock::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Origin<'static> = Origin { caller: None, deployment: "d" };

    fn failed(calls: u32, now: Instant) -> Arc<SharedBreakers> {
        let breakers = Arc::new(SharedBreakers::new(PluginName::new("p").unwrap()));
        for n in 0..calls {
            let at = now + Duration::from_secs(u64::from(n));
            let permit = breakers.admit(ORIGIN, at).unwrap();
            breakers.fail(permit, ORIGIN, at);
        }
        breakers
    }

    #[test]
    fn a_dropped_permit_gives_its_trial_back() {
        let start = Instant::now();
        let breakers = failed(5, start);
        let later = start + Duration::from_secs(5);
        let trial = breakers.admit(ORIGIN, later).unwrap();
        assert!(breakers.check(ORIGIN, later).is_err(), "one trial at a time");
        drop(trial);
        let next = breakers.admit(ORIGIN, later).unwrap();
        breakers.succeed(next, ORIGIN, later);
        assert_eq!(breakers.open(later), []);
    }

    #[test]
    fn a_plugin_that_works_again_is_not_counted_any_more() {
        let start = Instant::now();
        let breakers = failed(1, start);
        assert!(breakers.admit(ORIGIN, start).unwrap().breakers.is_some());
        let later = start + Duration::from_secs(61);
        let permit = breakers.admit(ORIGIN, later).unwrap();
        breakers.succeed(permit, ORIGIN, later);
        assert!(breakers.admit(ORIGIN, later).unwrap().breakers.is_none());
    }
}
