//! Takes what is pending out of syncs that need a consent which was withdrawn since.
//!
//! The admin API does it for those that it hears of. Of what events say themselves nobody is told: whether anything has changed is looked at now
//! and then.

use std::sync::Arc;

use tidegate_process::clock;
use tidegate_state::{State, StateError};
use tokio::sync::watch;

use crate::api::{WorkspaceNames, withhold_pending};

/// What was looked at last.
pub(super) struct WaitingConsents {
    names: watch::Receiver<Arc<WorkspaceNames>>,
    /// How often what is known of consent had changed; none before the first look.
    looked_at: Option<u64>,
}

impl WaitingConsents {
    pub(super) const fn new(names: watch::Receiver<Arc<WorkspaceNames>>) -> Self {
        Self { names, looked_at: None }
    }

    /// Looks, if anything has changed.
    ///
    /// # Errors
    /// The state cannot be read or written; it is looked at again then.
    pub(super) fn look(&mut self, state: &mut State) -> Result<(), StateError> {
        let has_changed = self.names.has_changed().unwrap_or(false);
        let generation = state.consent_generation()?;
        if self.looked_at == Some(generation) && !has_changed {
            return Ok(());
        }
        let names = Arc::clone(&self.names.borrow_and_update());
        self.looked_at = None;
        let events = withhold_pending(state, &names, clock::now_us())?;
        self.looked_at = Some(generation);
        if events > 0 {
            tracing::info!(events, "pending events were filtered, for consent to them was withdrawn");
        }
        Ok(())
    }
}
