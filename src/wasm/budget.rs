//! One budget for the memory of all instances of all plugins. An instance takes what its memories and tables grow by,
//! and gives all of it back when it is dropped. When the budget is used up, idle instances are evicted, the one that
//! has been idle longest first; only then growth is refused.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::Mutex;

/// Growth was refused because the budget is used up by instances that run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the memory of all instances would exceed its budget")]
pub struct BudgetExceeded;

/// A set of instances of which some are idle.
pub trait IdleInstances: Send + Sync {
    /// Bytes of all idle instances.
    fn idle_bytes(&self) -> usize;
    /// When the one that has been idle longest became idle; `None` if none is idle.
    fn idle_since(&self) -> Option<Instant>;
    /// Drops the one that has been idle longest.
    fn evict(&self);
}

/// A budget of bytes and its use.
pub struct MemoryBudget {
    limit: AtomicUsize,
    used: AtomicUsize,
    evicted: AtomicU64,
    holders: Mutex<Vec<Weak<dyn IdleInstances>>>,
}

impl fmt::Debug for MemoryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBudget").field("limit", &self.limit).field("used", &self.used).finish_non_exhaustive()
    }
}

impl MemoryBudget {
    /// An unused budget.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        let budget = Self { limit: 0.into(), used: 0.into(), evicted: 0.into(), holders: Mutex::default() };
        budget.set_limit(limit);
        budget
    }

    /// Changes the limit. Bytes in use beyond it stay in use; only growth is refused.
    pub fn set_limit(&self, limit: u64) {
        self.limit.store(usize::try_from(limit).unwrap_or(usize::MAX), Ordering::Relaxed);
    }

    /// The limit in bytes.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Bytes in use.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Idle instances that were dropped because others needed their memory.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Makes the idle instances of a set ones that can be evicted.
    pub fn add(&self, holder: Weak<dyn IdleInstances>) {
        let mut holders = self.holders.lock();
        holders.retain(|holder| holder.strong_count() > 0);
        holders.push(holder);
    }

    /// Takes `bytes`, for which it evicts idle instances if that is enough.
    pub(super) fn take(&self, bytes: usize) -> Result<(), BudgetExceeded> {
        if self.take_free(bytes) {
            return Ok(());
        }
        let holders: Vec<Arc<dyn IdleInstances>> = self.holders.lock().iter().filter_map(Weak::upgrade).collect();
        let idle = holders.iter().fold(0_usize, |sum, holder| sum.saturating_add(holder.idle_bytes()));
        // Eviction that is not enough would only cost the next calls.
        if self.used().saturating_sub(idle).saturating_add(bytes) > self.limit() {
            return Err(BudgetExceeded);
        }
        while !self.take_free(bytes) {
            let oldest =
                holders.iter().filter_map(|holder| Some((holder.idle_since()?, holder))).min_by_key(|(at, _)| *at);
            // Other calls may have taken the memory or the instances.
            let (_, holder) = oldest.ok_or(BudgetExceeded)?;
            holder.evict();
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn take_free(&self, bytes: usize) -> bool {
        let limit = self.limit();
        let more = |used: usize| used.checked_add(bytes).filter(|used| *used <= limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    pub(super) fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Idle instances of these sizes, the oldest first.
    struct Idle {
        budget: Arc<MemoryBudget>,
        sizes: Mutex<Vec<(Instant, usize)>>,
    }

    impl IdleInstances for Idle {
        fn idle_bytes(&self) -> usize {
            self.sizes.lock().iter().map(|(_, size)| size).sum()
        }

        fn idle_since(&self) -> Option<Instant> {
            self.sizes.lock().first().map(|(at, _)| *at)
        }

        fn evict(&self) {
            let (_, size) = self.sizes.lock().remove(0);
            self.budget.give_back(size);
        }
    }

    fn with_idle(sizes: [&[usize]; 2]) -> (Arc<MemoryBudget>, [Arc<Idle>; 2]) {
        let budget = Arc::new(MemoryBudget::new(100));
        let now = Instant::now();
        let holders = sizes.map(|sizes| {
            let sizes = sizes.iter().map(|size| (now + std::time::Duration::from_secs(*size as u64), *size)).collect();
            let holder = Arc::new(Idle { budget: Arc::clone(&budget), sizes: Mutex::new(sizes) });
            budget.take(holder.idle_bytes()).unwrap();
            let weak = Arc::downgrade(&holder);
            budget.add(weak);
            holder
        });
        (budget, holders)
    }

    #[test]
    fn growth_within_the_limit_is_counted_and_beyond_it_refused() {
        let budget = MemoryBudget::new(100);
        assert_eq!((budget.take(60), budget.take(41), budget.take(40)), (Ok(()), Err(BudgetExceeded), Ok(())));
        budget.give_back(60);
        assert_eq!((budget.used(), budget.take(61)), (40, Err(BudgetExceeded)));
        budget.set_limit(101);
        assert_eq!(budget.take(61), Ok(()));
    }

    #[test]
    fn idle_instances_are_evicted_the_longest_idle_of_all_sets_first() {
        let (budget, [first, second]) = with_idle([&[10, 40], &[20, 30]]);
        assert_eq!(budget.take(25), Ok(()));
        assert_eq!((first.idle_bytes(), second.idle_bytes()), (40, 30));
        assert_eq!((budget.used(), budget.evicted()), (95, 2));
    }

    #[test]
    fn nothing_is_evicted_if_that_is_not_enough() {
        let (budget, [first, second]) = with_idle([&[10], &[20]]);
        budget.take(60).unwrap();
        assert_eq!(budget.take(41), Err(BudgetExceeded));
        assert_eq!((first.idle_bytes(), second.idle_bytes(), budget.used()), (10, 20, 90));
        drop(second);
        assert_eq!(budget.take(20), Ok(()), "10 bytes were free and 10 idle");
    }
}
