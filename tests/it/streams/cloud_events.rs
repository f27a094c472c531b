//! CloudEvents over Kafka, in an envelope and in headers, and messages that are plain text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{StreamWorkspace, kafka, kafka_source};

fn message(bytes: &[u8], headers: Value) -> Value {
    json!({"key": "k", "value": STANDARD.encode(bytes), "headers": headers, "partition": 0})
}

/// A CloudEvent in one piece.
fn structured(id: u64, n: u64) -> Value {
    let envelope = json!({"specversion": "1.0", "type": "shop.ordered", "source": "/shop", "id": id.to_string(),
        "time": "2026-11-20T09:30:00Z", "data": {"n": n, "user": "ann"}});
    message(envelope.to_string().as_bytes(), json!({"content-type": "application/cloudevents+json; charset=UTF-8"}))
}

/// One whose attributes are headers.
fn binary(id: u64, content_type: &str, data: &[u8]) -> Value {
    let headers = json!({"ce_specversion": "1.0", "ce_type": "shop.ordered", "ce_source": "/shop", "ce_id": id.to_string(),
        "ce_time": "2026-11-20T09:30:00Z", "content-type": content_type});
    message(data, headers)
}

#[test]
fn cloud_events_arrive_from_an_envelope_and_from_headers_and_are_known_by_their_source_and_id() {
    let Some(cluster) = kafka("CloudEvents") else { return };
    let streams = StreamWorkspace::new();
    let mut client = cluster.client();
    let topic = client.topic("cloud");
    let mapping = "mapping: {event: Ordered, userId: /data/user, timestamp: /time, properties: /data}\n";
    streams.source("orders", &format!("{}{mapping}", kafka_source(cluster, &topic)));
    let sent = [
        structured(1, 1),
        binary(2, "application/json", br#"{"n":2,"user":"ann"}"#),
        // The first once more, by other means.
        binary(1, "application/json", br#"{"n":1,"user":"ann"}"#),
        // No CloudEvents: without an id, and data that is not what its type says.
        message(br#"{"specversion":"1.0","source":"/shop"}"#, json!({"content-type": "application/cloudevents+json"})),
        binary(3, "application/json", b"{"),
        structured(4, 4),
    ];
    client.ask(&json!({"do": "send", "topic": topic, "messages": sent}));
    let server = streams.workspace.serve();
    streams.wait_for_rows("orders__ordered", 3);
    streams.wait_for(&server, "orders", "all is acknowledged", |stream| stream["lag"] == 0 && stream["messages"] == 6);
    server.stop();
    let rows = streams.workspace.warehouse().rows("SELECT id, user_id, n FROM orders__ordered ORDER BY n");
    assert_eq!(rows, ["/shop/1|ann|1", "/shop/2|ann|2", "/shop/4|ann|4"]);
    assert_eq!(streams.workspace.quarantined(), ["unmappable"; 2]);
}

#[test]
fn a_message_of_plain_text_is_the_body_of_an_event() {
    let Some(cluster) = kafka("plain text") else { return };
    let streams = StreamWorkspace::new();
    let mut client = cluster.client();
    let topic = client.topic("text");
    let mapping = "mapping: {event: Said, userId: \"header:who\"}\n";
    streams.source("notes", &format!("{}format: text\n{mapping}", kafka_source(cluster, &topic)));
    let by_ann = || json!({"who": "ann"});
    let sent = [
        message("first: h\u{e9} \u{1f980}".as_bytes(), by_ann()),
        // Text that looks like JSON is text too; what is no text is quarantined.
        message(br#"{"second":1.10}"#, by_ann()),
        message(b"\xff\xfe", by_ann()),
        message(b"third", by_ann()),
    ];
    client.ask(&json!({"do": "send", "topic": topic, "messages": sent}));
    let server = streams.workspace.serve();
    streams.wait_for_rows("notes__said", 3);
    streams.wait_for(&server, "notes", "all is acknowledged", |stream| stream["lag"] == 0 && stream["messages"] == 4);
    server.stop();
    let rows = streams.workspace.warehouse().rows("SELECT user_id, body FROM notes__said ORDER BY body");
    assert_eq!(rows, ["ann|first: h\u{e9} \u{1f980}", "ann|third", "ann|{\"second\":1.10}"]);
    assert_eq!(streams.workspace.quarantined(), ["unmappable"]);
}
