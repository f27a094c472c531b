//! One batch through one fresh instance, within every limit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use tidegate_event::digits::{self, Numbers};
use wasmtime::{Store, Trap, UpdateDeadline, WasmBacktrace};

use super::bindings::destination::DestinationPlugin;
use super::bindings::fields::TransformFields;
use super::bindings::transform::Transform;
use super::bindings::transform::exports::tidegate::plugin::transformer;
use super::bindings::transform::tidegate::plugin::types;
use super::call_log::{CallLog, NAME_BYTES_MAX, legible};
use super::delivery::{DeliveryVerdict, GuestPlan, GuestResponse};
use super::fields::{Editing, GuestPaths, Mark};
use super::limits::CallLimits;
use super::memory::GuestMemory;
use super::meter::CpuMeter;
use super::module::{Module, Pre};
use super::services::Services;
use super::stop_reason::StopReason;
use super::trap::place;

/// What the host passes in with a batch.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    pub settings_json: &'a str,
    pub revision: u64,
    pub now_ms: u64,
    pub seed: u64,
    /// No later than this, whatever the wall limit says.
    pub deadline: Option<Instant>,
    pub services: &'a Services,
    /// What the numbers of an event become in the guest.
    pub numbers: Numbers,
}

/// What came of a call.
#[derive(Debug)]
pub struct Called<T> {
    /// As the guest gave it: counts and indexes are not checked here.
    pub answer: Result<T, CallFailure>,
    pub cpu: Duration,
    pub memory_peak_bytes: usize,
}

/// What a guest made of one event. Texts are as the guest gave them, except codes and messages, which are legible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuestAnswer {
    Keep,
    Replace(String),
    Emit(Vec<String>),
    Drop(String),
    Fail(GuestError),
}

/// What a guest says went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestError {
    pub kind: GuestErrorKind,
    pub code: String,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestErrorKind {
    InvalidEvent,
    InvalidConfig,
    Unsupported,
    Internal,
}

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallFailure {
    /// The host stopped the guest, or it stopped itself.
    Stopped { stop_reason: StopReason, stage: CallStage, message: String },
    /// `configure` refused the settings.
    Configure(GuestError),
    /// The guest believes that the same batch may work later.
    Retryable(GuestError, Option<Duration>),
    /// The guest gave the whole batch up.
    Fatal(GuestError),
}

/// How far a call had come. Before `Transform` the guest has seen no event, so none can be to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallStage {
    Instantiate,
    Configure,
    Transform,
}

/// Why the host ends a call from within.
#[derive(Debug, thiserror::Error)]
pub(super) enum HostTrap {
    #[error("the CPU budget of {} ms is gone", .0.as_millis())]
    Cpu(Duration),
    #[error("the wall limit is reached")]
    Wall,
    #[error("the guest called exit")]
    Exit,
    #[error("{0} is not available to a function")]
    Absent(String),
    #[error("there is no event {index}: the batch has {events}")]
    Index { index: u32, events: usize },
    #[error("the handle is none of a path")]
    Handle,
    #[error("{0:?} is no JSON pointer; write /properties/name")]
    Pointer(String),
    #[error("the guest holds {0} paths; make each once, in `configure`")]
    Paths(usize),
    #[error("the guest holds paths of more than {0} bytes; make each once, in `configure`")]
    PathsBytes(usize),
    #[error("the guest wrote more than max(output_bytes_min, output_per_input * input)")]
    Written,
}

/// State of one instance: what its host functions and its limiter need.
pub(super) struct Guest {
    pub(super) limits: Arc<CallLimits>,
    pub(super) call_log: CallLog,
    pub(super) now_ms: u64,
    pub(super) seed: u64,
    stage: CallStage,
    memory: GuestMemory,
    pub(super) services: Services,
    /// What numbers become in the guest.
    pub(super) numbers: Numbers,
    /// Whether a signature was asked for in this call.
    pub(super) has_signed: bool,
    /// Of the fields world; empty in the others.
    pub(super) editing: Editing,
    pub(super) paths: GuestPaths,
    meter: Arc<CpuMeter>,
    budget: Duration,
    wall: Instant,
}

/// What a call asks of an instance.
#[derive(Clone, Copy)]
enum CallJob<'a> {
    Transform(&'a [String]),
    Edit,
    Prepare(&'a [String]),
    Classify { tag: &'a str, events: &'a [u32], response: &'a GuestResponse },
}

enum CallDone {
    Answers(Vec<GuestAnswer>),
    Edited,
    /// And whether the guest signed anything.
    Plan(GuestPlan, bool),
    Verdict(DeliveryVerdict),
}

impl Guest {
    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    pub(super) fn print(&mut self, bytes: &[u8]) {
        self.call_log.print(&self.limits, bytes);
    }
}

impl Module {
    /// Runs the texts of `batch` through `transform` on a fresh instance. Log lines and counters go to `call_log`, also
    /// when the call fails.
    pub async fn transform(
        &self,
        limits: &Arc<CallLimits>,
        call: Call<'_>,
        batch: &[String],
        call_log: &mut CallLog,
    ) -> Called<Vec<GuestAnswer>> {
        let size = Size { events: batch.len(), bytes: batch.iter().map(String::len).sum() };
        let (called, _) = self.call(limits, call, CallJob::Transform(batch), size, Editing::default(), call_log).await;
        called.map(|done| if let CallDone::Answers(answers) = done { Some(answers) } else { None })
    }

    /// Lets a guest of the fields world edit `events` in place; `input_bytes` is about what they were as text. When the
    /// call fails the events come back as they were.
    pub async fn edit(
        &self,
        limits: &Arc<CallLimits>,
        call: Call<'_>,
        events: Vec<Map<String, Value>>,
        input_bytes: usize,
        call_log: &mut CallLog,
    ) -> (Vec<Map<String, Value>>, Called<Vec<Mark>>) {
        let size = Size { events: events.len(), bytes: input_bytes };
        let editing = Editing::new(events, limits.output_budget_bytes(input_bytes), call.numbers);
        let (called, editing) = self.call(limits, call, CallJob::Edit, size, editing, call_log).await;
        let Called { answer, cpu, memory_peak_bytes } = called;
        match answer {
            Ok(_) => {
                let (events, marks) = editing.finish();
                (events, Called { answer: Ok(marks), cpu, memory_peak_bytes })
            }
            Err(failure) => (editing.undone(), Called { answer: Err(failure), cpu, memory_peak_bytes }),
        }
    }

    /// Asks a destination plugin which requests deliver `batch`. Their bodies have the digits of the events.
    pub async fn prepare(
        &self,
        limits: &Arc<CallLimits>,
        call: Call<'_>,
        batch: &[String],
        call_log: &mut CallLog,
    ) -> Called<GuestPlan> {
        let size = Size { events: batch.len(), bytes: batch.iter().map(String::len).sum() };
        let called = self.ask(limits, call, CallJob::Prepare(batch), size, call_log).await;
        called.map(|done| {
            let CallDone::Plan(mut plan, has_signed) = done else { return None };
            // What was signed must be sent as it was signed.
            if !has_signed {
                plan.restore_digits(batch, &call_log.given, call.numbers);
            }
            Some(plan)
        })
    }

    /// Asks a destination plugin what `response` means for the request with this `tag` that carried these `events`.
    pub async fn classify(
        &self,
        limits: &Arc<CallLimits>,
        call: Call<'_>,
        tag: &str,
        events: &[u32],
        response: &GuestResponse,
        call_log: &mut CallLog,
    ) -> Called<DeliveryVerdict> {
        let size = Size { events: events.len(), bytes: response.body.len() };
        let job = CallJob::Classify { tag, events, response };
        let called = self.ask(limits, call, job, size, call_log).await;
        called.map(|done| if let CallDone::Verdict(verdict) = done { Some(verdict) } else { None })
    }

    /// One call of a destination plugin, and again while the machine stands still: no event of it is to blame for that.
    async fn ask(
        &self,
        limits: &Arc<CallLimits>,
        call: Call<'_>,
        job: CallJob<'_>,
        size: Size,
        call_log: &mut CallLog,
    ) -> Called<CallDone> {
        let mut retries = 0;
        loop {
            let (called, _) = self.call(limits, call, job, size, Editing::default(), call_log).await;
            let starved = matches!(called.answer, Err(CallFailure::Stopped { stop_reason: StopReason::Starved, .. }));
            if !starved || retries >= limits.retries_max {
                return called;
            }
            retries += 1;
        }
    }

    async fn call(
        &self,
        limits: &Arc<CallLimits>,
        call: Call<'_>,
        job: CallJob<'_>,
        size: Size,
        editing: Editing,
        call_log: &mut CallLog,
    ) -> (Called<CallDone>, Editing) {
        if call_log.given.is_empty() && digits::is_lossy_for(call.settings_json, call.numbers) {
            call_log.give(call.settings_json);
        }
        let mut instance = match self.warm().take(call.revision) {
            Some(warm) => warm,
            None => {
                // The semaphore is never closed, so there is a permit or there is patience.
                let slot = self.engine().slots().acquire_owned().await.ok();
                Instance { store: self.store(limits, &call), started: None, revision: call.revision, calls: 0, slot }
            }
        };
        let began = Instant::now();
        let wall = began + limits.wall_max;
        let wall = call.deadline.map_or(wall, |deadline| deadline.min(wall));
        let meter = Arc::new(CpuMeter::default());
        instance.prepare(limits, &call, size, editing, std::mem::take(call_log), &meter, wall);
        // Boxed, because every await on the way here copies the future of what it calls, and this is the largest.
        let work = Box::pin(self.work(&mut instance, &call, job));
        // The callback of the store sees the wall limit at a tick; the timeout sees it when nothing runs at all.
        let answer = match tokio::time::timeout_at(wall.into(), meter.time(work)).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(instance.store.data().stopped(StopReason::WallLimit, HostTrap::Wall.to_string())),
        };
        let cpu = meter.used();
        let answer = answer.map_err(|failure| match failure {
            CallFailure::Stopped { stop_reason: StopReason::WallLimit, stage, .. } if cpu < began.elapsed() / 2 => {
                let message = "the machine stood still until the wall limit was reached".to_owned();
                CallFailure::Stopped { stop_reason: StopReason::Starved, stage, message }
            }
            failure => failure,
        });
        let guest = instance.store.data_mut();
        *call_log = std::mem::take(&mut guest.call_log);
        call_log.finish_line(limits);
        let editing = std::mem::take(&mut guest.editing);
        let called = Called { answer, cpu, memory_peak_bytes: guest.memory.peak_bytes };
        instance.calls += 1;
        // Only after a clean answer: whatever trapped, ran out or complained is thrown away with all that it knew.
        if called.answer.is_ok() && instance.calls < limits.calls_per_instance_max {
            self.warm().put(instance);
        }
        (called, editing)
    }

    /// A store that stops its guest at a tick when a budget is gone: nothing of the guest has run yet.
    fn store(&self, limits: &Arc<CallLimits>, call: &Call<'_>) -> Store<Guest> {
        let guest = Guest {
            limits: limits.clone(),
            call_log: CallLog::default(),
            now_ms: call.now_ms,
            seed: call.seed,
            stage: CallStage::Instantiate,
            memory: GuestMemory::new(limits, self.engine().limits()),
            services: call.services.clone(),
            numbers: call.numbers,
            has_signed: false,
            editing: Editing::default(),
            paths: GuestPaths::default(),
            meter: Arc::default(),
            budget: Duration::ZERO,
            wall: Instant::now(),
        };
        let mut store = Store::new(self.engine().raw(), guest);
        store.limiter(|guest| &mut guest.memory);
        store.epoch_deadline_callback(|store| {
            let guest = store.data();
            if guest.meter.used_while_polled() >= guest.budget {
                return Err(HostTrap::Cpu(guest.budget).into());
            }
            if Instant::now() >= guest.wall {
                return Err(HostTrap::Wall.into());
            }
            Ok(UpdateDeadline::Yield(1))
        });
        store
    }

    async fn work(&self, instance: &mut Instance, call: &Call<'_>, job: CallJob<'_>) -> Result<CallDone, CallFailure> {
        let store = &mut instance.store;
        let started = match &instance.started {
            Some(started) => started,
            None => instance.started.insert(self.start(store, call).await?),
        };
        match (started, job) {
            (StartedGuest::Transform(plugin), CallJob::Transform(batch)) => {
                match plugin.tidegate_plugin_transformer().call_transform(&mut *store, batch).await {
                    Ok(Ok(outcomes)) => Ok(CallDone::Answers(outcomes.into_iter().map(GuestAnswer::from).collect())),
                    Ok(Err(error)) => Err(error.into()),
                    Err(error) => Err(store.data().failure(&error)),
                }
            }
            (StartedGuest::Fields(plugin), CallJob::Edit) => {
                let events = store.data().editing.len();
                match plugin.tidegate_plugin_field_transformer().call_transform(&mut *store, events).await {
                    Ok(Ok(())) => Ok(CallDone::Edited),
                    Ok(Err(error)) => Err(error.into()),
                    Err(error) => Err(store.data().failure(&error)),
                }
            }
            (StartedGuest::Destination(plugin), CallJob::Prepare(batch)) => {
                match plugin.tidegate_plugin_destination().call_prepare(&mut *store, batch).await {
                    Ok(Ok(plan)) => Ok(CallDone::Plan(plan.into(), store.data().has_signed)),
                    Ok(Err(error)) => Err(error.into()),
                    Err(error) => Err(store.data().failure(&error)),
                }
            }
            (StartedGuest::Destination(plugin), CallJob::Classify { tag, events, response }) => {
                let plugin = plugin.tidegate_plugin_destination();
                match plugin.call_classify(&mut *store, tag, events, &response.into()).await {
                    Ok(verdict) => Ok(CallDone::Verdict(verdict.into())),
                    Err(error) => Err(store.data().failure(&error)),
                }
            }
            _ => Err(wrong_world()),
        }
    }

    /// Instantiates and configures.
    async fn start(&self, store: &mut Store<Guest>, call: &Call<'_>) -> Result<StartedGuest, CallFailure> {
        let started = match self.pre() {
            Pre::Transform(pre) => pre.instantiate_async(&mut *store).await.map(StartedGuest::Transform),
            Pre::Fields(pre) => pre.instantiate_async(&mut *store).await.map(StartedGuest::Fields),
            Pre::Destination(pre) => pre.instantiate_async(&mut *store).await.map(StartedGuest::Destination),
        };
        let started = started.map_err(|error| store.data().failure(&error))?;
        store.data_mut().stage = CallStage::Configure;
        let setup = types::Setup { settings_json: call.settings_json.to_owned(), revision: call.revision };
        let answer = match &started {
            StartedGuest::Transform(plugin) => {
                plugin.tidegate_plugin_lifecycle().call_configure(&mut *store, &setup).await
            }
            StartedGuest::Fields(plugin) => {
                plugin.tidegate_plugin_lifecycle().call_configure(&mut *store, &setup).await
            }
            StartedGuest::Destination(plugin) => {
                plugin.tidegate_plugin_lifecycle().call_configure(&mut *store, &setup).await
            }
        };
        match answer {
            Ok(Ok(())) => {
                store.data_mut().stage = CallStage::Transform;
                Ok(started)
            }
            Ok(Err(guest_error)) => Err(CallFailure::Configure(guest_error.into())),
            Err(error) => Err(store.data().failure(&error)),
        }
    }
}

/// An instance with its store and its slot of the pool.
pub(super) struct Instance {
    store: Store<Guest>,
    started: Option<StartedGuest>,
    /// Of the settings that it is configured with.
    revision: u64,
    calls: u32,
    /// Given back when the instance is dropped.
    slot: Option<tokio::sync::OwnedSemaphorePermit>,
}

enum StartedGuest {
    Transform(Transform),
    Fields(TransformFields),
    Destination(DestinationPlugin),
}

impl Instance {
    #[must_use]
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// Sets every limit anew for the next call.
    #[expect(clippy::too_many_arguments, reason = "each is one limit or one thing granted for the call")]
    fn prepare(
        &mut self,
        limits: &Arc<CallLimits>,
        call: &Call<'_>,
        size: Size,
        editing: Editing,
        call_log: CallLog,
        meter: &Arc<CpuMeter>,
        wall: Instant,
    ) {
        debug_assert!(self.slot.is_some());
        self.store.set_hostcall_fuel(limits.output_budget_bytes(size.bytes));
        self.store.set_epoch_deadline(1);
        let guest = self.store.data_mut();
        guest.editing = editing;
        guest.call_log = call_log;
        guest.now_ms = call.now_ms;
        guest.seed = call.seed;
        guest.services = call.services.clone();
        guest.numbers = call.numbers;
        guest.has_signed = false;
        guest.meter = Arc::clone(meter);
        guest.budget = limits.cpu_budget(size.events);
        guest.wall = wall;
    }
}

/// How much a call is about: its budgets grow with it.
#[derive(Clone, Copy)]
struct Size {
    events: usize,
    bytes: usize,
}

impl<T> Called<T> {
    /// The same call with another reading of its answer.
    pub fn map_answer<U>(self, read: impl FnOnce(T) -> U) -> Called<U> {
        Called { answer: self.answer.map(read), cpu: self.cpu, memory_peak_bytes: self.memory_peak_bytes }
    }
}

impl Called<CallDone> {
    fn map<T>(self, take: impl FnOnce(CallDone) -> Option<T>) -> Called<T> {
        let Self { answer, cpu, memory_peak_bytes } = self;
        let answer = answer.and_then(|done| take(done).ok_or_else(wrong_world));
        Called { answer, cpu, memory_peak_bytes }
    }
}

fn wrong_world() -> CallFailure {
    let message = "the component implements another world than the one that was called".to_owned();
    CallFailure::Stopped { stop_reason: StopReason::Trap, stage: CallStage::Instantiate, message }
}

impl From<types::BatchError> for CallFailure {
    fn from(error: types::BatchError) -> Self {
        match error {
            types::BatchError::Retryable((guest_error, after_ms)) => {
                Self::Retryable(guest_error.into(), after_ms.map(|ms| Duration::from_millis(ms.into())))
            }
            types::BatchError::Fatal(guest_error) => Self::Fatal(guest_error.into()),
        }
    }
}

impl Guest {
    fn stopped(&self, stop_reason: StopReason, message: String) -> CallFailure {
        CallFailure::Stopped { stop_reason, stage: self.stage, message: legible(&message, MESSAGE_BYTES_MAX) }
    }

    /// What wasmtime's error says about the guest.
    fn failure(&self, error: &wasmtime::Error) -> CallFailure {
        let at = error.downcast_ref::<WasmBacktrace>().map(place).unwrap_or_default();
        let root = error.root_cause().to_string();
        let stop_reason = match error.downcast_ref::<HostTrap>() {
            Some(HostTrap::Cpu(_)) => StopReason::CpuBudget,
            Some(HostTrap::Wall) => StopReason::WallLimit,
            Some(HostTrap::Written) => StopReason::OutputLimit,
            Some(_) => StopReason::Trap,
            // wasmtime keeps the type of this error to itself.
            None if root.contains("fuel allocated for hostcalls") => {
                return self.stopped(
                    StopReason::OutputLimit,
                    "the guest handed over more than max(output_bytes_min, output_per_input * input)".to_owned(),
                );
            }
            None if self.memory.refused && (error.is::<Trap>() || self.stage == CallStage::Instantiate) => {
                let limit = self.memory.bytes_max;
                let message = format!("memory of {limit} bytes was not enough for the guest: {root}{at}");
                return self.stopped(StopReason::MemoryLimit, message);
            }
            None => StopReason::Trap,
        };
        self.stopped(stop_reason, format!("{root}{at}"))
    }
}

const MESSAGE_BYTES_MAX: usize = 1 << 10;

impl From<types::PluginError> for GuestError {
    fn from(error: types::PluginError) -> Self {
        let kind = match error.kind {
            types::ErrorKind::InvalidEvent => GuestErrorKind::InvalidEvent,
            types::ErrorKind::InvalidConfig => GuestErrorKind::InvalidConfig,
            types::ErrorKind::Unsupported => GuestErrorKind::Unsupported,
            types::ErrorKind::Internal => GuestErrorKind::Internal,
        };
        let (code, message) = (legible(&error.code, NAME_BYTES_MAX), legible(&error.message, MESSAGE_BYTES_MAX));
        Self { kind, code, message }
    }
}

impl From<transformer::Outcome> for GuestAnswer {
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
