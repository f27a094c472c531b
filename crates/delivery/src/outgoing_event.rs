//! An event on its way to a destination plugin's tool, and the tries that it has behind it.

use std::time::Duration;

use tidegate_event::Event;
use tidegate_state::Pending;

use super::outcome::DeliveryOutcome;

/// An event on its way.
#[derive(Debug, Clone)]
pub(super) struct OutgoingEvent {
    pub(super) user: String,
    pub(super) json: String,
    /// Tries that failed before.
    pub(super) tries: u32,
}

impl OutgoingEvent {
    pub(super) fn new(event: &Event) -> Self {
        Self { user: event.user().unwrap_or_default().to_owned(), json: event.to_json(), tries: 0 }
    }

    /// Somebody whom a tool is to delete; nothing has to go in their order.
    pub(super) fn of_person(json: String, tries: u32) -> Self {
        Self { user: String::new(), json, tries }
    }

    pub(super) fn of_pending(pending: &Pending) -> Self {
        Self { user: pending.user.clone(), json: pending.event.clone(), tries: pending.attempts }
    }

    /// The same try again, not counted as one.
    pub(super) fn again_uncounted(&self, error: String) -> DeliveryOutcome {
        DeliveryOutcome::Again { tries: self.tries, after: None, error, detail: None }
    }

    /// Another try, counted as one.
    pub(super) fn again_counted(&self, after: Option<Duration>, error: String) -> DeliveryOutcome {
        DeliveryOutcome::Again { tries: self.tries.saturating_add(1), after, error, detail: None }
    }
}
