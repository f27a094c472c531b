//! One batch through one fresh instance, within every limit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::{ResourceLimiter, Store, Trap, UpdateDeadline, WasmBacktrace};

use super::bindings::exports::tidegate::plugin::transformer;
use super::bindings::tidegate::plugin::{host, types};
use super::journal::{Journal, Level, NAME_BYTES_MAX, legible};
use super::limits::Limits;
use super::meter::CpuMeter;
use super::module::Module;

/// What the host passes in with a batch.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    pub settings_json: &'a str,
    pub revision: u64,
    pub batch: &'a [String],
    pub now_ms: u64,
    pub seed: u64,
    /// No later than this, whatever the wall limit says.
    pub deadline: Option<Instant>,
}

/// What came of a call.
#[derive(Debug)]
pub struct Called {
    /// One answer for each event as the guest gave them: the count is not checked here.
    pub answer: Result<Vec<Answer>, CallFailure>,
    pub cpu: Duration,
    pub memory_peak_bytes: usize,
}

/// What a guest made of one event. Texts are as the guest gave them, except codes and messages, which are legible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Keep,
    Replace(String),
    Emit(Vec<String>),
    Drop(String),
    Fail(GuestComplaint),
}

/// What a guest says went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestComplaint {
    pub kind: ComplaintKind,
    pub code: String,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComplaintKind {
    InvalidEvent,
    InvalidConfig,
    Unsupported,
    Internal,
}

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallFailure {
    /// The host stopped the guest, or it stopped itself.
    Stopped { breach: Breach, stage: Stage, message: String },
    /// `configure` refused the settings.
    Configure(GuestComplaint),
    /// The guest believes that the same batch may work later.
    Retryable(GuestComplaint, Option<Duration>),
    /// The guest gave the whole batch up.
    Fatal(GuestComplaint),
}

/// How a guest was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breach {
    Trap,
    CpuBudget,
    WallLimit,
    MemoryLimit,
    OutputLimit,
}

/// How far a call had come. Before `Transform` the guest has seen no event, so none can be to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Instantiate,
    Configure,
    Transform,
}

/// Why the host halts a guest from within.
#[derive(Debug, thiserror::Error)]
pub(super) enum Halt {
    #[error("the CPU budget of {} ms is gone", .0.as_millis())]
    Cpu(Duration),
    #[error("the wall limit is reached")]
    Wall,
    #[error("the guest called exit")]
    Exit,
    #[error("{0} is not available to a function")]
    Absent(String),
}

/// State of one instance: what its host functions and its limiter need.
pub(super) struct Guest {
    limits: Arc<Limits>,
    journal: Journal,
    now_ms: u64,
    seed: u64,
    stage: Stage,
    memory: Memory,
}

impl Guest {
    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    pub(super) fn print(&mut self, bytes: &[u8]) {
        self.journal.print(&self.limits, bytes);
    }
}

impl Module {
    /// Runs `call` on a fresh instance. Log lines and counters go to `journal`, also when the call fails.
    pub async fn transform(&self, limits: &Arc<Limits>, call: Call<'_>, journal: &mut Journal) -> Called {
        // The semaphore is never closed, so there is a permit or there is patience.
        let _slot = self.engine().slots().acquire().await;
        let meter = Arc::new(CpuMeter::default());
        let wall = Instant::now() + limits.wall_max;
        let wall = call.deadline.map_or(wall, |deadline| deadline.min(wall));
        let mut store = self.store(limits, &call, std::mem::take(journal), &meter, wall);
        // The callback of the store sees the wall limit at a tick; the timeout sees it when nothing runs at all.
        let work = tokio::time::timeout_at(wall.into(), meter.time(self.work(&mut store, &call)));
        let answer = match work.await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(store.data().stopped(Breach::WallLimit, Halt::Wall.to_string())),
        };
        let guest = store.into_data();
        *journal = guest.journal;
        journal.finish_line(limits);
        Called { answer, cpu: meter.used(), memory_peak_bytes: guest.memory.peak_bytes }
    }

    /// A store with every limit in place: nothing of the guest has run yet.
    fn store(
        &self,
        limits: &Arc<Limits>,
        call: &Call<'_>,
        journal: Journal,
        meter: &Arc<CpuMeter>,
        wall: Instant,
    ) -> Store<Guest> {
        let memory = Memory::new(limits, self.engine().limits());
        let (now_ms, seed) = (call.now_ms, call.seed);
        let guest = Guest { limits: limits.clone(), journal, now_ms, seed, stage: Stage::Instantiate, memory };
        let mut store = Store::new(self.engine().raw(), guest);
        store.limiter(|guest| &mut guest.memory);
        let input_bytes = call.batch.iter().map(String::len).sum();
        store.set_hostcall_fuel(limits.output_budget_bytes(input_bytes));
        let budget = limits.cpu_budget(call.batch.len());
        let meter = meter.clone();
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |_| {
            if meter.used_while_polled() >= budget {
                return Err(Halt::Cpu(budget).into());
            }
            if Instant::now() >= wall {
                return Err(Halt::Wall.into());
            }
            Ok(UpdateDeadline::Yield(1))
        });
        store
    }

    async fn work(&self, store: &mut Store<Guest>, call: &Call<'_>) -> Result<Vec<Answer>, CallFailure> {
        let instance = match self.pre().instantiate_async(&mut *store).await {
            Ok(instance) => instance,
            Err(error) => return Err(store.data().failure(&error)),
        };
        store.data_mut().stage = Stage::Configure;
        let setup = types::Setup { settings_json: call.settings_json.to_owned(), revision: call.revision };
        match instance.tidegate_plugin_lifecycle().call_configure(&mut *store, &setup).await {
            Ok(Ok(())) => {}
            Ok(Err(complaint)) => return Err(CallFailure::Configure(complaint.into())),
            Err(error) => return Err(store.data().failure(&error)),
        }
        store.data_mut().stage = Stage::Transform;
        match instance.tidegate_plugin_transformer().call_transform(&mut *store, call.batch).await {
            Ok(Ok(outcomes)) => Ok(outcomes.into_iter().map(Answer::from).collect()),
            Ok(Err(types::BatchError::Retryable((complaint, after_ms)))) => {
                let after = after_ms.map(|ms| Duration::from_millis(ms.into()));
                Err(CallFailure::Retryable(complaint.into(), after))
            }
            Ok(Err(types::BatchError::Fatal(complaint))) => Err(CallFailure::Fatal(complaint.into())),
            Err(error) => Err(store.data().failure(&error)),
        }
    }
}

impl Guest {
    fn stopped(&self, breach: Breach, message: String) -> CallFailure {
        CallFailure::Stopped { breach, stage: self.stage, message: legible(&message, MESSAGE_BYTES_MAX) }
    }

    /// What wasmtime's error says about the guest.
    fn failure(&self, error: &wasmtime::Error) -> CallFailure {
        let at = error.downcast_ref::<WasmBacktrace>().map(place).unwrap_or_default();
        let root = error.root_cause().to_string();
        let breach = match error.downcast_ref::<Halt>() {
            Some(Halt::Cpu(_)) => Breach::CpuBudget,
            Some(Halt::Wall) => Breach::WallLimit,
            Some(Halt::Exit | Halt::Absent(_)) => Breach::Trap,
            // wasmtime keeps the type of this error to itself.
            None if root.contains("fuel allocated for hostcalls") => {
                return self.stopped(
                    Breach::OutputLimit,
                    "the guest handed over more than max(output_bytes_min, output_per_input * input)".to_owned(),
                );
            }
            None if self.memory.refused && (error.is::<Trap>() || self.stage == Stage::Instantiate) => {
                let limit = self.memory.bytes_max;
                let message = format!("memory of {limit} bytes was not enough for the guest: {root}{at}");
                return self.stopped(Breach::MemoryLimit, message);
            }
            None => Breach::Trap,
        };
        self.stopped(breach, format!("{root}{at}"))
    }
}

/// The innermost functions of a trap, for whoever wrote the guest.
fn place(backtrace: &WasmBacktrace) -> String {
    let printed = backtrace.to_string();
    let frames = printed.lines().filter_map(|line| line.split_once(" - ")).map(|(_, frame)| frame.trim());
    // The way from a panic to its trap leads through a language's own library, which is no news.
    let library = |frame: &str| {
        ["<unknown>", "!std", "!core", "!alloc", "!__rustc", "!abort"].iter().any(|name| frame.contains(name))
    };
    let named: Vec<_> = frames.filter(|frame| !library(frame)).take(4).collect();
    if named.is_empty() { String::new() } else { format!(" in {}", named.join(" < ")) }
}

const MESSAGE_BYTES_MAX: usize = 1 << 10;

impl From<types::PluginError> for GuestComplaint {
    fn from(error: types::PluginError) -> Self {
        let kind = match error.kind {
            types::ErrorKind::InvalidEvent => ComplaintKind::InvalidEvent,
            types::ErrorKind::InvalidConfig => ComplaintKind::InvalidConfig,
            types::ErrorKind::Unsupported => ComplaintKind::Unsupported,
            types::ErrorKind::Internal => ComplaintKind::Internal,
        };
        let (code, message) = (legible(&error.code, NAME_BYTES_MAX), legible(&error.message, MESSAGE_BYTES_MAX));
        Self { kind, code, message }
    }
}

impl From<transformer::Outcome> for Answer {
    fn from(outcome: transformer::Outcome) -> Self {
        match outcome {
            transformer::Outcome::Keep => Self::Keep,
            transformer::Outcome::Replace(event) => Self::Replace(event),
            transformer::Outcome::Emit(events) => Self::Emit(events),
            transformer::Outcome::Drop(reason) => Self::Drop(legible(&reason, NAME_BYTES_MAX)),
            transformer::Outcome::Fail(error) => Self::Fail(error.into()),
        }
    }
}

impl types::Host for Guest {}

impl host::Host for Guest {
    fn log(&mut self, level: host::Level, message: String) {
        let level = match level {
            host::Level::Debug => Level::Debug,
            host::Level::Info => Level::Info,
            host::Level::Warn => Level::Warn,
            host::Level::Error => Level::Error,
        };
        self.journal.log(&self.limits, level, &message);
    }

    fn count(&mut self, name: String, delta: u32) {
        self.journal.count(&self.limits, &name, delta);
    }

    fn now_ms(&mut self) -> u64 {
        self.now_ms
    }

    fn seed(&mut self) -> u64 {
        self.seed
    }
}

/// What an instance may allocate, all memories and all tables of a call together.
struct Memory {
    bytes_max: usize,
    elements_max: usize,
    instances_max: usize,
    tables_max: usize,
    memories_max: usize,
    bytes: usize,
    elements: usize,
    peak_bytes: usize,
    /// The growth allowed last, taken back should it fail after all.
    last_growth_bytes: usize,
    refused: bool,
}

impl Memory {
    fn new(limits: &Limits, engine: &Limits) -> Self {
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

impl ResourceLimiter for Memory {
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
