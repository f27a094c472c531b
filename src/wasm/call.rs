//! One batch on one fresh instance.

use std::time::{Duration, Instant};

use wasmtime::{Store, Trap, UpdateDeadline};

use super::bindings::exports::tidegate::plugin::{lifecycle, transformer};
use super::engine::TICK;
use super::host::Guest;
use super::module::Module;

/// A line that a guest logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub level: &'static str,
    pub text: String,
}

/// What a call cost.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    pub calls: u64,
    pub breaks: u64,
    /// Time inside the guest and the boundary.
    pub busy: Duration,
    pub memory_bytes_peak: usize,
    pub lines_dropped: u64,
    pub counters: Vec<(String, u64)>,
}

/// Why a call gave nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Break {
    CpuBudget,
    WallLimit,
    MemoryLimit,
    OutputLimit,
    /// Panic, unreachable, stack overflow, access out of bounds, or a value that breaks the boundary's rules.
    Trap(String),
    /// The guest refused its settings.
    Configure {
        code: String,
        message: String,
    },
    /// The guest gave the whole batch up.
    Fatal {
        code: String,
        message: String,
    },
    /// As `Fatal`, but worth another try.
    Retryable {
        code: String,
        message: String,
    },
}

/// What a call gave.
#[derive(Debug)]
pub struct Called {
    pub outcome: Result<Vec<transformer::Outcome>, Break>,
    pub lines: Vec<Line>,
    pub stats: Stats,
}

impl Module {
    /// Configures a fresh instance and transforms `batch` with it.
    pub async fn transform(&self, settings_json: &str, batch: &[String], now_ms: u64, seed: u64) -> Called {
        let limits = &self.limits;
        let count = u32::try_from(batch.len()).unwrap_or(u32::MAX);
        let budget = (limits.cpu_call + limits.cpu_event.saturating_mul(count)).min(limits.cpu_call_max);
        // One tick more, because the first may come at once.
        let ticks = budget.as_nanos().div_ceil(TICK.as_nanos()) as u64 + 1;
        let input: usize = batch.iter().map(String::len).sum();
        let guest = Guest::new(limits.clone(), now_ms, seed, ticks);
        let mut store = Store::new(&self.engine.engine, guest);
        store.limiter(|guest| guest);
        store.set_hostcall_fuel(input.saturating_mul(limits.output_ratio_max).max(limits.output_bytes_min));
        // Set before anything of the guest runs: a start function can loop too.
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut store| {
            let guest = store.data_mut();
            guest.ticks_left = guest.ticks_left.saturating_sub(1);
            Ok(if guest.ticks_left == 0 { UpdateDeadline::Interrupt } else { UpdateDeadline::Yield(1) })
        });
        let started = Instant::now();
        let work = self.work(&mut store, settings_json, batch);
        let outcome = match tokio::time::timeout(limits.wall_call_max, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Broken::Break(Break::WallLimit)),
        };
        let busy = started.elapsed();
        let guest = store.into_data();
        let outcome = outcome.map_err(|broken| match broken {
            Broken::Break(known) => known,
            Broken::Wasm(error) => classify(&error, guest.memory_refused),
        });
        let stats = Stats {
            calls: 1,
            breaks: u64::from(outcome.is_err()),
            busy,
            memory_bytes_peak: guest.memory_bytes,
            lines_dropped: guest.lines_dropped,
            counters: guest.counters,
        };
        Called { outcome, lines: guest.lines, stats }
    }

    async fn work(
        &self,
        store: &mut Store<Guest>,
        settings_json: &str,
        batch: &[String],
    ) -> Result<Vec<transformer::Outcome>, Broken> {
        let instance = self.transform.instantiate_async(&mut *store).await?;
        let setup = lifecycle::Setup { settings_json: settings_json.to_owned(), revision: 0 };
        let configured = instance.tidegate_plugin_lifecycle().call_configure(&mut *store, &setup).await?;
        if let Err(error) = configured {
            return Err(Broken::Break(Break::Configure { code: error.code, message: error.message }));
        }
        match instance.tidegate_plugin_transformer().call_transform(&mut *store, batch).await? {
            Ok(outcomes) => Ok(outcomes),
            Err(transformer::BatchError::Fatal(error)) => {
                Err(Broken::Break(Break::Fatal { code: error.code, message: error.message }))
            }
            Err(transformer::BatchError::Retryable((error, _))) => {
                Err(Broken::Break(Break::Retryable { code: error.code, message: error.message }))
            }
        }
    }
}

enum Broken {
    Break(Break),
    Wasm(wasmtime::Error),
}

impl From<wasmtime::Error> for Broken {
    fn from(error: wasmtime::Error) -> Self {
        Self::Wasm(error)
    }
}

fn classify(error: &wasmtime::Error, memory_refused: bool) -> Break {
    let trap = error.downcast_ref::<Trap>();
    if trap == Some(&Trap::Interrupt) {
        return Break::CpuBudget;
    }
    let text = format!("{error:#}");
    if text.contains("fuel allocated for hostcalls has been exhausted") {
        return Break::OutputLimit;
    }
    if memory_refused {
        return Break::MemoryLimit;
    }
    Break::Trap(text)
}
