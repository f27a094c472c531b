//! What each table is for, and which fields of an event go where in it.

use tidegate_event::EventKind;

use super::OVERFLOW;
use crate::evolve::Type;

/// What a table is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    Identifies,
    Tracks,
    Pages,
    Screens,
    Groups,
    Aliases,
    /// One event name.
    Event,
    /// Events whose name gets no table of its own.
    Overflow,
    Violations,
}

/// Where a top-level field of an event goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BasePlace {
    Nowhere,
    /// The base column with this number.
    Base(usize),
    /// The same, for an id: an empty text is none.
    Id(usize),
    /// The same, for an instant: what is none is kept in the overflow.
    Instant(usize),
    /// Its fields become columns without a prefix.
    Own,
    Context,
    /// A column `message_<name>`.
    Message,
}

/// Numbers of the base columns that all tables of events share.
pub const ID: usize = 0;
pub const TIMESTAMP: usize = 3;
pub const RECEIVED_AT: usize = 4;
/// Numbers of the two that tables of tracks have in addition.
pub const EVENT: usize = 7;
pub const EVENT_TEXT: usize = 8;

type Base = (&'static str, Type);

/// What every table of events begins with.
const COMMON: &[Base] = &[
    ("id", Type::Text),
    ("anonymous_id", Type::Text),
    ("user_id", Type::Text),
    ("timestamp", Type::Timestamp),
    ("received_at", Type::Timestamp),
    ("sent_at", Type::Timestamp),
    ("original_timestamp", Type::Timestamp),
];

const VIOLATIONS: &[Base] = &[
    ("id", Type::Text),
    ("received_at", Type::Timestamp),
    ("payload", Type::Json),
    ("event_name", Type::Text),
    ("event_type", Type::Text),
    ("schema_version", Type::Text),
    ("has_undeclared_schema", Type::Boolean),
    ("has_undeclared_fields", Type::Boolean),
    ("has_schema_violated", Type::Boolean),
    ("violations", Type::Json),
];

impl Family {
    /// The tables with a name of their own. An event of that name gives way.
    pub const FIXED: [&'static str; 7] =
        ["identifies", "tracks", "pages", "screens", "groups", "aliases", "event_violations"];

    #[must_use]
    pub const fn of(kind: EventKind) -> Self {
        match kind {
            EventKind::Identify => Self::Identifies,
            EventKind::Track => Self::Tracks,
            EventKind::Page => Self::Pages,
            EventKind::Screen => Self::Screens,
            EventKind::Group => Self::Groups,
            EventKind::Alias => Self::Aliases,
        }
    }

    /// The name of its only table; tables of events are named by the event.
    #[must_use]
    pub const fn table(self) -> Option<&'static str> {
        match self {
            Self::Identifies => Some("identifies"),
            Self::Tracks => Some("tracks"),
            Self::Pages => Some("pages"),
            Self::Screens => Some("screens"),
            Self::Groups => Some("groups"),
            Self::Aliases => Some("aliases"),
            Self::Violations => Some("event_violations"),
            Self::Overflow => Some(OVERFLOW),
            Self::Event => None,
        }
    }

    /// Whether it holds one row for each event of a kind, so that counting its rows counts events.
    #[must_use]
    pub const fn is_of_kind(self) -> bool {
        !matches!(self, Self::Event | Self::Overflow | Self::Violations)
    }

    /// Whether it holds events, whole or in part.
    #[must_use]
    pub const fn is_of_events(self) -> bool {
        !matches!(self, Self::Violations)
    }

    /// The columns that every such table has from the start, by number.
    pub fn base(self) -> impl Iterator<Item = Base> {
        let (first, more): (&[Base], &[Base]) = match self {
            Self::Identifies => (COMMON, &[]),
            Self::Tracks | Self::Event => (COMMON, &[("event", Type::Text), ("event_text", Type::Text)]),
            Self::Overflow => {
                (COMMON, &[("event", Type::Text), ("event_text", Type::Text), ("properties", Type::Json)])
            }
            Self::Pages | Self::Screens => (COMMON, &[("name", Type::Text), ("category", Type::Text)]),
            Self::Groups => (COMMON, &[("group_id", Type::Text)]),
            Self::Aliases => (COMMON, &[("previous_id", Type::Text)]),
            Self::Violations => (VIOLATIONS, &[]),
        };
        first.iter().chain(more).copied()
    }

    /// The container whose fields become columns without a prefix.
    #[must_use]
    pub const fn own(self) -> &'static str {
        match self {
            Self::Identifies | Self::Groups => "traits",
            Self::Pages | Self::Screens | Self::Event => "properties",
            Self::Tracks | Self::Aliases | Self::Overflow | Self::Violations => "",
        }
    }

    /// Where the top-level field `key` goes in such a table.
    #[must_use]
    pub fn place(self, key: &str) -> BasePlace {
        match key {
            "type" | "writeKey" | "_metadata" => BasePlace::Nowhere,
            "messageId" => BasePlace::Base(ID),
            "anonymousId" => BasePlace::Id(1),
            "userId" => BasePlace::Id(2),
            "timestamp" => BasePlace::Instant(TIMESTAMP),
            "receivedAt" => BasePlace::Instant(RECEIVED_AT),
            "sentAt" => BasePlace::Instant(5),
            "originalTimestamp" => BasePlace::Instant(6),
            "context" => BasePlace::Context,
            _ if key == self.own() => BasePlace::Own,
            _ => match (self, key) {
                // The table of the event has them.
                (Self::Tracks, "properties") => BasePlace::Nowhere,
                (Self::Tracks | Self::Event | Self::Overflow, "event") => BasePlace::Base(EVENT_TEXT),
                (Self::Overflow, "properties") => BasePlace::Base(9),
                (Self::Groups, "groupId") | (Self::Aliases, "previousId") => BasePlace::Id(7),
                (Self::Pages | Self::Screens, "name") => BasePlace::Base(7),
                (Self::Pages | Self::Screens, "category") => BasePlace::Base(8),
                _ => BasePlace::Message,
            },
        }
    }

    /// Whether the column `name` is the table's own, so that nobody declares its type.
    pub(super) fn is_own(self, name: &str) -> bool {
        name == OVERFLOW || self.base().any(|(base, _)| base == name)
    }

    /// Whether the table wants the column `name` for something other than a field of its own container.
    pub(crate) fn takes(self, name: &str) -> bool {
        self.is_own(name) || name.starts_with("context_") || name.starts_with("message_")
    }
}
