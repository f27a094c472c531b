//! What a guest says of an event, apart from any wire format.

use super::bindings::transform::exports::tidegate::plugin::transformer;
use super::bindings::transform::tidegate::plugin::types;
use super::legible::{MESSAGE_BYTES_MAX, NAME_BYTES_MAX, legible};

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
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
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
