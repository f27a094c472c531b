//! Which events of its source a sync takes.

use std::collections::HashSet;

use tidegate_event::{Event, EventKind};

use super::choice::{self, Consent};

/// Kinds and event names. Empty lists mean "all"; `except_events` is taken away last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SyncFilter {
    pub kinds: Vec<EventKind>,
    /// Names of track events; other kinds are not touched by it.
    pub events: HashSet<String>,
    pub except_events: HashSet<String>,
    /// How `integrations` of an event may spell the destination, see [`choice::spelling`]. None for a warehouse, which keeps
    /// every event.
    pub spellings: Vec<String>,
    pub consent: Consent,
}

impl SyncFilter {
    /// True when the sync takes `event`.
    #[must_use]
    pub fn takes(&self, event: &Event) -> bool {
        if !self.kinds.is_empty() && !self.kinds.contains(&event.kind) {
            return false;
        }
        if let Some(name) = event.name().filter(|_| event.kind == EventKind::Track)
            && !((self.events.is_empty() || self.events.contains(name)) && !self.except_events.contains(name))
        {
            return false;
        }
        let named = self.spellings.is_empty() || choice::integrations_allow(event, &self.spellings);
        named && self.consent.allows(event)
    }

    /// True when every event passes, so that nothing need be looked at.
    #[must_use]
    pub fn takes_all(&self) -> bool {
        *self == Self::default()
    }
}
