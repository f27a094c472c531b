//! One pool of slots for all modules, and the ticker that keeps guests honest; with a compiler for the command line,
//! without one for a server.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use tokio::sync::Semaphore;
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Config, Enabled, EngineWeak, PoolingAllocationConfig, WasmBacktraceDetails, WasmFeatures};

use super::bindings::destination::tidegate::plugin::secrets as secrets_host;
use super::bindings::fields::tidegate::plugin::fields as fields_host;
use super::bindings::transform::Transform;
use super::guest::Guest;
use super::limits::CallLimits;

/// Compiles modules and runs their calls. Clones share everything; the ticker ends with the last one.
#[derive(Clone)]
pub struct Engine(Arc<SharedEngine>);

struct SharedEngine {
    engine: wasmtime::Engine,
    linker: Linker<Guest>,
    /// One permit for each slot of the pool: a call waits here rather than failing on a full pool.
    slots: Arc<Semaphore>,
    limits: CallLimits,
    /// Dropped with the engine, which ends the ticker.
    _ticker: Sender<()>,
}

/// The engine could not be made: a limit that the machine cannot honour, or no thread to be had.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("the WebAssembly engine refused its configuration: {0}")]
    Configuration(String, #[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the ticker thread of the WebAssembly engine could not start")]
    Ticker(#[source] std::io::Error),
}

impl EngineError {
    pub(super) fn refused(error: wasmtime::Error) -> Self {
        Self::Configuration(format!("{error:#}"), error.into())
    }
}

/// What an engine is for.
#[derive(Clone, Copy)]
enum Role<'a> {
    /// Compiles and runs: a developer's machine.
    Whole(&'a CallLimits),
    /// Runs what was compiled elsewhere.
    Serving(&'a CallLimits),
    /// Compiles and never runs; it reserves no slots, so it fits into a process with little address space.
    Compiling,
}

/// An engine that only compiles, for artifacts.
pub(super) fn compiling() -> wasmtime::Result<wasmtime::Engine> {
    wasmtime::Engine::new(&config(Role::Compiling))
}

impl Engine {
    /// An engine whose slots hold what `limits` allow, with a compiler.
    pub fn new(limits: &CallLimits) -> Result<Self, EngineError> {
        Self::of(limits, Role::Whole(limits))
    }

    /// An engine without a compiler, which runs only what [`Module::load`](super::Module::load) takes.
    pub fn serving(limits: &CallLimits) -> Result<Self, EngineError> {
        Self::of(limits, Role::Serving(limits))
    }

    fn of(limits: &CallLimits, role: Role<'_>) -> Result<Self, EngineError> {
        let refused = EngineError::refused;
        let engine = wasmtime::Engine::new(&config(role)).map_err(refused)?;
        let mut linker = Linker::new(&engine);
        Transform::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest).map_err(refused)?;
        // What the other worlds add to it; which of it a component may import is for `module` to say.
        fields_host::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest).map_err(refused)?;
        secrets_host::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest).map_err(refused)?;
        let ticker = start_ticker(engine.weak(), limits.tick).map_err(EngineError::Ticker)?;
        let slots = Arc::new(Semaphore::new(limits.calls_at_once_max as usize));
        Ok(Self(Arc::new(SharedEngine { engine, linker, slots, limits: limits.clone(), _ticker: ticker })))
    }

    /// The limits that this engine was made with.
    #[must_use]
    pub fn limits(&self) -> &CallLimits {
        &self.0.limits
    }

    pub(super) fn raw(&self) -> &wasmtime::Engine {
        &self.0.engine
    }

    pub(super) fn linker(&self) -> &Linker<Guest> {
        &self.0.linker
    }

    /// Whether at least half of the slots are free.
    pub(super) fn has_slots_to_spare(&self) -> bool {
        self.0.slots.available_permits() >= self.0.limits.calls_at_once_max as usize / 2
    }

    pub(super) fn slots(&self) -> Arc<Semaphore> {
        Arc::clone(&self.0.slots)
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("limits", &self.0.limits).finish_non_exhaustive()
    }
}

/// The one configuration of all roles: code that one engine compiled must fit the other. What is switched off is
/// switched off for two reasons: cheaper calls and less surface. Multi-memory stays on, because translating a component
/// without it has made the compiler panic. Symbols and unwind tables are for debuggers and system unwinders alone; they and
/// the map from addresses to lines, which only trap lines need, would be a seventh of the code that is hashed at a load.
fn config(role: Role<'_>) -> Config {
    let off = WasmFeatures::FUNCTION_REFERENCES
        | WasmFeatures::GC
        | WasmFeatures::EXCEPTIONS
        | WasmFeatures::MEMORY64
        | WasmFeatures::THREADS
        | WasmFeatures::CM_ASYNC;
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .memory_init_cow(true)
        .async_stack_zeroing(true)
        .concurrency_support(false)
        .debug_symbols(false)
        .native_unwind_info(false)
        .wasm_features(off, false)
        .wasm_backtrace_max_frames(NonZeroUsize::new(20));
    if let Role::Whole(limits) | Role::Serving(limits) = role {
        config
            .max_wasm_stack(limits.wasm_stack_bytes)
            .async_stack_size(limits.fiber_stack_bytes)
            .allocation_strategy(pool(limits))
            .wasm_backtrace_details(if limits.trap_lines {
                WasmBacktraceDetails::Enable
            } else {
                WasmBacktraceDetails::Disable
            });
    }
    match role {
        Role::Whole(_) => {}
        Role::Serving(_) => {
            config.enable_compiler(false);
        }
        Role::Compiling => {
            config.generate_address_map(false);
        }
    }
    config
}

/// Every total is the number of slots times what one component may have, so a call that holds a permit always finds
/// room. The addresses are reserved, not used.
fn pool(limits: &CallLimits) -> PoolingAllocationConfig {
    let slots = limits.calls_at_once_max;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(limits.instances_max))
        .total_memories(slots.saturating_mul(limits.memories_max))
        .total_tables(slots.saturating_mul(limits.tables_max))
        .total_stacks(slots)
        .max_core_instances_per_component(limits.instances_max)
        .max_memories_per_component(limits.memories_max)
        .max_tables_per_component(limits.tables_max)
        .max_memory_size(limits.memory_bytes_ceiling)
        .table_elements(limits.table_elements_max)
        .linear_memory_keep_resident(limits.slot_resident_bytes)
        .table_keep_resident(64 << 10)
        .async_stack_keep_resident(16 << 10)
        .max_unused_warm_slots(slots);
    if limits.pagemap_scan {
        pool.pagemap_scan(Enabled::Auto);
    }
    pool
}

/// The thread holds the engine only weakly and listens for the other end of its channel, so it ends with the engine.
fn start_ticker(engine: EngineWeak, tick: Duration) -> std::io::Result<Sender<()>> {
    let (alive, ends): (Sender<()>, Receiver<()>) = channel();
    std::thread::Builder::new().name("wasm-ticker".to_owned()).spawn(move || {
        while ends.recv_timeout(tick) == Err(RecvTimeoutError::Timeout) {
            let Some(engine) = engine.upgrade() else { break };
            engine.increment_epoch();
        }
    })?;
    Ok(alive)
}
