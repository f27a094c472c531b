//! Functions of the `transform` world: a batch of events in, one outcome for each out.
//!
//! Nouns: a **function** (a compiled component with its settings), an **outcome** (what became of one event), a
//! **fault** (the outcome of an event that the function could not be trusted with), a **run** (a batch of any size,
//! cut into calls).
//!
//! What holds:
//! * There are as many outcomes as events, in the same order, and a run ends.
//! * An event that makes the function trap, loop, overrun a limit or miscount gets a fault; its neighbours get the
//!   outcome that they would have had without it. The batch is halved until the poison event stands alone.
//! * The same batch with the same time and seed has the same outcomes. (A function must not let the outcome of one
//!   event depend on its neighbours: a batch may be cut anywhere.)
//!
//! This room does not know logs, contracts or destinations, and it does not read JSON: whether what a function
//! returns is an event is for the caller to judge.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::wasm::{
    Answer, Breach, Call, CallFailure, Called, Engine, GuestComplaint, LoadError, Module, Services, Stage, World,
};

/// A core module to a component.
pub mod component;
mod isolate;
/// What `function build` and `function test` do.
pub mod project;

pub use crate::wasm::{ComplaintKind as FailKind, Journal, Level, Limits, LogLine};
use isolate::Isolation;

/// A compiled component with its settings. Clones share the code.
#[derive(Debug, Clone)]
pub struct Function {
    name: Arc<str>,
    module: Module,
    settings_json: Arc<str>,
    revision: u64,
    limits: Arc<Limits>,
    services: Services,
}

/// What a run takes from outside, so that a replay gives the same outcomes.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunContext {
    /// What the function sees as the time, Unix milliseconds.
    pub now_ms: u64,
    /// What the function may seed its choices with.
    pub seed: u64,
    /// When to stop running; events without an outcome then get the fault `wall-limit`.
    pub deadline: Option<Instant>,
}

/// What came of a run.
#[derive(Debug, Clone, Default)]
pub struct Ran {
    /// One for each event, in order.
    pub outcomes: Vec<Outcome>,
    pub stats: Stats,
    /// Log lines and counters of the whole run, those of failed calls included.
    pub journal: Journal,
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
    /// These texts instead, none to many.
    Emit(Vec<String>),
    /// Filtered on purpose; a reason code.
    Drop(String),
    /// The function cannot take this event.
    Fail { kind: FailKind, code: String, message: String },
    /// The function broke on this event, or could not be run at all.
    Fault { code: FaultCode, message: String },
}

/// How a function broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FaultCode {
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

impl FaultCode {
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

impl std::fmt::Display for FaultCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A call that gave no answer, as the outcome of each event that it is pinned on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Fault {
    pub code: FaultCode,
    pub message: String,
}

/// What a failed call means for its batch.
enum Verdict {
    /// An event may be to blame: halve the batch.
    Suspect(Fault),
    /// No event was seen, or no time is left: the fault is everybody's.
    Everybody(Fault),
    /// The function asks for another try after this pause.
    Again(Fault, Duration),
}

impl Function {
    /// Compiles `component_bytes` for `engine`. Seconds of CPU for a large component: not for a thread that serves.
    pub fn load(
        engine: &Engine,
        name: &str,
        component_bytes: &[u8],
        settings_json: String,
        limits: Limits,
    ) -> Result<Self, LoadError> {
        Ok(Self::of(Module::compile(engine, component_bytes, World::Transform)?, name, settings_json, limits))
    }

    /// A function of a module that is compiled already: several functions may share one.
    #[must_use]
    pub fn of(module: Module, name: &str, settings_json: String, limits: Limits) -> Self {
        let digest = Sha256::digest(settings_json.as_bytes());
        let revision = digest.iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte));
        Self {
            name: name.into(),
            module,
            settings_json: settings_json.into(),
            revision,
            limits: Arc::new(limits),
            services: Services::default(),
        }
    }

    /// The same function with what the host does for it.
    #[must_use]
    pub fn with_services(self, services: Services) -> Self {
        Self { services, ..self }
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Configures an instance and runs an empty batch, so that wrong settings show before the first event does.
    pub async fn check(&self) -> Result<(), Fault> {
        let (mut journal, cx) = (Journal::default(), RunContext::default());
        match self.call(&[], cx, &mut journal).await.answer {
            Ok(_) => Ok(()),
            Err(failure) => Err(match verdict(failure, &self.limits) {
                Verdict::Suspect(fault) | Verdict::Everybody(fault) | Verdict::Again(fault, _) => fault,
            }),
        }
    }

    /// Runs `batch`, whatever its size, and gives one outcome for each event.
    pub async fn run(&self, batch: &[String], cx: RunContext) -> Ran {
        let mut ran = Ran { outcomes: Vec::with_capacity(batch.len()), ..Ran::default() };
        let mut spent = Spent::default();
        let mut rest = batch;
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(self.chunk_len(rest));
            self.run_chunk(chunk, cx, &mut ran, &mut spent).await;
            rest = after;
        }
        ran
    }

    /// How many events from the front of `rest` fit into one call; at least one.
    fn chunk_len(&self, rest: &[String]) -> usize {
        let mut bytes = 0_usize;
        let fits = |event: &&String| {
            bytes = bytes.saturating_add(event.len());
            bytes <= self.limits.batch_bytes_max
        };
        rest.iter().take(self.limits.batch_events_max).take_while(fits).count().max(1)
    }

    async fn run_chunk(&self, chunk: &[String], cx: RunContext, ran: &mut Ran, spent: &mut Spent) {
        let mut isolation = Isolation::new(chunk.len());
        let mut first = true;
        while let Some(range) = isolation.next() {
            if !in_time(cx, Duration::ZERO) {
                isolation
                    .everybody(range, Fault { code: FaultCode::WallLimit, message: "the run is out of time".into() });
                continue;
            }
            let exhausted = (!first).then(|| spent.exhausted(&self.limits, chunk.len())).flatten();
            if let Some(why) = exhausted {
                isolation.give_up(range, why);
                continue;
            }
            let (part, began) = (&chunk[range.clone()], Instant::now());
            let (answer, cpu) = self.call_with_retries(part, cx, ran, spent).await;
            if !first {
                spent.attempts += 1;
                spent.cpu += cpu;
                spent.wall += began.elapsed();
            }
            first = false;
            match answer {
                Ok(answers) => {
                    let outcomes = answers.into_iter().map(|answer| self.outcome(answer)).collect();
                    isolation.answered(range, outcomes);
                }
                Err(Verdict::Suspect(fault)) => isolation.faulted(range, fault),
                Err(Verdict::Everybody(fault) | Verdict::Again(fault, _)) => isolation.everybody(range, fault),
            }
        }
        ran.outcomes.append(&mut isolation.into_outcomes());
    }

    /// One call, and again as often as the function asks and the run allows.
    async fn call_with_retries(
        &self,
        part: &[String],
        cx: RunContext,
        ran: &mut Ran,
        spent: &mut Spent,
    ) -> (Result<Vec<Answer>, Verdict>, Duration) {
        let mut cpu = Duration::ZERO;
        loop {
            let called = self.call(part, cx, &mut ran.journal).await;
            cpu += called.cpu;
            self.account(part, &called, &mut ran.stats);
            let verdict = match called.answer {
                Ok(answers) if answers.len() == part.len() => return (Ok(answers), cpu),
                Ok(answers) => Verdict::Suspect(wrong_count(part.len(), answers.len())),
                Err(failure) => verdict(failure, &self.limits),
            };
            ran.stats.calls_failed += 1;
            match verdict {
                Verdict::Again(_, pause) if spent.retries < self.limits.retries_max && in_time(cx, pause) => {
                    spent.retries += 1;
                    ran.stats.retries += 1;
                    tokio::time::sleep(pause).await;
                }
                Verdict::Again(fault, _) => return (Err(Verdict::Suspect(fault)), cpu),
                verdict => return (Err(verdict), cpu),
            }
        }
    }

    async fn call(&self, batch: &[String], cx: RunContext, journal: &mut Journal) -> Called<Vec<Answer>> {
        let call = Call {
            settings_json: &self.settings_json,
            revision: self.revision,
            now_ms: cx.now_ms,
            seed: cx.seed,
            deadline: cx.deadline,
            services: &self.services,
        };
        self.module.transform(&self.limits, call, batch, journal).await
    }

    fn account(&self, part: &[String], called: &Called<Vec<Answer>>, stats: &mut Stats) {
        stats.calls += 1;
        stats.cpu += called.cpu;
        stats.memory_peak_bytes = stats.memory_peak_bytes.max(called.memory_peak_bytes);
        let budget = self.limits.cpu_budget(part.len());
        stats.cpu_share_max = stats.cpu_share_max.max(share(called.cpu.as_secs_f64(), budget.as_secs_f64()));
        if let Ok(answers) = &called.answer {
            let input_bytes = part.iter().map(String::len).sum();
            let output_bytes: usize = answers.iter().map(answer_bytes).sum();
            let budget = self.limits.output_budget_bytes(input_bytes);
            stats.output_share_max = stats.output_share_max.max(share(output_bytes as f64, budget as f64));
        }
    }

    fn outcome(&self, answer: Answer) -> Outcome {
        match answer {
            Answer::Keep => Outcome::Keep,
            Answer::Replace(event) => Outcome::Replace(event),
            Answer::Emit(events) if events.len() > self.limits.emitted_events_max => Outcome::Fault {
                code: FaultCode::OutputLimit,
                message: format!(
                    "one event became {}; at most {} are allowed",
                    events.len(),
                    self.limits.emitted_events_max
                ),
            },
            Answer::Emit(events) => Outcome::Emit(events),
            Answer::Drop(reason) => Outcome::Drop(reason),
            Answer::Fail(GuestComplaint { kind, code, message }) => Outcome::Fail { kind, code, message },
        }
    }
}

/// What a run has spent on looking for poison events, over all its chunks.
#[derive(Default)]
struct Spent {
    attempts: u32,
    cpu: Duration,
    wall: Duration,
    retries: u32,
}

impl Spent {
    /// Why no further attempt may be made, if so.
    fn exhausted(&self, limits: &Limits, events: usize) -> Option<&'static str> {
        let halvings = events.max(1).next_power_of_two().ilog2();
        let attempts_max = limits.poison_events_max.saturating_mul(2 * (halvings + 1));
        if self.cpu >= limits.isolation_cpu_max || self.wall >= limits.wall_max {
            return Some("the time for finding the event to blame is gone");
        }
        (self.attempts >= attempts_max).then_some("the attempts at finding the event to blame are used up")
    }
}

fn verdict(failure: CallFailure, limits: &Limits) -> Verdict {
    let said = |complaint: GuestComplaint| format!("{}: {}", complaint.code, complaint.message);
    match failure {
        CallFailure::Stopped { breach, stage, message } => {
            let code = match breach {
                Breach::Trap => FaultCode::Trap,
                Breach::CpuBudget => FaultCode::CpuBudget,
                Breach::WallLimit => FaultCode::WallLimit,
                Breach::MemoryLimit => FaultCode::MemoryLimit,
                Breach::OutputLimit => FaultCode::OutputLimit,
            };
            match stage {
                Stage::Transform => Verdict::Suspect(Fault { code, message }),
                Stage::Configure => {
                    Verdict::Everybody(Fault { code, message: format!("while being configured: {message}") })
                }
                Stage::Instantiate => {
                    Verdict::Everybody(Fault { code, message: format!("while being started: {message}") })
                }
            }
        }
        CallFailure::Configure(complaint) => {
            Verdict::Everybody(Fault { code: FaultCode::ConfigureFailed, message: said(complaint) })
        }
        CallFailure::Fatal(complaint) => {
            Verdict::Suspect(Fault { code: FaultCode::BatchFatal, message: said(complaint) })
        }
        CallFailure::Retryable(complaint, after) => {
            let pause = after.unwrap_or(Duration::ZERO).min(limits.retry_wait_max);
            Verdict::Again(Fault { code: FaultCode::BatchFatal, message: said(complaint) }, pause)
        }
    }
}

fn wrong_count(events: usize, answers: usize) -> Fault {
    let message = format!("{answers} outcomes for a batch of {events}; there must be one for each event");
    Fault { code: FaultCode::WrongCount, message }
}

/// Whether a pause of this length ends before the run must.
fn in_time(cx: RunContext, pause: Duration) -> bool {
    cx.deadline.is_none_or(|deadline| Instant::now() + pause < deadline)
}

fn answer_bytes(answer: &Answer) -> usize {
    match answer {
        Answer::Keep => 0,
        Answer::Replace(text) | Answer::Drop(text) => text.len(),
        Answer::Emit(texts) => texts.iter().map(String::len).sum(),
        Answer::Fail(complaint) => complaint.code.len() + complaint.message.len(),
    }
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}
