//! People whom the tool behind a destination is asked to delete: planned by the plugin's export `forget`, and sent as events are.

use std::sync::Arc;
use std::time::Duration;

use super::outcome::DeliveryOutcome;
use super::outgoing_event::OutgoingEvent;
use super::runtime::{DestinationRuntime, OpenError};

/// What came of asking for one person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskedDeletion {
    /// The tool has taken the order.
    Taken,
    /// The plugin left it out: its tool knows nobody by such an id, or its settings do not ask for it.
    LeftOut,
    /// It will not be better later. The reason is in the tool's words, which may name the person.
    Refused(String),
    /// It may be better in a while.
    Again(Duration, String),
}

impl DestinationRuntime {
    /// Asks the tool to delete people, each given as JSON as the interface `forget` says. `tries` is how many have failed before. What came
    /// of each is answered in their order.
    ///
    /// # Errors
    /// No connection can be made to anybody.
    pub async fn forget(&self, people: Vec<String>, tries: u32) -> Result<Vec<AskedDeletion>, OpenError> {
        let runtime = self.to_forget()?;
        let people: Arc<[OutgoingEvent]> =
            people.into_iter().map(|person| OutgoingEvent::of_person(person, tries)).collect();
        let outcomes = runtime.carry(&people, true).await;
        let stopped = runtime.stopped();
        let asked = |outcome: DeliveryOutcome| match (outcome, &stopped) {
            (DeliveryOutcome::Delivered, _) => AskedDeletion::Taken,
            (DeliveryOutcome::Skipped, _) => AskedDeletion::LeftOut,
            (DeliveryOutcome::Rejected { code, reason, .. }, _) => AskedDeletion::Refused(format!("{code}: {reason}")),
            // A key that may not delete is no better later.
            (DeliveryOutcome::Again { .. } | DeliveryOutcome::Behind, Some(stop)) => {
                AskedDeletion::Refused(stop.reason.clone())
            }
            (DeliveryOutcome::Again { tries, after, error, .. }, None) => {
                AskedDeletion::Again(runtime.pause(tries, after), error)
            }
            (DeliveryOutcome::Behind, None) => {
                AskedDeletion::Again(Duration::ZERO, "it waits for another one".to_owned())
            }
        };
        Ok(outcomes.into_iter().map(asked).collect())
    }
}
