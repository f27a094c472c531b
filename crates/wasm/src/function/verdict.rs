//! What a failed call means for its batch, and how much more may be spent on finding out.

use std::time::Duration;

use tidegate_bisect::tries_max;

use super::{CallLimits, FunctionError, FunctionErrorCode};
use crate::{CallFailure, CallStage, StopReason};

/// What a failed call means for its batch.
pub(super) enum RunVerdict {
    /// An event may be to blame: halve the batch.
    Suspect(FunctionError),
    /// No event was seen, or no time is left: the error is everybody's.
    Everybody(FunctionError),
    /// The function asks for another try after this pause, or never had its turn.
    Again(FunctionError, Duration),
}

/// What a run has spent on looking for poison events, over all its chunks.
#[derive(Default)]
pub(super) struct Spent {
    pub(super) attempts: usize,
    pub(super) cpu: Duration,
    pub(super) wall: Duration,
    pub(super) retries: u32,
}

impl Spent {
    /// Why no further attempt may be made, if so.
    pub(super) fn exhausted(&self, limits: &CallLimits, events: usize) -> Option<&'static str> {
        let attempts_max = tries_max(events, limits.poison_events_max as usize);
        if self.cpu >= limits.isolation_cpu_max || self.wall >= limits.wall_max {
            return Some("the time for finding the event to blame is gone");
        }
        (self.attempts >= attempts_max).then_some("the attempts at finding the event to blame are used up")
    }
}

pub(super) fn verdict(failure: CallFailure, limits: &CallLimits) -> RunVerdict {
    match failure {
        CallFailure::Stopped { stop_reason, stage, message } => {
            let code = match stop_reason {
                StopReason::Trap => FunctionErrorCode::Trap,
                StopReason::CpuBudget => FunctionErrorCode::CpuBudget,
                StopReason::WallLimit | StopReason::Starved => FunctionErrorCode::WallLimit,
                StopReason::MemoryLimit => FunctionErrorCode::MemoryLimit,
                StopReason::OutputLimit => FunctionErrorCode::OutputLimit,
            };
            match stage {
                CallStage::Transform if stop_reason == StopReason::Starved => {
                    RunVerdict::Again(FunctionError { code, message }, Duration::ZERO)
                }
                CallStage::Transform => RunVerdict::Suspect(FunctionError { code, message }),
                CallStage::Configure => {
                    RunVerdict::Everybody(FunctionError { code, message: format!("while being configured: {message}") })
                }
                CallStage::Instantiate => {
                    RunVerdict::Everybody(FunctionError { code, message: format!("while being started: {message}") })
                }
            }
        }
        CallFailure::Configure(guest_error) => RunVerdict::Everybody(FunctionError {
            code: FunctionErrorCode::ConfigureFailed,
            message: guest_error.to_string(),
        }),
        CallFailure::Fatal(guest_error) => {
            RunVerdict::Suspect(FunctionError { code: FunctionErrorCode::BatchFatal, message: guest_error.to_string() })
        }
        CallFailure::Retryable(guest_error, after) => {
            let pause = after.unwrap_or(Duration::ZERO).min(limits.retry_wait_max);
            RunVerdict::Again(
                FunctionError { code: FunctionErrorCode::BatchFatal, message: guest_error.to_string() },
                pause,
            )
        }
    }
}

pub(super) fn wrong_count(events: usize, answers: usize) -> FunctionError {
    let message = format!("{answers} outcomes for a batch of {events}; there must be one for each event");
    FunctionError { code: FunctionErrorCode::WrongCount, message }
}
