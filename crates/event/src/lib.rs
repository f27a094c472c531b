//! What an event is.
//!
//! Nouns: a **kind** (track, identify, ...), an **event** (one decoded customer event), a **violation record**
//! (what a contract had to say about one). An event is parsed once; contract, functions and row encoding all work
//! on [`Event::body`]. This room knows nothing of logs, contracts or tables.

use std::fmt;
use std::sync::Arc;

use value::{JsonObject, Value};

pub mod decode;
pub mod digits;
pub mod json;
mod position;
pub mod record;
pub mod record_id;
mod retry_mark;
/// Whom an event is about.
pub mod subject;
pub mod time;
pub mod undecoded;
pub mod value;
/// What a destination promises: the trait, batches and deliveries.
pub mod destination;

pub use position::{EventId, Position, PositionError, in_partition, partition_of};
pub use retry_mark::{RetriedParts, RetryMark};

/// The six kinds of event of the Segment specification. `alias` is legacy and still on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventKind {
    Identify,
    Track,
    Page,
    Screen,
    Group,
    Alias,
}

impl EventKind {
    pub const ALL: [Self; 6] = [Self::Identify, Self::Track, Self::Page, Self::Screen, Self::Group, Self::Alias];

    /// The word on the wire: the value of `type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identify => "identify",
            Self::Track => "track",
            Self::Page => "page",
            Self::Screen => "screen",
            Self::Group => "group",
            Self::Alias => "alias",
        }
    }

    /// The kind named by `word`, exactly as on the wire.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One event after decoding: the whole message as JSON plus what the house needs to know of it.
///
/// `body` always holds `type`, `messageId` (a non-empty string), `receivedAt` and `timestamp` (UTC, RFC 3339, six
/// fraction digits); `originalTimestamp` and `sentAt` as the client spelled them, when it sent them. Numbers keep
/// every digit; unknown fields are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Name of the source it came through.
    pub source: Arc<str>,
    pub id: EventId,
    pub kind: EventKind,
    /// When the server took it, microseconds since the Unix epoch.
    pub received_at_us: i64,
    pub body: JsonObject,
}

impl Event {
    /// The `messageId`, unique within its source.
    #[must_use]
    pub fn message_id(&self) -> &str {
        self.text("messageId").unwrap_or_default()
    }

    /// The event name of a track, the name of a page or screen.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self.kind {
            EventKind::Track => self.text("event"),
            EventKind::Page | EventKind::Screen => self.text("name"),
            EventKind::Identify | EventKind::Group | EventKind::Alias => None,
        }
    }

    /// A top-level string field.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<&str> {
        self.body.get(field).and_then(Value::as_str)
    }

    /// An id in a top-level field, as text: a text that is not blank, or a number as it is spelled. RudderStack's browser
    /// SDK sends `"userId": ""` for everybody who has not logged in.
    #[must_use]
    pub fn id(&self, field: &str) -> Option<&str> {
        match self.body.get(field)? {
            Value::String(id) if !is_blank(id) => Some(id),
            Value::Number(id) => Some(id.as_str()),
            _ => None,
        }
    }

    /// Whose event it is: its `userId`, else its `anonymousId`.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.id("userId").or_else(|| self.id("anonymousId"))
    }

    /// The event as JSON text.
    #[must_use]
    pub fn to_json(&self) -> String {
        self.body.to_string()
    }
}

/// Whether a text is no id: nothing, or white space alone.
#[must_use]
pub fn is_blank(text: &str) -> bool {
    text.trim_start().is_empty()
}

/// The rule of an event that no contract declares; beside it stand those of a version and of a field, and the keywords of a schema.
pub const UNDECLARED_EVENT: &str = "undeclaredEvent";
pub const UNDECLARED_VERSION: &str = "undeclaredVersion";
pub const UNDECLARED_FIELD: &str = "undeclaredField";

/// What a contract found in one event; becomes a row of `event_violations` whatever the policy was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViolationRecord {
    pub source: Arc<str>,
    pub position: Position,
    pub message_id: String,
    pub received_at_us: i64,
    /// The event as it was before the contract touched it, JSON text.
    pub payload: String,
    pub event_name: Option<String>,
    pub event_type: EventKind,
    pub schema_version: String,
    pub has_undeclared_schema: bool,
    pub has_undeclared_fields: bool,
    pub has_schema_violated: bool,
    /// One sentence each.
    pub violations: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_id_is_none_and_a_number_is_its_digits() {
        for (body, user) in [
            (r#"{"userId":"u","anonymousId":"a"}"#, Some("u")),
            (r#"{"userId":"","anonymousId":"a"}"#, Some("a")),
            (r#"{"userId":null,"anonymousId":"a"}"#, Some("a")),
            (r#"{"userId":" \t\u00a0","anonymousId":"a"}"#, Some("a")),
            (r#"{"userId":" u ","anonymousId":"a"}"#, Some(" u ")),
            (r#"{"userId":true,"anonymousId":["a"]}"#, None),
            (r#"{"userId":9007199254740993,"anonymousId":"a"}"#, Some("9007199254740993")),
            (r#"{"userId":{},"anonymousId":""}"#, None),
        ] {
            let body = body.parse().unwrap();
            let event =
                Event { source: "web".into(), id: EventId::default(), kind: EventKind::Track, received_at_us: 0, body };
            assert_eq!(event.user(), user);
        }
    }
}
