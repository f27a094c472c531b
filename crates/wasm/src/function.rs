//! Functions of the `transform` world: a batch of events in, one outcome for each out.
//!
//! Nouns: a **function** (a compiled component with its settings), an **outcome** (what became of one event), a
//! **error** (the outcome of an event that the function could not be trusted with), a **run** (a batch of any size,
//! cut into calls).
//!
//! What holds:
//! * There are as many outcomes as events, in the same order, and a run ends.
//! * An event that makes the function trap, loop, overrun a limit or miscount gets an error; its neighbours get the
//!   outcome that they would have had without it. The batch is halved until the poison event stands alone.
//! * No outcome that is a word of the function, no log line and no counter has a secret in it that the function was given. What a function
//!   writes into an event is the event.
//! * The same batch with the same time and seed has the same outcomes. (A function must not let the outcome of one
//!   event depend on its neighbours: a batch may be cut anywhere.)
//!
//! This room does not know logs, contracts or destinations, and it does not judge what it runs: whether what a function
//! returns is an event is for the caller to say, who also has the event that [`Function::restore`] wants.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tidegate_event::digits::{self, Numbers};
use tidegate_event::value::{JsonObject, Value};
use tidegate_plugin::ManifestKind;

use crate::{Engine, HiddenTexts, Module, ModuleError, RevealedJson, Services};

pub mod golden;
mod grant;
mod isolate;
mod test_services;
mod pool;
mod run;
mod verdict;

pub use grant::granted;
pub use pool::{Lane, Pool, RolloutMode, UnfinishedRun, Workers};
pub use test_services::services;

pub use crate::{CallLimits, CallLog, GuestErrorKind as FailKind, Level, LogLine};
use run::{FunctionRun, RunWork};
use verdict::{RunVerdict, verdict};

/// A compiled component with its settings. Clones share the code.
#[derive(Clone)]
pub struct Function {
    name: Arc<str>,
    version: Arc<str>,
    module: Module,
    /// As they are written, with the names of secrets.
    settings_json: Arc<str>,
    /// With their values.
    given_json: Arc<str>,
    /// The values of secrets that it is given, by its settings and by its tables.
    hidden: HiddenTexts,
    revision: u64,
    limits: Arc<CallLimits>,
    services: Services,
    /// What tells its tables from others.
    tables: Option<Arc<str>>,
    numbers: Numbers,
    /// Calls to come that belong in the slow lane.
    calls_watched: Arc<AtomicU8>,
}

/// What a run takes from outside, so that a replay gives the same outcomes.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunContext {
    /// What the function sees as the time, Unix milliseconds.
    pub now_ms: u64,
    /// What the function may seed its choices with.
    pub seed: u64,
    /// When to stop running; events without an outcome then get the error `wall-limit`.
    pub deadline: Option<Instant>,
}

/// What came of a run.
#[derive(Debug, Clone, Default)]
pub struct FunctionRan {
    /// One for each event, in order.
    pub outcomes: Vec<Outcome>,
    pub stats: Stats,
    /// Log lines and counters of the whole run, those of failed calls included.
    pub call_log: CallLog,
}

/// What a run used.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stats {
    /// CPU time of all calls.
    pub cpu: Duration,
    /// Calls, each on a fresh instance.
    pub calls: u32,
    /// Calls that ended without an answer for each event.
    pub calls_failed: u32,
    /// Batches tried again because the function asked for it.
    pub retries: u32,
    /// The most memory that one call had.
    pub memory_peak_bytes: usize,
    /// The largest share of its CPU budget that a call used: 1.0 is all of it.
    pub cpu_share_max: f64,
    /// The largest share of its output budget that a call used.
    pub output_share_max: f64,
}

/// What became of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Unchanged.
    Keep,
    /// This text instead; not yet known to be JSON.
    Replace(String),
    /// The parsed event was changed where it is: an answer of the fields world alone.
    Edited,
    /// These texts instead, none to many.
    Emit(Vec<String>),
    /// Filtered on purpose; a reason code.
    Drop(String),
    /// The function cannot take this event.
    Fail { kind: FailKind, code: String, message: String },
    /// The function broke on this event, or could not be run at all.
    Error { code: FunctionErrorCode, message: String },
}

/// How a function broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FunctionErrorCode {
    Trap,
    CpuBudget,
    WallLimit,
    MemoryLimit,
    OutputLimit,
    WrongCount,
    /// Never given here: for the caller, who reads what a function returned.
    InvalidOutput,
    ConfigureFailed,
    BatchFatal,
}

impl FunctionErrorCode {
    /// The code as it is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::CpuBudget => "cpu-budget",
            Self::WallLimit => "wall-limit",
            Self::MemoryLimit => "memory-limit",
            Self::OutputLimit => "output-limit",
            Self::WrongCount => "wrong-count",
            Self::InvalidOutput => "invalid-output",
            Self::ConfigureFailed => "configure-failed",
            Self::BatchFatal => "batch-fatal",
        }
    }
}

impl std::fmt::Display for FunctionErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A call that gave no answer, as the outcome of each event that it is pinned on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct FunctionError {
    pub code: FunctionErrorCode,
    pub message: String,
}

impl Function {
    /// Compiles `component_bytes` for `engine`. Seconds of CPU for a large component: not for a thread that serves.
    pub fn load(
        engine: &Engine,
        name: &str,
        component_bytes: &[u8],
        settings_json: String,
        limits: CallLimits,
    ) -> Result<Self, ModuleError> {
        Ok(Self::of(Module::compile(engine, component_bytes, ManifestKind::Transform)?, name, settings_json, limits))
    }

    /// A function of a module that is compiled already: several functions may share one.
    #[must_use]
    pub fn of(module: Module, name: &str, settings_json: String, limits: CallLimits) -> Self {
        let settings_json: Arc<str> = settings_json.into();
        Self {
            name: name.into(),
            version: "".into(),
            module,
            revision: revision(&settings_json, &HiddenTexts::default()),
            given_json: Arc::clone(&settings_json),
            settings_json,
            hidden: HiddenTexts::default(),
            limits: Arc::new(limits),
            services: Services::default(),
            tables: None,
            numbers: Numbers::default(),
            calls_watched: Arc::default(),
        }
    }

    /// The same function with other settings. It gets the secrets that they name, and nothing that it says of itself has one in it; the
    /// function is known by what is written.
    #[must_use]
    pub fn with_settings(self, settings: &RevealedJson) -> Self {
        let (settings_json, given_json) = (settings.written().to_string(), settings.given().to_string());
        let hidden = self.hidden.and(settings.hidden());
        let revision = revision(&given_json, &hidden);
        Self { settings_json: settings_json.into(), given_json: given_json.into(), hidden, revision, ..self }
    }

    /// The same code and settings under another name and other limits.
    #[must_use]
    pub fn with_limits(self, name: &str, limits: CallLimits) -> Self {
        Self { name: name.into(), limits: Arc::new(limits), ..self }
    }

    /// The same function with what the host does for it.
    #[must_use]
    pub fn with_services(self, services: Services) -> Self {
        let tables = services.lookup.as_ref().and_then(|lookup| lookup.content()).map(Into::into);
        let in_tables = services.lookup.as_ref().map(|lookup| lookup.hidden()).unwrap_or_default();
        let hidden = self.hidden.and(&in_tables);
        let revision = revision(&self.given_json, &hidden);
        Self { services, tables, hidden, revision, ..self }
    }

    /// The same function, of which is known what numbers become in it.
    #[must_use]
    pub fn with_numbers(self, numbers: Numbers) -> Self {
        Self { numbers, ..self }
    }

    /// The same function, known by its version: the sha-256 of its component in hexadecimal.
    #[must_use]
    pub fn with_version(self, version: &str) -> Self {
        Self { version: version.into(), ..self }
    }

    /// Whether it edits parsed events, through [`Function::edit`]; else it takes texts, through [`Function::run`].
    #[must_use]
    pub fn edits(&self) -> bool {
        self.module.kind() == ManifestKind::Fields
    }

    /// The lane that it belongs to, by how its last calls went.
    #[must_use]
    pub fn lane(&self) -> Lane {
        if self.calls_watched.load(Ordering::Relaxed) > 0 { Lane::Slow } else { Lane::Quick }
    }

    /// The sha-256 of its component in hexadecimal; empty when nobody said.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Its settings as they are written, JSON text. Secrets stand there by their names.
    #[must_use]
    pub fn settings_json(&self) -> &str {
        &self.settings_json
    }

    /// A number that is another one with other settings or secrets.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// The values of secrets that it is given.
    #[must_use]
    pub const fn hidden(&self) -> &HiddenTexts {
        &self.hidden
    }

    /// A text about it, or by it, without the secrets that it is given.
    #[must_use]
    pub fn cleaned(&self, text: &str) -> String {
        let mut text = text.to_owned();
        self.hidden.clean(&mut text);
        text
    }

    /// Whether it is configured with these settings, secrets included.
    #[must_use]
    pub fn has_settings(&self, settings: &RevealedJson) -> bool {
        *self.settings_json == *settings.written().to_string() && *self.given_json == *settings.given().to_string()
    }

    /// Whether it is given the same secrets and the same tables as another one.
    #[must_use]
    pub fn is_given_the_same(&self, other: &Self) -> bool {
        self.given_json == other.given_json && self.hidden == other.hidden && self.tables == other.tables
    }

    /// What tells the tables that it is granted from others; `None` when there are none.
    #[must_use]
    pub fn tables(&self) -> Option<&str> {
        self.tables.as_deref()
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub fn limits(&self) -> &CallLimits {
        &self.limits
    }

    /// Configures an instance and runs an empty batch, so that wrong settings show before the first event does.
    pub async fn check(&self) -> Result<(), FunctionError> {
        let nothing = match self.module.kind() {
            ManifestKind::Fields => RunWork::Bodies { bodies: &mut [], each_bytes: 0 },
            ManifestKind::Transform | ManifestKind::Destination => RunWork::Texts(&[]),
        };
        match FunctionRun::new(self, nothing, RunContext::default()).call(0..0).await.answer {
            Ok(_) => Ok(()),
            Err(failure) => {
                let mut error = match verdict(failure, &self.limits) {
                    RunVerdict::Suspect(error) | RunVerdict::Everybody(error) | RunVerdict::Again(error, _) => error,
                };
                self.hidden.clean(&mut error.message);
                Err(error)
            }
        }
    }

    /// Runs `batch`, whatever its size, and gives one outcome for each event. For a function of the transform world.
    pub async fn run(&self, batch: &[String], cx: RunContext) -> FunctionRan {
        FunctionRun::new(self, RunWork::Texts(batch), cx).all().await
    }

    /// Puts back, in the outcome of a function of the transform world, the digits of the event `input`, and of what the
    /// function was `given` beside it (as the call log of its run says), that it could not see and left alone.
    pub fn restore(&self, outcome: &mut Outcome, input: &JsonObject, given: &[Value]) {
        match outcome {
            Outcome::Replace(text) => digits::restore(std::slice::from_mut(text), input, given, self.numbers),
            Outcome::Emit(texts) => digits::restore(texts, input, given, self.numbers),
            _ => {}
        }
    }

    /// Lets the function edit `bodies`, whatever their number, where they are, and gives one outcome for each. For a
    /// function of the fields world. `bytes` is about what the events were as text. What faulted is as it was.
    pub async fn edit(&self, bodies: &mut [JsonObject], bytes: usize, cx: RunContext) -> FunctionRan {
        let each_bytes = bytes / bodies.len().max(1);
        FunctionRun::new(self, RunWork::Bodies { bodies, each_bytes }, cx).all().await
    }
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Settings may hold secrets.
        f.debug_struct("Function").field("name", &self.name).field("version", &self.version).finish_non_exhaustive()
    }
}

/// Other settings, or other secrets, other number.
fn revision(given_json: &str, hidden: &HiddenTexts) -> u64 {
    let mut hasher = Sha256::new().chain_update(given_json);
    for value in hidden.values() {
        // No text has this byte.
        hasher.update([0xff_u8]);
        hasher.update(value);
    }
    let digest = hasher.finalize();
    digest.iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte))
}
