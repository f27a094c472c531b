//! Which events of its source a sync takes.

use std::collections::HashSet;

use tidegate_event::{Event, EventKind};
use tidegate_state::KnownConsent;

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

/// What of a filter leaves an event out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilteredBy {
    Kinds,
    Events,
    ExceptEvents,
    Integrations,
    Consent,
    /// By what is known of its person beside it.
    KnownConsent,
}

impl FilteredBy {
    /// In words, for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kinds => "`filter.types` has other kinds of event",
            Self::Events => "`filter.events` has other names",
            Self::ExceptEvents => "`filter.except_events` has its name",
            Self::Integrations => "`integrations` of the event leave the destination out",
            Self::Consent => "`context.consent` of the event does not have what `consent` asks for",
            Self::KnownConsent => "its person has withdrawn what `consent` asks for, or never gave it",
        }
    }
}

impl SyncFilter {
    /// True when the sync takes `event`.
    #[must_use]
    pub fn takes(&self, event: &Event) -> bool {
        self.left_out_by(event).is_none()
    }

    /// What leaves `event` out, by itself; `None` when the sync takes it.
    #[must_use]
    pub fn left_out_by(&self, event: &Event) -> Option<FilteredBy> {
        self.left_out_knowing(event, &[])
    }

    /// The same beside what is `known` of its person's consent.
    #[must_use]
    pub fn left_out_knowing(&self, event: &Event, known: &[KnownConsent]) -> Option<FilteredBy> {
        if !self.kinds.is_empty() && !self.kinds.contains(&event.kind) {
            return Some(FilteredBy::Kinds);
        }
        if let Some(name) = event.name().filter(|_| event.kind == EventKind::Track) {
            if !(self.events.is_empty() || self.events.contains(name)) {
                return Some(FilteredBy::Events);
            }
            if self.except_events.contains(name) {
                return Some(FilteredBy::ExceptEvents);
            }
        }
        if !(self.spellings.is_empty() || choice::integrations_allow(event, &self.spellings)) {
            return Some(FilteredBy::Integrations);
        }
        if self.consent.allows(event, known) {
            return None;
        }
        let is_of_event = known.is_empty() || !self.consent.allows(event, &[]);
        Some(if is_of_event { FilteredBy::Consent } else { FilteredBy::KnownConsent })
    }

    /// True when every event passes, so that nothing need be looked at.
    #[must_use]
    pub fn takes_all(&self) -> bool {
        *self == Self::default()
    }
}
