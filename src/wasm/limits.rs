//! The bound on what one store's instances take: memory summed over all their memories, tables, instances.

use std::sync::Arc;

use wasmtime::ResourceLimiter;

use crate::wasm::budget::MemoryBudget;

/// Elements of one table.
pub const TABLE_ELEMENTS: usize = 100_000;
/// Core instances of one component: a Python component has 23.
const INSTANCES: usize = 64;
const MEMORIES: usize = 16;
const TABLES: usize = 64;
/// Bytes of one element of a table.
const ELEMENT: usize = size_of::<usize>();

/// Counts what a store takes and refuses what is beyond.
#[derive(Debug)]
pub struct Limits {
    max_memory: usize,
    memory: usize,
    elements: usize,
    /// The budget of all instances, if there is one; and the bytes taken from it.
    budget: Option<Arc<MemoryBudget>>,
    taken: usize,
    /// Whether something was refused for its memory.
    pub refused_memory: bool,
}

impl Limits {
    /// Allows `max_memory` bytes, summed over all memories.
    #[must_use]
    pub fn new(max_memory: u64) -> Self {
        let max_memory = usize::try_from(max_memory).unwrap_or(usize::MAX);
        Self { max_memory, memory: 0, elements: 0, budget: None, taken: 0, refused_memory: false }
    }

    /// The same limits; memories and tables are also taken from a budget.
    #[must_use]
    pub fn within(self, budget: Arc<MemoryBudget>) -> Self {
        Self { budget: Some(budget), ..self }
    }

    /// Bytes in use.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// Takes bytes from the budget. The error traps: code that gets memory refused, and goes on, could give another
    /// verdict under load than at other times.
    fn take(&mut self, bytes: usize) -> wasmtime::Result<()> {
        if let Some(budget) = &self.budget {
            budget.take(bytes)?;
            self.taken += bytes;
        }
        Ok(())
    }
}

impl Drop for Limits {
    fn drop(&mut self) {
        if let Some(budget) = &self.budget {
            budget.give_back(self.taken);
        }
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let memory = self.memory.saturating_add(desired - current);
        if memory > self.max_memory {
            self.refused_memory = true;
            return Ok(false);
        }
        // The engine refuses growth beyond the memory's own maximum after this, so it must not be counted.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.take(desired - current)?;
        self.memory = memory;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let elements = self.elements.saturating_add(desired - current);
        if elements > TABLE_ELEMENTS || maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.take((desired - current) * ELEMENT)?;
        self.elements = elements;
        Ok(true)
    }

    fn instances(&self) -> usize {
        INSTANCES
    }

    fn tables(&self) -> usize {
        TABLES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_summed_over_memories() {
        let mut limits = Limits::new(100);
        assert!(limits.memory_growing(0, 60, None).unwrap());
        assert!(!limits.memory_growing(0, 60, None).unwrap());
        assert!(limits.memory_growing(60, 90, None).unwrap());
        assert_eq!((limits.memory(), limits.refused_memory), (90, true));
    }

    #[test]
    fn growth_is_taken_from_the_budget_and_given_back_at_the_end() {
        let budget = Arc::new(MemoryBudget::new(100));
        let new = || Limits::new(1_000).within(Arc::clone(&budget));
        let (mut first, mut second) = (new(), new());
        assert!(first.memory_growing(0, 60, None).unwrap() && second.table_growing(0, 3, None).unwrap());
        assert!(!first.memory_growing(60, 70, Some(65)).unwrap(), "beyond its own maximum");
        assert_eq!(budget.used(), 60 + 3 * ELEMENT);
        let error = second.memory_growing(0, 60, None).unwrap_err();
        assert!(error.is::<crate::wasm::budget::BudgetExceeded>());
        drop(first);
        assert!(second.memory_growing(0, 60, None).unwrap());
        drop(second);
        assert_eq!(budget.used(), 0);
    }
}
