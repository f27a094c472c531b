//! One call of a guest: what goes in beside the batch, and what came of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_event::digits::Numbers;

use super::call_failure::CallFailure;
use super::limits::CallLimits;
use super::services::Services;

/// What one call runs with: its limits, and what the host passes in beside the batch.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    pub limits: &'a Arc<CallLimits>,
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

impl<T> Called<T> {
    /// The same call with another reading of its answer.
    pub fn map_answer<U>(self, read: impl FnOnce(T) -> U) -> Called<U> {
        Called { answer: self.answer.map(read), cpu: self.cpu, memory_peak_bytes: self.memory_peak_bytes }
    }
}
