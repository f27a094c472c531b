//! Amazon Kinesis: records of a double of it, records that a producer has packed, and shards that end.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tidegate_warehouse_suite::cache;

use super::shards::ShardStub;
use super::{MAPPING, StreamWorkspace};
use crate::conformance::skipped;
use crate::support::kafka::stream_folder;
use crate::support::lines::LineProgram;
use crate::support::waiting::seldom;

/// The double of Kinesis and S3; none where it cannot be had, which is said.
pub(super) fn aws(test: &str) -> Option<LineProgram> {
    let python = cache().join("lake/bin/python");
    if !python.exists() {
        skipped(&format!("streams: {test}"), "moto is not installed; run tests/warehouses/setup lake");
        return None;
    }
    let mut command = Command::new(python);
    command.arg(stream_folder().join("aws.py"));
    Some(LineProgram::start(command).unwrap())
}

pub(super) fn kinesis_source(endpoint: &str) -> String {
    format!(
        "kind: kinesis\nstream: orders\nregion: eu-west-1\nstart: earliest\nendpoint: {endpoint}\naccess_key_id: a\n\
         secret_access_key: b\nformat: json\n{MAPPING}"
    )
}

#[test]
fn records_of_kinesis_arrive_once_those_that_were_packed_too() {
    let Some(mut aws) = aws("records of Kinesis") else { return };
    aws.ask(&json!({"do": "stream", "name": "orders", "shards": 3}));
    let endpoint = aws.ask(&json!({"do": "endpoint"}))["endpoint"].as_str().unwrap().to_owned();
    aws.ask(&json!({"do": "orders", "name": "orders", "from": 0, "count": 5_000}));
    let streams = StreamWorkspace::new();
    streams.source("orders", &kinesis_source(&endpoint));
    let server = streams.workspace.serve();
    streams.wait_for_rows("orders__ordered", 1_000);
    server.kill();
    let server = streams.workspace.serve();
    aws.ask(&json!({"do": "packed", "name": "orders", "from": 5_000, "count": 5_000, "each": 100}));
    streams.wait_for_rows("orders__ordered", 10_000);
    server.stop();
    streams.has_each_order_once("orders", 10_000);
    // Each of those that were packed together has a position of its own.
    let warehouse = streams.workspace.warehouse();
    let rows = warehouse.rows("SELECT big, user_id, context_kinesis_key FROM orders__ordered WHERE n = 7042");
    assert_eq!(rows, ["9007199254755077|user-42|user-42"]);
    assert_eq!(warehouse.rows("SELECT count(DISTINCT id) FROM orders__ordered WHERE n >= 5000"), ["5000"]);
    // It goes on where it was, and reads nothing again.
    let server = streams.workspace.serve();
    aws.ask(&json!({"do": "orders", "name": "orders", "from": 10_000, "count": 10}));
    streams.wait_for_rows("orders__ordered", 10_010);
    let stream = streams.stream(&server, "orders");
    assert_eq!(stream["messages"], 10, "{stream}");
    server.stop();
}

#[test]
fn a_poison_record_of_kinesis_is_quarantined_and_its_neighbours_arrive() {
    let Some(mut aws) = aws("a poison record of Kinesis") else { return };
    aws.ask(&json!({"do": "stream", "name": "orders", "shards": 1}));
    let endpoint = aws.ask(&json!({"do": "endpoint"}))["endpoint"].as_str().unwrap().to_owned();
    // Something that is no JSON; what looks as if a producer had packed it, and is damaged.
    let data: [&[u8]; 4] =
        [br#"{"n":0,"user":"u"}"#, b"\xff{", b"\xf3\x89\x9a\xc2\x0a\x01u0123456789abcdef", br#"{"n":3,"user":"u"}"#];
    let mut at = Vec::new();
    for bytes in data {
        let put = aws.ask(&json!({"do": "put", "name": "orders", "data": STANDARD.encode(bytes), "key": "k"}));
        at.push(put["at"].as_str().unwrap().to_owned());
    }
    let streams = StreamWorkspace::new();
    streams.source("orders", &kinesis_source(&endpoint));
    let server = streams.workspace.serve();
    streams.wait_for_rows("orders__ordered", 2);
    server.stop();
    let rows = streams.workspace.warehouse().rows("SELECT n FROM orders__ordered ORDER BY n");
    assert_eq!(rows, ["0", "3"]);
    let kept = streams.quarantine();
    assert_eq!(streams.workspace.quarantined(), ["unmappable", "unmappable"]);
    for (entry, at) in kept.iter().zip(&at[1..3]) {
        let position = entry["detail"]["context"]["kinesis"]["position"].as_str().unwrap();
        assert!(position.contains(at.as_str()), "{entry}");
        let reason = entry["detail"]["context"]["kinesis"]["reason"].as_str().unwrap();
        assert_eq!(entry["message"], format!("the message cannot be mapped to an event: {reason}"), "{entry}");
    }
}

#[test]
fn a_shard_is_read_after_the_shards_that_it_came_of_and_a_shard_that_has_ended_is_left() {
    let stub = ShardStub::new();
    let order = |n: u64| json!({"n": n, "user": format!("user-{}", n % 50)}).to_string();
    let put = |shard: usize, numbers: std::ops::Range<u64>| {
        for n in numbers {
            stub.put(shard, &format!("user-{}", n % 50), &order(n));
        }
    };
    // Split before anybody reads: 0 becomes 1 and 2, which become 3.
    let first = stub.add(&[]);
    put(first, 0..1_000);
    let halves = [stub.add(&[first]), stub.add(&[first])];
    put(halves[0], 1_000..1_500);
    put(halves[1], 1_500..2_000);
    let merged = stub.add(&halves);
    put(merged, 2_000..2_500);
    let streams = StreamWorkspace::new();
    streams.source("orders", &kinesis_source(&stub.endpoint()));
    let server = streams.workspace.serve();
    streams.wait_for_rows("orders__ordered", 2_500);
    assert!(stub.too_early().is_empty(), "read before their parents had ended: {:?}", stub.too_early());
    // Split while it is read.
    put(merged, 2_500..3_000);
    let last = [stub.add(&[merged]), stub.add(&[merged])];
    put(last[0], 3_000..3_200);
    put(last[1], 3_200..3_400);
    streams.wait_for_rows("orders__ordered", 3_400);
    assert!(stub.too_early().is_empty(), "read before their parents had ended: {:?}", stub.too_early());
    streams.wait_for(&server, "orders", "all is acknowledged", |stream| stream["in_flight"] == 0);
    server.kill();
    // A shard that has ended is known to have ended after a restart too.
    let before: Vec<usize> = (0..4).map(|shard| stub.begun(shard).values().sum()).collect();
    let server = streams.workspace.serve();
    put(last[0], 3_400..3_500);
    streams.wait_for_rows("orders__ordered", 3_500);
    server.stop();
    let after: Vec<usize> = (0..4).map(|shard| stub.begun(shard).values().sum()).collect();
    assert_eq!(before, after, "shards that have ended were read again");
    // It is asked for its oldest record as well, so that what was deleted before it was read is told.
    assert_eq!(stub.begun(last[0]).get("AFTER_SEQUENCE_NUMBER"), Some(&1), "{:?}", stub.begun(last[0]));
    streams.has_each_order_once("orders", 3_500);
}

#[test]
fn events_go_out_to_a_stream_of_kinesis_with_their_user_as_partition_key() {
    let Some(mut aws) = aws("events go out to Kinesis") else { return };
    aws.ask(&json!({"do": "stream", "name": "bus", "shards": 2}));
    let endpoint = aws.ask(&json!({"do": "endpoint"}))["endpoint"].as_str().unwrap().to_owned();
    let streams = StreamWorkspace::new();
    streams.workspace.write(
        "destinations/bus.yaml",
        &format!("kind: kinesis\ntopic: bus\nregion: eu-west-1\nendpoint: {endpoint}\naccess_key_id: a\nsecret_access_key: b\n"),
    );
    streams.workspace.write("syncs/web-to-bus.yaml", "source: web\ndestination: bus\n");
    let server = streams.workspace.serve();
    let event = |n: u64| json!({"type": "track", "event": "Bought", "messageId": format!("m{n}"), "userId": format!("user-{}", n % 20), "properties": {"n": n}});
    for batch in (0..1_000).map(event).collect::<Vec<Value>>().chunks(500) {
        assert_eq!(server.batch(batch).status, 200);
    }
    seldom("all are there", || {
        let sync = streams.workspace.status()["syncs"]["web-to-bus"].clone();
        if sync["delivered"] == 1_000 { Ok(()) } else { Err(sync.to_string()) }
    });
    server.stop();
    let answer = aws.ask(&json!({"do": "read", "name": "bus"}));
    let mut numbers: Vec<u64> = Vec::new();
    for record in answer["records"].as_array().unwrap() {
        let event: Value = serde_json::from_str(record["data"].as_str().unwrap()).unwrap();
        assert_eq!(record["key"], event["userId"]);
        numbers.push(event["properties"]["n"].as_u64().unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..1_000).collect::<Vec<u64>>());
}
