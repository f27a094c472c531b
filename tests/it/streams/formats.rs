//! Schemas: where they come from, what happens while the registry is away, and what does not fit its schema.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{MAPPING, StreamWorkspace, kafka, kafka_source};
use crate::support::kafka::stream_folder;
use crate::support::registry::RegistryDouble;

#[test]
fn a_stream_waits_for_its_registry_and_nothing_is_quarantined_meanwhile() {
    let Some(cluster) = kafka("the registry is away") else { return };
    // No answer at all, and one that says that something is broken there.
    for status in [0, 500] {
        let registry = RegistryDouble::new();
        let streams = StreamWorkspace::new();
        let mut client = cluster.client();
        let topic = client.topic("waits");
        let source = kafka_source(cluster, &topic);
        let address = registry.url();
        streams.source("orders", &format!("{source}format: avro\nschema_registry: {{url: {address}}}\n{MAPPING}"));
        // The producer's own library registers the schema.
        client.produce(&topic, 0..2_000, json!({"format": "avro", "registry": {"url": address}}));
        registry.go_away(status);
        let server = streams.workspace.serve();
        let stream = streams.wait_for(&server, "orders", "it says why it waits", |stream| {
            stream["error"].as_str().is_some_and(|error| error.contains("registry"))
        });
        assert_eq!((&stream["messages"], &stream["quarantined"]), (&json!(0), &json!(0)), "{stream}");
        registry.come_back();
        streams.wait_for_rows("orders__ordered", 2_000);
        let stream = streams.wait_for(&server, "orders", "all is acknowledged", |stream| stream["lag"] == 0);
        assert!(stream["error"].is_null(), "{stream}");
        server.stop();
        streams.has_each_order_once("orders", 2_000);
    }
}

#[test]
fn what_does_not_fit_its_schema_is_quarantined_and_its_neighbours_arrive() {
    let Some(cluster) = kafka("what does not fit its schema") else { return };
    let registry = RegistryDouble::new();
    let text = std::fs::read_to_string(stream_folder().join("kafka/order.avsc")).unwrap();
    let schema = registry.add("orders", "AVRO", &text, json!([]));
    let streams = StreamWorkspace::new();
    let mut client = cluster.client();
    let topic = client.topic("misfits");
    let source = kafka_source(cluster, &topic);
    let address = registry.url();
    streams.source("orders", &format!("{source}format: avro\nschema_registry: {{url: {address}}}\n{MAPPING}"));
    client.produce(&topic, 0..500, json!({"format": "avro", "schema": schema}));
    let message = |bytes: &[u8]| json!({"key": "k", "value": STANDARD.encode(bytes)});
    let broken = [
        // Of a schema that nobody has registered; of ours, and cut off; of ours, with a length that is not there; without a schema.
        message(b"\0\0\0\x03\xe7\x02"),
        message(b"\0\0\0\0\x01\x02"),
        message(b"\0\0\0\0\x01\x02\xfe\xff\xff\xff\x0fabc"),
        message(b"{\"n\":1}"),
        message(b""),
    ];
    client.ask(&json!({"do": "send", "topic": topic, "messages": broken}));
    client.produce(&topic, 500..1_000, json!({"format": "avro", "schema": schema}));
    let server = streams.workspace.serve();
    streams.wait_for_rows("orders__ordered", 1_000);
    streams.wait_for(&server, "orders", "all is acknowledged", |stream| {
        stream["lag"] == 0 && stream["quarantined"] == broken.len()
    });
    server.stop();
    let rows = streams.workspace.warehouse().rows("SELECT count(*), count(DISTINCT n), max(n) FROM orders__ordered");
    assert_eq!(rows, ["1000|1000|999"]);
    assert_eq!(streams.workspace.quarantined(), vec!["unmappable"; broken.len()]);
}

#[test]
fn protobuf_without_a_registry_is_read_by_a_schema_in_the_folder() {
    let Some(cluster) = kafka("a schema in the folder") else { return };
    let streams = StreamWorkspace::new();
    let mut client = cluster.client();
    let topic = client.topic("bare");
    let text = std::fs::read_to_string(stream_folder().join("kafka/order.proto")).unwrap();
    streams.workspace.write("schemas/order.proto", &text);
    let source = kafka_source(cluster, &topic);
    let schemas = "schemas: {file: schemas/order.proto, message: shop.Order}\n";
    streams.source("orders", &format!("{source}format: protobuf\n{schemas}{MAPPING}"));
    client.produce(&topic, 0..1_000, json!({"format": "protobuf"}));
    streams.takes_each_order_once("orders", 1_000);
    let rows = streams.workspace.warehouse().rows("SELECT big, amount FROM orders__ordered WHERE n = 7");
    assert_eq!(rows, ["9007199254741007|12345678901234567890130.100000001"]);
}
