//! Every bound on a guest. Each is a field with a default, and none can be switched off.

use std::time::Duration;

use super::component_limits::ComponentLimits;

/// The bounds of an engine and of the calls that run on it.
///
/// The first group sizes the engine and counts once for each process; the second may differ from function to
/// function on the same engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallLimits {
    /// Calls that run at the same time; further ones wait for a slot. Default 32.
    pub calls_at_once_max: u32,
    /// The largest memory that any function on this engine may be given. Default 256 MiB (JavaScript and Python
    /// guests carry an interpreter).
    pub memory_bytes_ceiling: usize,
    /// Linear memories in one component. Default 4.
    pub memories_max: u32,
    /// Tables in one component. Default 32.
    pub tables_max: u32,
    /// Core instances in one component. Default 64 (a Python component has about 40).
    pub instances_max: u32,
    /// Elements of all tables of a call together. Default 50,000.
    pub table_elements_max: usize,
    /// Stack of a guest. Default 512 KiB.
    pub wasm_stack_bytes: usize,
    /// Stack of the fiber that a call runs on, guest and host functions together. Default 1 MiB.
    pub fiber_stack_bytes: usize,
    /// Memory that a slot keeps (zeroed) between calls instead of giving it back to the system. Default 4 MiB: a batch of
    /// 1,000 events of a kilobyte, in and out.
    pub slot_resident_bytes: usize,
    /// Reset slots by asking the kernel which pages are dirty (Linux 6.7). Upstream still evaluates it, and a slot that
    /// is not reset leaks one tenant's events to the next, so it is off by default.
    pub pagemap_scan: bool,
    /// Whether a trap names files and lines where a component carries them; they are kept in memory, so a server has it
    /// off.
    pub trap_lines: bool,
    /// How often the ticker looks at running guests. Default 5 ms.
    pub tick: Duration,
    /// Size of a component, checked before a byte of it is parsed. Default 32 MiB (Python's own part takes 19 MB).
    pub component_bytes_max: usize,
    /// How much of everything a component may have, checked before it is compiled.
    pub component_limits: ComponentLimits,

    /// Calls of one instance before it is thrown away. Default 1: a fresh instance for every call.
    pub calls_per_instance_max: u32,
    /// Memory of one call, all its linear memories together. Default 64 MiB; at most `memory_bytes_ceiling`.
    pub memory_bytes_max: usize,
    /// CPU time of one call: this much for the call itself. Default 20 ms.
    pub cpu_base: Duration,
    /// ... and this much more for each event of the batch. Default 0.5 ms.
    pub cpu_per_event: Duration,
    /// ... and never more than this. Default 1 s.
    pub cpu_max: Duration,
    /// Wall-clock time of one call. A guest has nothing to wait for, so only a starved machine comes near. Default 10 s.
    pub wall_max: Duration,
    /// What a guest may hand to the host in one go: this many bytes at least. Default 1 MiB.
    pub output_bytes_min: usize,
    /// ... or this many times the bytes of the batch, when that is more. Default 4.
    pub output_per_input: usize,
    /// Events that may come of one event. Default 1,000.
    pub emitted_events_max: usize,
    /// One log line. Default 1 KiB.
    pub log_line_bytes_max: usize,
    /// Log lines of one run. Default 100; further ones are only counted.
    pub log_lines_max: usize,
    /// All log lines of one run. Default 16 KiB; further ones are only counted.
    pub log_bytes_max: usize,
    /// Names of counters of one run. Default 32; further ones are ignored.
    pub counter_names_max: usize,

    /// Events of one call. Default 500.
    pub batch_events_max: usize,
    /// Bytes of one call; an event that is larger alone goes alone. Default 4 MiB.
    pub batch_bytes_max: usize,
    /// How often a run tries again when the guest says that the batch is worth it, or the machine stood still. Default 2.
    pub retries_max: u32,
    /// The longest pause that a guest may ask for before such a retry. Default 1 s.
    pub retry_wait_max: Duration,
    /// Poison events that a run looks for one by one. Default 16; it bounds the attempts at
    /// `2 * (log2(events) + 1)` for each.
    pub poison_events_max: u32,
    /// CPU time that a run may spend on looking for poison events. Default 2 s. (Its wall time is bounded by `wall_max`
    /// once more.)
    pub isolation_cpu_max: Duration,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            calls_at_once_max: 32,
            memory_bytes_ceiling: 256 << 20,
            memories_max: 4,
            tables_max: 32,
            instances_max: 64,
            table_elements_max: 50_000,
            wasm_stack_bytes: 512 << 10,
            fiber_stack_bytes: 1 << 20,
            slot_resident_bytes: 4 << 20,
            pagemap_scan: false,
            trap_lines: false,
            tick: Duration::from_millis(5),
            component_bytes_max: 32 << 20,
            component_limits: ComponentLimits::default(),

            calls_per_instance_max: 1,
            memory_bytes_max: 64 << 20,
            cpu_base: Duration::from_millis(20),
            cpu_per_event: Duration::from_micros(500),
            cpu_max: Duration::from_secs(1),
            wall_max: Duration::from_secs(10),
            output_bytes_min: 1 << 20,
            output_per_input: 4,
            emitted_events_max: 1_000,
            log_line_bytes_max: 1 << 10,
            log_lines_max: 100,
            log_bytes_max: 16 << 10,
            counter_names_max: 32,

            batch_events_max: 500,
            batch_bytes_max: 4 << 20,
            retries_max: 2,
            retry_wait_max: Duration::from_secs(1),
            poison_events_max: 16,
            isolation_cpu_max: Duration::from_secs(2),
        }
    }
}

impl CallLimits {
    /// The CPU budget of a call with `events` events.
    #[must_use]
    pub fn cpu_budget(&self, events: usize) -> Duration {
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        self.cpu_base.saturating_add(self.cpu_per_event.saturating_mul(events)).min(self.cpu_max)
    }

    /// The bytes that a guest may hand over in one go when its batch has `input_bytes`.
    #[must_use]
    pub fn output_budget_bytes(&self, input_bytes: usize) -> usize {
        input_bytes.saturating_mul(self.output_per_input).max(self.output_bytes_min)
    }

    /// The memory of one call, never above what the slots of `engine` hold.
    pub(super) fn memory_bytes(&self, engine: &Self) -> usize {
        self.memory_bytes_max.min(engine.memory_bytes_ceiling)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_grow_with_the_batch_and_stop_at_their_cap() {
        let limits = CallLimits::default();
        assert_eq!(limits.cpu_budget(0), Duration::from_millis(20));
        assert_eq!(limits.cpu_budget(100), Duration::from_millis(70));
        assert_eq!(limits.cpu_budget(usize::MAX), Duration::from_secs(1));
        assert_eq!(limits.output_budget_bytes(10), 1 << 20);
        assert_eq!(limits.output_budget_bytes(1 << 20), 4 << 20);
        assert_eq!(limits.output_budget_bytes(usize::MAX), usize::MAX);
    }
}
