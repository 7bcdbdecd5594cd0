//! The bound on what one store's instances take: memory summed over all their memories, tables, instances.

use wasmtime::ResourceLimiter;

/// Elements of one table.
pub const TABLE_ELEMENTS: usize = 100_000;
/// Core instances of one component: a Python component has 23.
const INSTANCES: usize = 64;
const MEMORIES: usize = 16;
const TABLES: usize = 64;

/// Counts what a store takes and refuses what is beyond.
#[derive(Debug)]
pub struct Limits {
    max_memory: usize,
    memory: usize,
    elements: usize,
    /// Whether something was refused for its memory.
    pub refused_memory: bool,
}

impl Limits {
    /// Allows `max_memory` bytes, summed over all memories.
    #[must_use]
    pub fn new(max_memory: u64) -> Self {
        let max_memory = usize::try_from(max_memory).unwrap_or(usize::MAX);
        Self { max_memory, memory: 0, elements: 0, refused_memory: false }
    }

    /// Bytes in use.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.memory
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let memory = self.memory.saturating_add(desired - current);
        let allowed = memory <= self.max_memory;
        if allowed {
            self.memory = memory;
        } else {
            self.refused_memory = true;
        }
        Ok(allowed)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let elements = self.elements.saturating_add(desired - current);
        let allowed = elements <= TABLE_ELEMENTS;
        if allowed {
            self.elements = elements;
        }
        Ok(allowed)
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
}
