//! What one part of the way makes of one event.

use std::sync::Arc;

use tidegate_event::value::JsonObject;
use tidegate_event::{Event, EventId, EventKind};

/// A part of the way of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TapStage {
    /// The dedup window and the contract of its source.
    Accepted,
    /// A function, of the source or of a sync.
    Function { name: String, sync: Option<Arc<str>> },
    /// Filter and mapping of a sync, in front of its destination.
    Sync(Arc<str>),
}

/// What became of an event there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TapOutcome {
    Passed,
    Duplicate,
    /// Left out, with the reason.
    Filtered(String),
    /// By a function, with its reason.
    Dropped(String),
    /// With the code.
    Quarantined(String),
}

/// What one part of the way made of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapStep {
    pub id: EventId,
    pub source: Arc<str>,
    /// Microseconds since the epoch.
    pub received_at_us: i64,
    pub stage: TapStage,
    pub outcome: TapOutcome,
    /// JSON text.
    pub before: String,
    /// What goes on, JSON text each; empty where that is the event as it was before.
    pub after: Vec<String>,
}

/// What is known of an event beside its fields.
#[derive(Debug, Clone)]
pub(crate) struct EventHead {
    source: Arc<str>,
    id: EventId,
    kind: EventKind,
    received_at_us: i64,
}

impl TapStage {
    /// The sync on whose way it is.
    pub(super) fn sync(&self) -> Option<&str> {
        match self {
            Self::Sync(sync) | Self::Function { sync: Some(sync), .. } => Some(sync),
            Self::Accepted | Self::Function { sync: None, .. } => None,
        }
    }
}

impl TapOutcome {
    /// Whether the event goes no further because something is wrong with it, or because a function says so.
    pub(super) const fn is_error(&self) -> bool {
        matches!(self, Self::Dropped(_) | Self::Quarantined(_))
    }
}

impl TapStep {
    /// About its bytes.
    pub(super) fn bytes(&self) -> usize {
        self.before.len() + self.after.iter().map(String::len).sum::<usize>()
    }
}

impl EventHead {
    pub(crate) fn of(event: &Event) -> Self {
        let Event { source, id, kind, received_at_us, body: _ } = event;
        Self { source: Arc::clone(source), id: *id, kind: *kind, received_at_us: *received_at_us }
    }

    /// The event with the fields of this JSON text; none where it is no object.
    pub(crate) fn with_text(self, text: &[u8]) -> Option<Event> {
        let body: JsonObject = std::str::from_utf8(text).ok()?.parse().ok()?;
        let Self { source, id, kind, received_at_us } = self;
        Some(Event { source, id, kind, received_at_us, body })
    }
}
