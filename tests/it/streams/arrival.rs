//! What is published arrives: every format, every digit, every position; and what is no message costs its neighbours nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{MAPPING, StreamWorkspace, group_of, kafka, kafka_source};
use crate::support::kafka::stream_folder;
use crate::support::registry::RegistryDouble;
use crate::support::waiting::seldom;

/// Orders in JSON, in Avro and in Protobuf.
const ORDERS: [(&str, u64); 3] = [("json", 100_000), ("avro", 50_000), ("protobuf", 50_000)];
/// Of these one row is looked at in full.
const ONE: u64 = 4_242;

#[test]
fn json_avro_and_protobuf_arrive_once_each_with_every_digit_and_their_position() {
    let Some(cluster) = kafka("every format arrives") else { return };
    let registry = RegistryDouble::new();
    registry.ask_for("reader", "p@ss-of-registry");
    let read = |name: &str| std::fs::read_to_string(stream_folder().join("kafka").join(name)).unwrap();
    let avro = registry.add("orders-avro", "AVRO", &read("order.avsc"), json!([]));
    let protobuf = registry.add("orders-protobuf", "PROTOBUF", &read("order.proto"), json!([]));
    let streams = StreamWorkspace::new();
    let mut client = cluster.client();
    let login = format!("{{url: {}, user: reader, password: p@ss-of-registry}}", registry.url());
    let topics = ORDERS.map(|(format, count)| {
        let topic = client.topic(format);
        let more = if format == "json" { String::new() } else { format!("schema_registry: {login}\n") };
        let source = kafka_source(cluster, &topic);
        streams.source(format, &format!("{source}format: {format}\n{more}{MAPPING}"));
        (format, count, topic)
    });
    let server = streams.workspace.serve();
    for (format, count, topic) in &topics {
        let schema = match *format {
            "avro" => json!({ "schema": avro }),
            "protobuf" => json!({ "schema": protobuf }),
            _ => json!({}),
        };
        let mut asked = json!({ "format": format });
        asked.as_object_mut().unwrap().extend(schema.as_object().unwrap().clone());
        client.produce(topic, 0..*count, asked);
    }
    for (format, count, topic) in &topics {
        streams.wait_for_rows(&format!("{format}__ordered"), *count);
        streams.wait_for(&server, format, "all is acknowledged", |stream| {
            stream["lag"] == 0 && stream["state"] == "reading" && stream["messages"] == *count
        });
        // Another client says the same of the group, which is told a moment later.
        client.wait_until_acknowledged(&group_of(topic), topic);
    }
    // What the command shows is as of a moment ago.
    seldom("the status says the same", || {
        let status = streams.workspace.status();
        let so = topics.iter().all(|(format, count, _)| {
            let (stream, source) = (&status["streams"][format], &status["sources"][format]);
            stream["lag"] == 0 && stream["kind"] == "kafka" && source["accepted"] == *count
        });
        if so { Ok(()) } else { Err(format!("{status:#}")) }
    });
    server.stop();
    // Schemas never change under their ids.
    assert!(registry.asked() <= 20, "the registry was asked {} times", registry.asked());
    for (format, count, topic) in &topics {
        streams.has_each_order_once(format, *count);
        let warehouse = streams.workspace.warehouse();
        let columns = "big, amount, user_id, lines";
        let rows = warehouse.rows(&format!("SELECT {columns} FROM {format}__ordered WHERE n = {ONE}"));
        let [row] = &rows[..] else { panic!("{format}: {rows:?}") };
        let (row, lines) = row.rsplit_once('|').unwrap();
        assert_eq!(row, "9007199254749477|12345678901234567894365.100000001|user-42", "{format}");
        let lines: Value = serde_json::from_str(lines).unwrap();
        assert_eq!(lines, json!([{"sku": "sku-0", "quantity": 3}]), "{format}");
        // Where a message stands is its id, and in its context.
        let position = "context_kafka_topic || '/' || context_kafka_partition || '/' || context_kafka_offset";
        let sql = format!(
            "SELECT count(*), count(DISTINCT {position}) FROM {format}__ordered WHERE id = {position} AND context_kafka_topic = '{topic}'"
        );
        assert_eq!(warehouse.rows(&sql), [format!("{count}|{count}")], "{format}");
        let keys = format!("SELECT count(*) FROM {format}__ordered WHERE context_kafka_key = user_id");
        assert_eq!(warehouse.rows(&keys), [count.to_string()], "{format}");
    }
}

#[test]
fn a_poison_message_is_quarantined_with_its_bytes_and_position_and_its_neighbours_arrive() {
    let Some(cluster) = kafka("a poison message") else { return };
    let streams = StreamWorkspace::new();
    let mut client = cluster.client();
    let topic = client.topic("poison");
    let source = kafka_source(cluster, &topic);
    streams.source("orders", &format!("{source}format: json\n{MAPPING}"));
    let message = |bytes: &[u8]| json!({"key": "k", "value": STANDARD.encode(bytes), "partition": 1});
    let sent = [
        message(br#"{"n":0,"user":"u"}"#),
        message(b"\xff{\"n\":1"),
        message(br#"{"n":2,"user":"u"}"#),
        json!({"key": "k", "value": null, "partition": 1}),
        message(br#"[{"n":3}"#),
        message(br#"{"n":4,"user":"u"}"#),
    ];
    client.ask(&json!({"do": "send", "topic": topic, "messages": sent}));
    let server = streams.workspace.serve();
    streams.wait_for_rows("orders__ordered", 3);
    streams.wait_for(&server, "orders", "all is acknowledged", |stream| stream["lag"] == 0 && stream["messages"] == 6);
    server.stop();
    let rows = streams.workspace.warehouse().rows("SELECT n FROM orders__ordered ORDER BY n");
    assert_eq!(rows, ["0", "2", "4"]);
    let kept = streams.quarantine();
    let told: Vec<String> = kept
        .iter()
        .map(|entry| {
            let kafka = &entry["detail"]["context"]["kafka"];
            assert_eq!((&entry["code"], &entry["scope"]), (&json!("unmappable"), &json!("orders")), "{entry}");
            let reason = kafka["reason"].as_str().filter(|reason| !reason.is_empty()).unwrap();
            assert_eq!(entry["message"], format!("the message cannot be mapped to an event: {reason}"), "{entry}");
            format!("{}/{}/{}: {}", kafka["topic"], kafka["partition"], kafka["offset"], entry["event"])
        })
        .collect();
    assert_eq!(told.len(), 3, "{told:?}");
    let at = |offset: u64| format!("\"{topic}\"/1/{offset}: ");
    assert!(told[0].starts_with(&at(1)) && told[0].contains("{\\\"n\\\":1"), "{told:?}");
    assert!(told[1].starts_with(&at(3)), "{told:?}");
    assert!(told[2].starts_with(&at(4)) && told[2].contains("[{\\\"n\\\":3}"), "{told:?}");
}

#[test]
fn topics_of_a_pattern_are_read_and_a_mapping_is_of_one_topic() {
    let Some(cluster) = kafka("topics of a pattern") else { return };
    let streams = StreamWorkspace::new();
    let mut client = cluster.client();
    let (orders, visits) = (client.topic("shop-orders"), client.topic("shop-visits"));
    let other = client.topic("other");
    let mapping =
        format!("mapping:\n  - match: {{\"meta:topic\": {orders}}}\n    event: Ordered\n  - event: Visited\n");
    let settings = format!("kind: kafka\nbrokers: {}\ntopic_pattern: \"shop-.*\"\n{mapping}", cluster.brokers());
    streams.source("shop", &settings);
    for (topic, numbers) in [(&orders, 0..10), (&visits, 10..30), (&other, 30..60)] {
        client.produce(topic, numbers, json!({}));
    }
    let server = streams.workspace.serve();
    streams.wait_for_rows("shop__ordered", 10);
    streams.wait_for_rows("shop__visited", 20);
    streams.wait_for(&server, "shop", "all is acknowledged", |stream| stream["lag"] == 0);
    server.stop();
    // A group that nobody has named is named after its source.
    assert_eq!((client.lag("tidegate-shop", &orders), client.lag("tidegate-shop", &visits)), (0, 0));
    let warehouse = streams.workspace.warehouse();
    assert_eq!(warehouse.rows("SELECT count(*), min(n), max(n) FROM shop__ordered"), ["10|0|9"]);
    assert_eq!(warehouse.rows("SELECT count(*), min(n), max(n) FROM shop__visited"), ["20|10|29"]);
    assert_eq!(warehouse.count("shop__tracks"), 30);
}
