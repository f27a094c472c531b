//! The one room that knows wasmtime.
//!
//! Nouns: the **engine** (one for the process: pooling allocator, epochs), a **module** (a component that passed the
//! gates and was compiled), **limits** (every bound on a guest, none of them optional), a **call** (one batch on an
//! instance of its own, which is gone afterwards).
//!
//! Guarantees: a guest sees only `tidegate:plugin/host`; no file, network, environment, clock or randomness exists for
//! it. Its CPU time, wall time, memory, tables, stack, what it hands back and what it logs are bounded; breaking a bound
//! costs that call and nothing else. No state survives a call.

mod call;
mod engine;
mod host;
mod module;

use std::time::Duration;

pub use call::{Break, Called, Line, Stats};
pub use engine::{Engine, EngineError};
pub use module::{LoadError, Module};

/// The guest's side of the boundary, generated from `wit/plugin.wit`.
pub mod bindings {
    #![allow(clippy::all, missing_docs, reason = "generated code")]
    wasmtime::component::bindgen!({
        path: "wit",
        world: "transform",
        exports: { default: async },
    });
}

/// Every bound on a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of one instance; JavaScript and Python guests want 256 MiB, which is the most there is.
    pub memory_bytes_max: usize,
    /// Elements of one table.
    pub table_elements_max: usize,
    /// Core instances, tables and memories of one component.
    pub instances_max: usize,
    pub tables_max: usize,
    pub memories_max: usize,
    /// CPU time of a call: this, plus `cpu_event` for each event, but no more than `cpu_call_max`.
    pub cpu_call: Duration,
    pub cpu_event: Duration,
    pub cpu_call_max: Duration,
    /// Wall time of a call.
    pub wall_call_max: Duration,
    /// What a guest may hand to the host in a call: this, or `output_ratio_max` times its input if that is more.
    pub output_bytes_min: usize,
    pub output_ratio_max: usize,
    /// Size of a component before compiling.
    pub component_bytes_max: usize,
    pub log_line_bytes_max: usize,
    pub log_lines_max: usize,
    pub log_bytes_max: usize,
    /// Events and bytes of one call; larger batches are split.
    pub call_events_max: usize,
    pub call_bytes_max: usize,
    /// CPU and wall time that finding the events behind a broken batch may take.
    pub bisect_max: Duration,
}

/// Linear memory that no function can exceed: what a slot of the pool reserves.
pub const MEMORY_BYTES_MAX: usize = 256 << 20;

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes_max: 64 << 20,
            table_elements_max: 50_000,
            instances_max: 32,
            tables_max: 32,
            memories_max: 4,
            cpu_call: Duration::from_millis(20),
            cpu_event: Duration::from_micros(500),
            cpu_call_max: Duration::from_secs(1),
            wall_call_max: Duration::from_secs(2),
            output_bytes_min: 1 << 20,
            output_ratio_max: 4,
            component_bytes_max: 20 << 20,
            log_line_bytes_max: 1 << 10,
            log_lines_max: 100,
            log_bytes_max: 16 << 10,
            call_events_max: 500,
            call_bytes_max: 4 << 20,
            bisect_max: Duration::from_secs(5),
        }
    }
}
