//! Events as the router hands them over.

use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_event::destination::Batch;
use tidegate_event::value::JsonObject;
use tidegate_event::{Event, EventId, EventKind, Position, ViolationRecord};

/// An event of this kind with these fields besides those that every event has.
pub fn event(kind: EventKind, offset: u64, id: &str, fields: Value) -> Arc<Event> {
    let mut body = JsonObject::new();
    for (key, value) in [
        ("type", kind.as_str()),
        ("messageId", id),
        ("timestamp", "2024-05-06T07:08:09.000001Z"),
        ("receivedAt", "2024-05-06T07:08:10.000000Z"),
    ] {
        body.insert(key, value.into());
    }
    if let Value::Object(fields) = fields {
        body.extend(JsonObject::from(fields));
    }
    Arc::new(Event {
        source: "web".into(),
        id: EventId::new(Position::new(0, offset), 0),
        kind,
        received_at_us: 1_714_979_290_000_000,
        body,
    })
}

pub fn track(offset: u64, id: &str, name: &str, properties: Value) -> Arc<Event> {
    event(EventKind::Track, offset, id, json!({ "event": name, "properties": properties }))
}

/// A batch that settles exactly the offsets of its events.
pub fn batch(events: Vec<Arc<Event>>) -> Batch {
    let start = events.iter().map(|event| event.id.position.offset).min().unwrap_or(0);
    let end = events.iter().map(|event| event.id.position.behind().offset).max().unwrap_or(0);
    Batch { range: start..end, events, violations: Vec::new() }
}

/// Tracks `m<n>` of one name with a number.
pub fn numbered(range: std::ops::Range<u64>) -> Batch {
    batch(range.map(|n| track(n, &format!("m{n}"), "E", json!({ "n": n }))).collect())
}

/// JSON with its digits, unlike `json!`.
pub fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

/// What a contract objected to in the event at `offset`.
pub fn violation(offset: u64, payload: &Value, sentences: &[&str]) -> ViolationRecord {
    ViolationRecord {
        source: "web".into(),
        position: Position::new(0, offset),
        message_id: format!("m{offset}"),
        received_at_us: 1_714_979_290_000_001,
        payload: payload.to_string(),
        event_name: None,
        event_type: EventKind::Track,
        schema_version: "3".to_owned(),
        has_undeclared_schema: false,
        has_undeclared_fields: true,
        has_schema_violated: false,
        violations: sentences.iter().map(|sentence| (*sentence).to_owned()).collect(),
    }
}
