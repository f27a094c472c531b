//! Trying an object out: what it connects to, and what it would make of events. Nothing is changed by it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Tries a destination or a sync.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TryObject {
    /// What the object would say; what it says now, when left out. An object that is not there yet needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<std::collections::BTreeMap<String, Value>>)]
    pub spec: Option<Value>,
    /// Of a sync: events as SDKs send them, at most 200. The newest events of its source, when left out. Of a stream: the same, and none when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<std::collections::BTreeMap<String, Value>>>)]
    pub events: Option<Vec<Value>>,
    /// Of a sync: at most so many of the newest events, 0 to 200; 20 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 200)]
    pub count: Option<u64>,
}

impl fmt::Debug for TryObject {
    /// A spec may hold a secret, and events are personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryObject").field("count", &self.count).finish_non_exhaustive()
    }
}

/// What came of a try.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ObjectTried {
    pub kind: String,
    pub name: String,
    /// Everything can be reached, and nothing is missing that is needed there.
    pub ok: bool,
    /// Of a destination one for each of its syncs, or one when none uses it.
    pub connections: Vec<TriedConnection>,
    /// Of a sync or a stream: what each event would become, oldest first.
    pub events: Vec<TriedEvent>,
    /// Who asked may not see events: every value stands for itself by its type alone.
    pub masked: bool,
}

/// How a destination answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TriedConnection {
    /// None for a destination that no sync uses.
    pub sync: Option<String>,
    pub destination: String,
    /// It answers, and nothing is missing that is needed.
    pub ok: bool,
    /// What it said, or why it could not be asked.
    pub says: String,
    /// What may be done there.
    pub may: Vec<TriedRight>,
}

/// How the stream of a source answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TriedStream {
    pub source: String,
    /// Where its messages are.
    pub place: String,
    /// It can be read.
    pub ok: bool,
    /// What was found, or why it cannot be read, a sentence each.
    pub says: Vec<String>,
}

/// One thing that somebody may do in a destination, or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TriedRight {
    pub what: String,
    /// None where it is not known.
    pub can: Option<bool>,
    /// Nothing is loaded without.
    pub needed: bool,
    /// What gives the right.
    pub fix: Option<String>,
}

/// What one event would become.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TriedEvent {
    /// Its `messageId`; none where it could not be read.
    pub message_id: Option<String>,
    pub outcome: TryOutcome,
    /// Of one that is in quarantine, or a part of which is: the kind of problem, for programs.
    pub code: Option<String>,
    /// Why it, or a part of it, would not be delivered. None where events are masked, for it may quote them.
    pub reason: Option<String>,
    /// What the contract objects to, whether it lets the event pass or not. None where events are masked.
    pub violations: Vec<String>,
    /// As the destination would get it, behind functions and mapping. A function may make several of one.
    #[schema(value_type = Vec<std::collections::BTreeMap<String, Value>>)]
    pub delivered: Vec<Value>,
    /// Of a warehouse: the rows that it becomes.
    pub rows: Vec<TriedRow>,
    /// Of a stream: the messages that it becomes. None of them is sent.
    #[serde(default)]
    pub messages: Vec<TriedMessage>,
}

/// A message of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TriedMessage {
    /// Of files the folder.
    pub topic: String,
    pub key: String,
    pub headers: BTreeMap<String, String>,
    /// JSON; of `format: avro` the bytes in Base64, without the id of the schema before them.
    pub payload: String,
    pub is_base64: bool,
}

/// What becomes of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TryOutcome {
    Delivered,
    /// The filter, a function or somebody's consent leaves it out, or it is a duplicate.
    Filtered,
    Quarantined,
}

impl TryOutcome {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Filtered => "filtered",
            Self::Quarantined => "quarantined",
        }
    }
}

/// A row of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TriedRow {
    pub table: String,
    pub columns: Vec<TriedColumn>,
}

/// One value of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TriedColumn {
    pub name: String,
    /// `BOOLEAN`, `INTEGER`, `DECIMAL`, `TIMESTAMP`, `JSON` or `TEXT`; a warehouse has its own words for them.
    pub kind: String,
    /// As text.
    pub value: String,
}
