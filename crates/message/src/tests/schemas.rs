use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_event::value::JsonObject;

use super::{LIMITS, fields};
use crate::*;

const ORDER: &str =
    r#"{"type":"record","name":"Order","fields":[{"name":"type","type":"string"},{"name":"id","type":"long"}]}"#;
/// `{"type":"paid","id":9007199254740993}`.
const PAID: &[u8] = b"\x08paid\x82\x80\x80\x80\x80\x80\x80\x20";

fn mapping(format: MessageFormat, schemas: SchemaPlace) -> MessageMapping {
    let base = fields([(MappedField::Event, &["/type"][..])]);
    MessageMapping { format, schemas, base, ..MessageMapping::default() }
}

fn framed(id: u8, payload: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 0, id][..], payload].concat()
}

fn found(kind: SchemaKind, text: &str) -> SchemaAnswer {
    let schema = SchemaText { kind, text: text.to_owned(), references: Vec::new() };
    SchemaAnswer::Found(Arc::new(MessageSchema::of_registry(&schema, &[]).unwrap()))
}

/// What a message becomes, and which schema it named.
fn mapped(
    mapping: &MessageMapping,
    headers: &[(&str, &str)],
    bytes: &[u8],
    answer: Option<&SchemaAnswer>,
) -> (Option<u32>, MappedEvent) {
    let headers: Vec<(String, String)> = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let meta = JsonObject::new();
    let (headers, meta) = (&headers, &meta);
    let message = UpstreamMessage { bytes, content_type: "", headers, meta, is_http: false, position: "t/0/1" };
    let events = mapping.map_by(&message, answer, &LIMITS).unwrap();
    assert_eq!(events.len(), 1);
    (mapping.needs(&message).map(|id| id.0), events[0].clone())
}

fn text(event: &MappedEvent) -> &str {
    event.unmappable.as_deref().unwrap_or_else(|| std::str::from_utf8(&event.bytes).unwrap())
}

#[test]
fn a_message_of_a_registry_is_read_by_the_schema_that_it_names() {
    let avro = found(SchemaKind::Avro, ORDER);
    for format in [MessageFormat::Detected, MessageFormat::Avro] {
        let (id, event) = mapped(&mapping(format, SchemaPlace::Registry), &[], &framed(7, PAID), Some(&avro));
        assert_eq!(id, Some(7));
        let want = r#"{"event":"paid","properties":{"id":9007199254740993,"type":"paid"},"type":"track"}"#;
        assert_eq!((text(&event), event.id.as_str()), (want, "t/0/1"));
    }
    let json = found(SchemaKind::Json, "{}");
    let body = framed(8, br#"{"type":"paid","n":1.10}"#);
    let (id, event) = mapped(&mapping(MessageFormat::Json, SchemaPlace::Registry), &[], &body, Some(&json));
    assert_eq!(id, Some(8));
    assert!(text(&event).contains("1.10"), "{}", text(&event));
    let proto = found(SchemaKind::Protobuf, "syntax = \"proto3\"; message A { string type = 1; }");
    let body = framed(9, b"\x00\x0a\x04paid");
    let (_, event) = mapped(&mapping(MessageFormat::Protobuf, SchemaPlace::Registry), &[], &body, Some(&proto));
    assert_eq!(text(&event), r#"{"event":"paid","properties":{"type":"paid"},"type":"track"}"#);
    let bytes = found(SchemaKind::Avro, "\"bytes\"");
    let constant = MessageMapping {
        base: fields([(MappedField::Event, &["raw"][..])]),
        ..mapping(MessageFormat::Avro, SchemaPlace::Registry)
    };
    let (_, event) = mapped(&constant, &[], &framed(7, b"\xff"), Some(&bytes));
    assert_eq!(text(&event), r#"{"event":"raw","properties":{"body":"/w=="},"type":"track"}"#);
}

#[test]
fn what_cannot_be_read_keeps_its_bytes_and_says_why() {
    let avro = found(SchemaKind::Avro, ORDER);
    let absent = SchemaAnswer::Unusable("the registry does not have it".into());
    let of = |format| mapping(format, SchemaPlace::Registry);
    for (format, bytes, answer, why) in [
        (MessageFormat::Avro, framed(7, &PAID[..4]), Some(&avro), "it does not fit its Avro schema: at byte"),
        (MessageFormat::Protobuf, framed(7, PAID), Some(&avro), "its schema 7 is Avro, and `format` says Protobuf"),
        (
            MessageFormat::Avro,
            framed(7, PAID),
            Some(&absent),
            "its schema 7 cannot be used: the registry does not have it",
        ),
        (MessageFormat::Avro, framed(7, PAID), None, "its schema 7 was not looked for"),
        (MessageFormat::Avro, b"{}".to_vec(), None, "it looks like JSON"),
        (MessageFormat::Detected, PAID.to_vec(), None, "does not begin with a byte 0"),
        (MessageFormat::Avro, Vec::new(), None, "it is empty"),
    ] {
        let (_, event) = mapped(&of(format), &[], &bytes, answer);
        assert_eq!(event.bytes, bytes);
        assert!(event.unmappable.as_deref().unwrap().contains(why), "{:?}", event.unmappable);
    }
    let (id, event) = mapped(&mapping(MessageFormat::Json, SchemaPlace::Nowhere), &[], &framed(7, PAID), None);
    assert_eq!(id, None);
    assert!(text(&event).contains("a schema registry do (schema 7)"), "{}", text(&event));
    let (_, event) = mapped(&mapping(MessageFormat::Avro, SchemaPlace::Nowhere), &[], PAID, None);
    assert!(text(&event).contains("nothing says which schema"), "{}", text(&event));
}

#[test]
fn a_schema_of_a_file_is_for_all_messages() {
    let given = SchemaPlace::Given(Arc::new(MessageSchema::of_avro(ORDER).unwrap()));
    for format in [MessageFormat::Detected, MessageFormat::Avro] {
        let (id, event) = mapped(&mapping(format, given.clone()), &[], PAID, None);
        assert_eq!(id, None);
        assert!(text(&event).contains(r#""id":9007199254740993"#), "{}", text(&event));
    }
    let files = BTreeMap::from([(
        "a.proto".to_owned(),
        "syntax = \"proto3\"; package p; message B { string type = 1; }".to_owned(),
    )]);
    let schema = MessageSchema::of_protobuf("a.proto", files, "p.B").unwrap();
    let given = SchemaPlace::Given(Arc::new(schema));
    let (_, event) = mapped(&mapping(MessageFormat::Protobuf, given), &[], b"\x0a\x04paid", None);
    assert!(text(&event).contains(r#""event":"paid""#), "{}", text(&event));
}

#[test]
fn an_event_of_avro_passes_where_events_do() {
    let identify =
        r#"{"type":"record","name":"E","fields":[{"name":"type","type":"string"},{"name":"userId","type":"string"}]}"#;
    let given = SchemaPlace::Given(Arc::new(MessageSchema::of_avro(identify).unwrap()));
    let passing = MessageMapping { pass_events: true, ..mapping(MessageFormat::Avro, given) };
    let (_, event) = mapped(&passing, &[], b"\x10identify\x02u", None);
    assert_eq!(text(&event), r#"{"type":"identify","userId":"u"}"#);
}

#[test]
fn cloud_events_over_kafka_have_their_attributes_in_headers_as_they_are() {
    let headers = [
        ("ce_specversion", "1.0"),
        ("ce_id", "7%20"),
        ("ce_source", "/orders"),
        ("ce_type", "paid"),
        ("content-type", "application/json"),
    ];
    let plain = mapping(MessageFormat::Detected, SchemaPlace::Nowhere);
    let (_, event) = mapped(&plain, &headers, br#"{"n":1.10}"#, None);
    assert_eq!(event.id, "/orders/7%20");
    for part in [r#""data":{"n":1.10}"#, r#""datacontenttype":"application/json""#, r#""event":"paid""#] {
        assert!(text(&event).contains(part), "{}", text(&event));
    }
    // Pub/Sub writes them with another prefix.
    let of_pubsub = headers.map(|(name, value)| (name.strip_prefix("ce_"), value));
    let of_pubsub =
        of_pubsub.map(|(name, value)| (name.map_or("content-type".to_owned(), |name| format!("ce-{name}")), value));
    let of_pubsub = of_pubsub.each_ref().map(|(name, value)| (name.as_str(), *value));
    assert_eq!(mapped(&plain, &of_pubsub, br#"{"n":1.10}"#, None).1, event);
    let avro = found(SchemaKind::Avro, ORDER);
    let registered = mapping(MessageFormat::Detected, SchemaPlace::Registry);
    let (id, event) = mapped(&registered, &headers, &framed(7, PAID), Some(&avro));
    assert_eq!((id, event.id.as_str()), (Some(7), "/orders/7%20"));
    assert!(text(&event).contains(r#""data":{"id":9007199254740993,"type":"paid"}"#), "{}", text(&event));
    let envelope = br#"{"specversion":"1.0","id":"7","source":"/s","type":"paid"}"#;
    let structured = [("content-type", "application/cloudevents+json")];
    let (id, event) = mapped(&registered, &structured, envelope, None);
    assert_eq!((id, event.unmappable.as_deref(), event.id.as_str()), (None, None, "/s/7"));
}
