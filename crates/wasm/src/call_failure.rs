//! Why a call has no answer, and how far it had come.

use std::time::Duration;

use super::bindings::transform::tidegate::plugin::types;
use super::guest_answer::GuestError;
use super::stop_reason::StopReason;

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

impl CallFailure {
    /// The component is of another world than the one that was called.
    pub(super) fn wrong_world() -> Self {
        let message = "the component implements another world than the one that was called".to_owned();
        Self::Stopped { stop_reason: StopReason::Trap, stage: CallStage::Instantiate, message }
    }
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
