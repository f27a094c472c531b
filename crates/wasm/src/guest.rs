//! The state of one instance: what its host functions and its limiter need.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_event::digits::Numbers;
use wasmtime::{Trap, WasmBacktrace};

use super::call::Call;
use super::call_failure::{CallFailure, CallStage};
use super::call_log::CallLog;
use super::editing::Editing;
use super::guest_path::GuestPaths;
use super::host_trap::HostTrap;
use super::legible::{MESSAGE_BYTES_MAX, legible};
use super::limits::CallLimits;
use super::memory::GuestMemory;
use super::meter::CpuMeter;
use super::services::Services;
use super::stop_reason::StopReason;
use super::trap::place;

/// State of one instance: what its host functions and its limiter need.
pub(super) struct Guest {
    pub(super) limits: Arc<CallLimits>,
    pub(super) call_log: CallLog,
    pub(super) now_ms: u64,
    pub(super) seed: u64,
    pub(super) stage: CallStage,
    pub(super) memory: GuestMemory,
    pub(super) services: Services,
    /// What numbers become in the guest.
    pub(super) numbers: Numbers,
    /// Whether a signature was asked for in this call.
    pub(super) has_signed: bool,
    /// Of the fields world; empty in the others.
    pub(super) editing: Editing,
    pub(super) paths: GuestPaths,
    pub(super) budget: CallBudget,
}

/// What one call may spend, and what it has spent.
#[derive(Clone)]
pub(super) struct CallBudget {
    pub(super) meter: Arc<CpuMeter>,
    pub(super) cpu_max: Duration,
    /// The call ends no later.
    pub(super) wall: Instant,
}

impl CallBudget {
    /// The budget of a call that begins now, over so many `events`.
    pub(super) fn of(call: &Call<'_>, events: usize) -> Self {
        let wall = Instant::now() + call.limits.wall_max;
        Self {
            meter: Arc::default(),
            cpu_max: call.limits.cpu_budget(events),
            wall: call.deadline.map_or(wall, |deadline| deadline.min(wall)),
        }
    }

    /// Why the guest must stop now, asked while it runs.
    pub(super) fn exceeded(&self) -> Option<HostTrap> {
        if self.meter.used_while_polled() >= self.cpu_max {
            return Some(HostTrap::Cpu(self.cpu_max));
        }
        (Instant::now() >= self.wall).then_some(HostTrap::Wall)
    }
}

impl Guest {
    /// A guest of which nothing has run, in an engine with these limits. It has no budget before [`Guest::begin`].
    pub(super) fn new(call: &Call<'_>, engine: &CallLimits) -> Self {
        Self {
            limits: Arc::clone(call.limits),
            call_log: CallLog::default(),
            now_ms: call.now_ms,
            seed: call.seed,
            stage: CallStage::Instantiate,
            memory: GuestMemory::new(call.limits, engine),
            services: call.services.clone(),
            numbers: call.numbers,
            has_signed: false,
            editing: Editing::default(),
            paths: GuestPaths::default(),
            budget: CallBudget { meter: Arc::default(), cpu_max: Duration::ZERO, wall: Instant::now() },
        }
    }

    /// Sets everything anew that is of one call.
    pub(super) fn begin(&mut self, call: &Call<'_>, budget: CallBudget, editing: Editing, call_log: CallLog) {
        self.editing = editing;
        self.call_log = call_log;
        self.now_ms = call.now_ms;
        self.seed = call.seed;
        self.services = call.services.clone();
        self.numbers = call.numbers;
        self.has_signed = false;
        self.budget = budget;
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    pub(super) fn print(&mut self, bytes: &[u8]) {
        self.call_log.print(&self.limits, bytes);
    }

    /// The call was stopped at the stage that it had reached.
    pub(super) fn stopped(&self, stop_reason: StopReason, message: String) -> CallFailure {
        CallFailure::Stopped { stop_reason, stage: self.stage, message: legible(&message, MESSAGE_BYTES_MAX) }
    }

    /// What wasmtime's error says about the guest.
    pub(super) fn failure(&self, error: &wasmtime::Error) -> CallFailure {
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
