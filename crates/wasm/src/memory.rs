//! What an instance may allocate.

use wasmtime::ResourceLimiter;

use super::limits::CallLimits;

/// What an instance may allocate, all memories and all tables of a call together.
pub(super) struct GuestMemory {
    pub(super) bytes_max: usize,
    elements_max: usize,
    instances_max: usize,
    tables_max: usize,
    memories_max: usize,
    bytes: usize,
    elements: usize,
    pub(super) peak_bytes: usize,
    /// The growth allowed last, taken back should it fail after all.
    last_growth_bytes: usize,
    pub(super) refused: bool,
}

impl GuestMemory {
    pub(super) fn new(limits: &CallLimits, engine: &CallLimits) -> Self {
        Self {
            bytes_max: limits.memory_bytes(engine),
            elements_max: limits.table_elements_max,
            instances_max: limits.instances_max as usize,
            tables_max: limits.tables_max as usize,
            memories_max: limits.memories_max as usize,
            bytes: 0,
            elements: 0,
            peak_bytes: 0,
            last_growth_bytes: 0,
            refused: false,
        }
    }
}

impl ResourceLimiter for GuestMemory {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current);
        let total = self.bytes.saturating_add(growth);
        if total > self.bytes_max {
            self.refused = true;
            return Ok(false);
        }
        self.bytes = total;
        self.last_growth_bytes = growth;
        self.peak_bytes = self.peak_bytes.max(total);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.bytes = self.bytes.saturating_sub(self.last_growth_bytes);
        self.last_growth_bytes = 0;
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.elements.saturating_add(desired.saturating_sub(current));
        let allowed = total <= self.elements_max;
        if allowed {
            self.elements = total;
        } else {
            self.refused = true;
        }
        Ok(allowed)
    }

    fn instances(&self) -> usize {
        self.instances_max
    }

    fn tables(&self) -> usize {
        self.tables_max
    }

    fn memories(&self) -> usize {
        self.memories_max
    }
}
