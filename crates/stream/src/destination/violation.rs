//! What a contract found in an event, as the JSON of a message: the columns of the table `event_violations`, and the source.

use std::fmt::Write as _;

use tidegate_event::value::Value;
use tidegate_event::{ViolationRecord, time};

/// The record as JSON text. Its payload stands in it as it came, with every digit.
pub(super) fn to_json(record: &ViolationRecord) -> String {
    let text = |text: &str| Value::from(text).to_string();
    let violations: Vec<Value> = record.violations.iter().map(Value::from).collect();
    let mut out = String::with_capacity(record.payload.len() + 512);
    // Writing to a text cannot fail.
    let _ = write!(
        out,
        r#"{{"id":{},"source":{},"received_at":{},"payload":{},"event_name":{},"event_type":{},"schema_version":{},"has_undeclared_schema":{},"has_undeclared_fields":{},"has_schema_violated":{},"violations":{}}}"#,
        text(&record.message_id),
        text(&record.source),
        text(&time::format(record.received_at_us)),
        record.payload,
        record.event_name.as_deref().map_or_else(|| "null".to_owned(), text),
        text(record.event_type.as_str()),
        text(&record.schema_version),
        record.has_undeclared_schema,
        record.has_undeclared_fields,
        record.has_schema_violated,
        Value::from(violations),
    );
    out
}

#[cfg(test)]
mod tests {
    use tidegate_event::{EventKind, Position};

    use super::*;

    #[test]
    fn a_violation_keeps_the_event_as_it_was() {
        let record = ViolationRecord {
            source: "web".into(),
            position: Position::new(0, 3),
            message_id: "m\"3".to_owned(),
            received_at_us: 1_714_979_290_000_001,
            payload: r#"{"n":1.10}"#.to_owned(),
            event_name: None,
            event_type: EventKind::Track,
            schema_version: "3".to_owned(),
            has_undeclared_schema: false,
            has_undeclared_fields: true,
            has_schema_violated: false,
            violations: vec!["n is no text".to_owned()],
        };
        assert_eq!(
            to_json(&record),
            concat!(
                r#"{"id":"m\"3","source":"web","received_at":"2024-05-06T07:08:10.000001Z","payload":{"n":1.10},"#,
                r#""event_name":null,"event_type":"track","schema_version":"3","has_undeclared_schema":false,"#,
                r#""has_undeclared_fields":true,"has_schema_violated":false,"violations":["n is no text"]}"#
            )
        );
    }
}
