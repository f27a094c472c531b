//! One engine for the process, and the clock of its epochs.

use std::num::NonZeroUsize;
use std::time::Duration;

use wasmtime::{Config, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::MEMORY_BYTES_MAX;

/// How often a running guest is looked at.
pub(super) const TICK: Duration = Duration::from_millis(5);

/// Instances at once. Calls beyond it fail with a clear error; the refiner and each sync hold one at a time.
const SLOTS: u32 = 64;

/// Compiles and runs guests. Clones share it.
#[derive(Clone)]
pub struct Engine {
    pub(super) engine: wasmtime::Engine,
}

/// The engine cannot run on this machine.
#[derive(Debug, thiserror::Error)]
#[error("WebAssembly cannot run here: {0}")]
pub struct EngineError(String);

impl Engine {
    /// Makes the engine and starts its ticker, which ends with the last clone.
    ///
    /// # Errors
    /// The machine lacks the address space or a feature that wasmtime needs.
    pub fn new() -> Result<Self, EngineError> {
        let engine = wasmtime::Engine::new(&config()).map_err(|error| EngineError(format!("{error:#}")))?;
        let weak = engine.weak();
        let tick = move || {
            while let Some(engine) = weak.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::park_timeout(TICK);
            }
        };
        std::thread::Builder::new().name("wasm-ticker".into()).spawn(tick).map_err(|e| EngineError(e.to_string()))?;
        Ok(Self { engine })
    }
}

/// Epochs instead of fuel, because fuel costs twice as much; fibers, so that a guest can be left in the middle; off
/// is whatever no guest of ours needs. Multi-memory stays on: the compiler's own adapters use it.
fn config() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .memory_init_cow(true)
        .max_wasm_stack(512 << 10)
        .async_stack_size(1 << 20)
        .async_stack_zeroing(true)
        .concurrency_support(false)
        .wasm_memory64(false)
        .wasm_backtrace_max_frames(NonZeroUsize::new(20));
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(SLOTS)
        .total_core_instances(SLOTS * 8)
        .total_memories(SLOTS)
        .total_tables(SLOTS * 4)
        .total_stacks(SLOTS)
        .max_memory_size(MEMORY_BYTES_MAX)
        .table_elements(50_000)
        .max_memories_per_component(4)
        .max_tables_per_component(32)
        .linear_memory_keep_resident(256 << 10)
        .table_keep_resident(64 << 10)
        .async_stack_keep_resident(64 << 10)
        .max_unused_warm_slots(8);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}
