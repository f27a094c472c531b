//! Events go out to Kafka: another client reads each once, those of a user in order, whoever dies meanwhile.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};

use super::{StreamWorkspace, kafka, kafka_source};
use crate::support::Server;
use crate::support::kafka::{KafkaCluster, unique};
use crate::support::waiting::seldom;

const USERS: u64 = 40;

fn purchase(n: u64) -> Value {
    json!({"type": "track", "event": "Bought", "messageId": format!("m{n}"), "userId": format!("user-{}", n % USERS),
        "properties": {"n": n, "big": 9_007_199_254_740_993_u64 + 2 * n}})
}

pub(super) fn send(server: &Server, numbers: std::ops::Range<u64>) {
    let events: Vec<Value> = numbers.map(purchase).collect();
    for batch in events.chunks(500) {
        assert_eq!(server.batch(batch).status, 200);
    }
}

/// A workspace whose events go to a topic.
pub(super) fn to_topic(cluster: &KafkaCluster, topic: &str, more: &str) -> StreamWorkspace {
    let streams = StreamWorkspace::new();
    // Whoever writes to one cluster has a ledger of its own there.
    let ledger = unique("ledger");
    let settings = format!("kind: kafka\nbrokers: {}\ntopic: \"{topic}\"\nledger: {ledger}\n{more}", cluster.brokers());
    streams.workspace.write("destinations/bus.yaml", &settings);
    streams.workspace.write("syncs/web-to-bus.yaml", "source: web\ndestination: bus\n");
    streams
}

/// Waits until so many events are delivered and none waits.
pub(super) fn wait_for_end(streams: &StreamWorkspace) {
    seldom("everything is delivered", || {
        let sync = streams.workspace.status()["syncs"]["web-to-bus"].clone();
        if sync["lag"] == 0 && sync["pending"].as_u64().unwrap_or(0) == 0 { Ok(()) } else { Err(sync.to_string()) }
    });
}

/// Every purchase below `count` is there once, and those of a user are in one partition and in order.
pub(super) fn has_each_once_in_order(messages: &[Value], count: u64) {
    let mut of_users: HashMap<String, (u64, Vec<u64>)> = HashMap::new();
    for message in messages {
        let event: Value = serde_json::from_str(message["value"].as_str().unwrap()).unwrap();
        let user = event["userId"].as_str().unwrap().to_owned();
        assert_eq!(message["key"], user.as_str(), "{message}");
        let n = event["properties"]["n"].as_u64().unwrap();
        assert_eq!(event["properties"]["big"], 9_007_199_254_740_993_u64 + 2 * n, "{message}");
        let partition = message["partition"].as_u64().unwrap();
        let (first, numbers) = of_users.entry(user).or_insert((partition, Vec::new()));
        assert_eq!(*first, partition, "a user is in two partitions: {message}");
        numbers.push(n);
    }
    assert_eq!(of_users.len() as u64, USERS.min(count));
    for (user, (_, numbers)) in &of_users {
        let first = numbers.iter().min().unwrap() % USERS;
        let own: Vec<u64> = (0..count).filter(|n| n % USERS == first).collect();
        assert!(
            *numbers == own,
            "{user} has {} events, of which {:?} are the first",
            numbers.len(),
            &numbers[..numbers.len().min(20)]
        );
    }
}

#[test]
fn each_event_is_in_its_topic_once_and_in_order_whoever_is_killed_meanwhile() {
    let Some(cluster) = kafka("events go out") else { return };
    let mut client = cluster.client();
    let topic = client.topic("out");
    let streams = to_topic(cluster, &topic, "headers: {kind: \"{type}\"}\n");
    let mut server = streams.workspace.serve();
    let mut sent = 0;
    for life in 0..4 {
        send(&server, sent..sent + 10_000);
        sent += 10_000;
        // In the middle of a delivery: some of it is there, and not all.
        seldom("some is delivered", || match client.ask(&json!({"do": "ends", "topic": topic}))["ends"].clone() {
            ends if ends.as_object().unwrap().values().any(|end| end.as_u64() > Some(life * 3_000)) => Ok(()),
            ends => Err(ends.to_string()),
        });
        server.kill();
        server = streams.workspace.serve();
    }
    for broker in [1, 2] {
        send(&server, sent..sent + 5_000);
        let dead = cluster.kill_broker(broker);
        send(&server, sent + 5_000..sent + 10_000);
        sent += 10_000;
        wait_for_end(&streams);
        drop(dead);
    }
    wait_for_end(&streams);
    server.stop();
    let messages = client.read(&topic);
    assert_eq!(messages.len() as u64, sent, "what is committed");
    has_each_once_in_order(&messages, sent);
    assert!(messages.iter().all(|message| message["headers"]["kind"] == "track"), "{}", messages[0]);
    assert_eq!(streams.workspace.quarantined(), [""; 0]);
}

#[test]
fn what_goes_out_comes_in_again_as_it_was() {
    let Some(cluster) = kafka("out and in again") else { return };
    let mut client = cluster.client();
    let topic = client.topic("round");
    let streams = to_topic(cluster, &topic, "");
    streams.source("back", &format!("{}format: json\n", kafka_source(cluster, &topic)));
    let server = streams.workspace.serve();
    send(&server, 0..2_000);
    let other = json!({"type": "identify", "messageId": "i1", "userId": "user-1", "timestamp": "2026-11-20T09:30:00.123456Z",
        "traits": {"name": "Ünïcode \u{1f980}", "plan": null, "digits": "1.10"}});
    assert_eq!(server.batch(&[other]).status, 200);
    streams.wait_for_rows("back__bought", 2_000);
    streams.wait_for_rows("back__identifies", 1);
    server.stop();
    let warehouse = streams.workspace.warehouse();
    for (columns, table) in
        [("id, user_id, n, big", "bought"), ("id, user_id, name, digits, original_timestamp", "identifies")]
    {
        let rows = |table: &str| warehouse.rows(&format!("SELECT {columns} FROM {table} ORDER BY id"));
        assert_eq!(rows(&format!("back__{table}")), rows(table));
    }
    assert_eq!(streams.workspace.quarantined(), [""; 0]);
}

#[test]
fn a_topic_is_named_after_fields_of_the_event_and_what_has_none_is_quarantined() {
    let Some(cluster) = kafka("topics of a template") else { return };
    let mut client = cluster.client();
    let topics = ["gold", "plain"].map(|name| client.topic(name));
    let streams = to_topic(cluster, "{properties.topic}", "");
    let server = streams.workspace.serve();
    let event = |id: &str, properties: Value| json!({"type": "track", "event": "Sent", "messageId": id, "userId": "u", "properties": properties});
    let events = [
        event("a", json!({"topic": topics[0]})),
        event("b", json!({"topic": topics[1]})),
        event("c", json!({})),
        event("d", json!({"topic": topics[0]})),
    ];
    assert_eq!(server.batch(&events).status, 200);
    seldom("they are delivered", || {
        let sync = streams.workspace.status()["syncs"]["web-to-bus"].clone();
        if sync["delivered"] == 3 && sync["quarantined"] == 1 { Ok(()) } else { Err(sync.to_string()) }
    });
    server.stop();
    let ids = topics.map(|topic| {
        let messages = client.read(&topic);
        let id = |message: &Value| {
            let event: Value = serde_json::from_str(message["value"].as_str().unwrap()).unwrap();
            event["messageId"].as_str().unwrap().to_owned()
        };
        messages.iter().map(id).collect::<BTreeSet<String>>()
    });
    let set = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<String>>();
    assert_eq!(ids, [set(&["a", "d"]), set(&["b"])]);
    assert_eq!(streams.workspace.quarantined(), ["no_topic"]);
}

#[test]
fn a_sync_waits_for_a_topic_that_is_not_there_yet() {
    let Some(cluster) = kafka("a topic that is not there") else { return };
    let mut client = cluster.client();
    let topic = unique("late");
    let streams = to_topic(cluster, &topic, "");
    let server = streams.workspace.serve();
    send(&server, 0..100);
    seldom("it says what is missing", || {
        let sync = streams.workspace.status()["syncs"]["web-to-bus"].clone();
        if sync["failure"].as_str().is_some_and(|failure| failure.contains(&topic)) {
            Ok(())
        } else {
            Err(sync.to_string())
        }
    });
    client.ask(&json!({"do": "topic", "name": topic, "partitions": 3}));
    wait_for_end(&streams);
    server.stop();
    has_each_once_in_order(&client.read(&topic), 100);
}
