//! Google Pub/Sub, as Google's own double for tests has it: what is delivered again is no second row.

use std::collections::BTreeMap;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{MAPPING, StreamWorkspace};
use crate::conformance::skipped;
use crate::support::kafka::stream_cache;
use crate::support::lines::LineProgram;
use crate::support::waiting::seldom;

const ORDERS: u64 = 5_000;
/// In the server every sync of the log takes so long: what was read waits for it.
const SLOW_LOG: &str = "intake_sync=sleep(1500)";

/// A double that runs until this is dropped. `tests/streams/pubsub/main.go` says what it can be asked.
struct PubSubDouble {
    program: LineProgram,
    address: String,
}

impl PubSubDouble {
    fn start(test: &str) -> Option<Self> {
        let program = stream_cache().join("pubsub/pstest");
        if !program.exists() {
            skipped(
                &format!("streams: {test}"),
                "the double of Pub/Sub is not installed; `tests/streams/setup` says why",
            );
            return None;
        }
        let mut program = LineProgram::start(Command::new(program)).unwrap();
        let ready: Value = serde_json::from_str(&program.line()).unwrap();
        Some(Self { address: ready["address"].as_str().unwrap().to_owned(), program })
    }

    /// A topic, and a subscription of the same name.
    fn topic(&mut self, name: &str) {
        self.program.ask(&json!({"do": "topic", "topic": name}));
        let seconds = 10;
        self.program.ask(&json!({"do": "subscription", "topic": name, "subscription": name, "seconds": seconds}));
    }

    fn counts(&mut self, topic: &str) -> Value {
        self.program.ask(&json!({"do": "counts", "topic": topic}))
    }

    fn wait_until_acked(&mut self, topic: &str, messages: u64) -> Value {
        seldom("all are acknowledged", || {
            let counts = self.counts(topic);
            if counts["acked"] == messages { Ok(counts) } else { Err(counts.to_string()) }
        })
    }

    fn source(&self, subscription: &str) -> String {
        format!(
            "kind: pubsub\nproject: tests\nsubscription: {subscription}\nendpoint: {}\nformat: json\n{MAPPING}",
            self.address
        )
    }
}

#[test]
fn what_is_delivered_again_is_one_row_and_each_message_is_acknowledged() {
    let Some(mut double) = PubSubDouble::start("Pub/Sub delivers again") else { return };
    double.topic("orders");
    let streams = StreamWorkspace::new();
    streams.source("orders", &double.source("orders"));
    let server = streams.workspace.serve_with(&[SLOW_LOG]);
    double.program.ask(&json!({"do": "orders", "topic": "orders", "from": 0, "count": ORDERS}));
    // It has messages in hand, none of which is acknowledged before it is in the log.
    streams.wait_for(&server, "orders", "messages wait for the log", |stream| stream["in_flight"].as_u64() > Some(0));
    server.kill();
    double.program.ask(&json!({"do": "expire", "seconds": 60}));
    let server = streams.workspace.serve();
    streams.wait_for_rows("orders__ordered", ORDERS);
    let counts = double.wait_until_acked("orders", ORDERS);
    assert!(counts["again"].as_u64() > Some(0), "nothing was delivered again: {counts}");
    server.stop();
    streams.has_each_order_once("orders", ORDERS);
    let rows = streams.workspace.warehouse().rows("SELECT big, user_id FROM orders__ordered WHERE n = 77");
    assert_eq!(rows, ["9007199254741147|user-27"]);
    println!("{} of {ORDERS} messages were delivered more than once", counts["again"]);
}

#[test]
fn messages_that_wait_long_for_the_log_are_kept_from_being_delivered_again() {
    let Some(mut double) = PubSubDouble::start("ack deadlines are extended") else { return };
    double.topic("slow");
    let streams = StreamWorkspace::new();
    streams.source("slow", &double.source("slow"));
    // Longer than the deadline of the subscription, which is 10 s.
    let server = streams.workspace.serve_with(&["intake_sync=1*sleep(14000)"]);
    double.program.ask(&json!({"do": "orders", "topic": "slow", "from": 0, "count": 200}));
    let counts = double.wait_until_acked("slow", 200);
    assert_eq!(counts["again"], 0, "{counts}");
    server.stop();
    streams.has_each_order_once("slow", 200);
    assert_eq!(streams.workspace.status()["sources"]["slow"]["duplicates"].as_u64().unwrap_or(0), 0);
}

#[test]
fn a_poison_message_of_pubsub_is_quarantined_and_its_neighbours_arrive() {
    let Some(mut double) = PubSubDouble::start("a poison message of Pub/Sub") else { return };
    double.topic("poison");
    let streams = StreamWorkspace::new();
    streams.source("orders", &double.source("poison"));
    let message = |bytes: &[u8]| json!({"data": STANDARD.encode(bytes), "attributes": {"shop": "berlin"}, "key": ""});
    let messages = [message(br#"{"n":0,"user":"u"}"#), message(b"\xff{"), message(br#"{"n":2,"user":"u"}"#)];
    let asked = json!({"do": "publish", "topic": "poison", "messages": messages});
    let ids = double.program.ask(&asked)["ids"].clone();
    let server = streams.workspace.serve();
    streams.wait_for_rows("orders__ordered", 2);
    double.wait_until_acked("poison", 3);
    server.stop();
    let rows = streams.workspace.warehouse().rows("SELECT n FROM orders__ordered ORDER BY n");
    assert_eq!(rows, ["0", "2"]);
    let kept = streams.quarantine();
    let [entry] = &kept[..] else { panic!("{kept:?}") };
    assert_eq!(entry["code"], "unmappable");
    let reason = entry["detail"]["context"]["pubsub"]["reason"].as_str().unwrap();
    assert_eq!(entry["message"], format!("the message cannot be mapped to an event: {reason}"), "{entry}");
    let position = entry["detail"]["context"]["pubsub"]["position"].as_str().unwrap();
    assert!(position.ends_with(ids[1].as_str().unwrap()), "{entry}");
}

#[test]
fn events_go_out_to_a_topic_of_pubsub_with_their_user_as_ordering_key() {
    let Some(mut double) = PubSubDouble::start("events go out to Pub/Sub") else { return };
    double.topic("bus");
    let streams = StreamWorkspace::new();
    let address = &double.address;
    streams.workspace.write(
        "destinations/bus.yaml",
        &format!("kind: pubsub\nproject: tests\ntopic: bus\nendpoint: {address}\nheaders: {{kind: \"{{type}}\"}}\n"),
    );
    streams.workspace.write("syncs/web-to-bus.yaml", "source: web\ndestination: bus\n");
    let server = streams.workspace.serve();
    let event = |n: u64| json!({"type": "track", "event": "Bought", "messageId": format!("m{n}"), "userId": format!("user-{}", n % 20), "properties": {"n": n}});
    for batch in (0..2_000).map(event).collect::<Vec<Value>>().chunks(500) {
        assert_eq!(server.batch(batch).status, 200);
    }
    seldom("all are there", || {
        let counts = double.counts("bus");
        if counts["messages"].as_u64() >= Some(2_000) { Ok(()) } else { Err(counts.to_string()) }
    });
    server.stop();
    let answer = double.program.ask(&json!({"do": "messages", "topic": "bus"}));
    let mut of_users: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for message in answer["messages"].as_array().unwrap() {
        let event: Value = serde_json::from_str(message["data"].as_str().unwrap()).unwrap();
        assert_eq!((&message["key"], &message["attributes"]["kind"]), (&event["userId"], &json!("track")), "{message}");
        let numbers = of_users.entry(event["userId"].as_str().unwrap().to_owned()).or_default();
        numbers.push(event["properties"]["n"].as_u64().unwrap());
    }
    assert_eq!(of_users.len(), 20);
    for (user, numbers) in of_users {
        assert!(numbers.len() == 100 && numbers.is_sorted(), "{user}: {numbers:?}");
    }
}
