//! The breaker as concurrent hook calls share it. A hook call holds a [`Permit`]; a permit that is dropped without a
//! result gives its trial back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::plugin::breaker::Breaker;

/// The breaker of one plugin.
#[derive(Debug, Default)]
pub(super) struct SharedBreaker {
    breaker: Mutex<Breaker>,
    /// Whether the breaker is not closed. Hook calls of a plugin that works read this flag and do not take the lock.
    is_open: AtomicBool,
}

/// The right to one hook call.
#[derive(Debug)]
pub(super) struct Permit {
    /// Set if this hook call is the trial.
    trial: Option<Arc<SharedBreaker>>,
}

impl SharedBreaker {
    pub(super) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    /// Refuses a hook call before it waits for a slot. Does not take the trial.
    pub(super) fn check(&self, now: Instant) -> Result<(), Duration> {
        if !self.is_open() {
            return Ok(());
        }
        self.breaker.lock().refusal(now).map_or(Ok(()), Err)
    }

    /// Admits a hook call that is about to run.
    pub(super) fn admit(self: &Arc<Self>, now: Instant) -> Result<Permit, Duration> {
        if !self.is_open() {
            return Ok(Permit { trial: None });
        }
        let mut breaker = self.breaker.lock();
        breaker.admit(now)?;
        // The breaker may have closed since the flag was read; then this hook call is not the trial.
        let is_trial = !breaker.is_closed();
        drop(breaker);
        Ok(Permit { trial: is_trial.then(|| Arc::clone(self)) })
    }

    /// Settles a hook call that succeeded. Returns whether that closed the breaker.
    pub(super) fn succeed(&self, mut permit: Permit) -> bool {
        if permit.trial.take().is_none() {
            return false;
        }
        let mut breaker = self.breaker.lock();
        let closed = breaker.succeed();
        if closed {
            self.is_open.store(false, Ordering::Relaxed);
        }
        closed
    }

    /// Settles a hook call that failed. Returns the delay if that opened the breaker.
    pub(super) fn fail(&self, mut permit: Permit, now: Instant) -> Option<Duration> {
        let is_trial = permit.trial.take().is_some();
        let mut breaker = self.breaker.lock();
        // A hook call that started before the breaker opened must not settle the trial that runs now.
        if !is_trial && !breaker.is_closed() {
            return None;
        }
        let delay = breaker.fail(now);
        if delay.is_some() {
            self.is_open.store(true, Ordering::Relaxed);
        }
        delay
    }

    /// Forgets all failures.
    pub(super) fn reset(&self) {
        *self.breaker.lock() = Breaker::default();
        self.is_open.store(false, Ordering::Relaxed);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(breaker) = self.trial.take() {
            breaker.breaker.lock().give_back(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_permit_gives_its_trial_back() {
        let breaker = Arc::new(SharedBreaker::default());
        let start = Instant::now();
        for _ in 0..5 {
            let permit = breaker.admit(start).unwrap();
            breaker.fail(permit, start);
        }
        let later = start + Duration::from_secs(1);
        let trial = breaker.admit(later).unwrap();
        assert!(breaker.check(later).is_err(), "one trial at a time");
        drop(trial);
        let next = breaker.admit(later).unwrap();
        assert!(breaker.succeed(next));
        assert!(!breaker.is_open());
    }
}
