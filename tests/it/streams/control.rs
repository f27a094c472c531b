//! What operators do to a stream: it stops and goes on, and it goes back.

use serde_json::json;
use tidegate_event::time;
use tidegate_process::clock;

use super::{MAPPING, StreamWorkspace, group_of, kafka, kafka_source};
use crate::support::waiting::seldom;

const SECOND_US: i64 = 1_000_000;

#[test]
fn a_stream_pauses_resumes_and_goes_back_without_doubling_a_row() {
    let Some(cluster) = kafka("pause, resume and seek") else { return };
    let streams = StreamWorkspace::new();
    let mut client = cluster.client();
    let topic = client.topic("controlled");
    let group = group_of(&topic);
    let source = kafka_source(cluster, &topic);
    streams.source("orders", &format!("{source}format: json\n{MAPPING}"));
    client.produce(&topic, 0..1_000, json!({}));
    let server = streams.workspace.serve();
    streams.wait_for_rows("orders__ordered", 1_000);
    let duplicates = || streams.workspace.status()["sources"]["orders"]["duplicates"].as_u64().unwrap_or(0);

    assert_eq!(streams.command(&server, &["object", "pause", "source", "orders"]), "source orders is paused\n");
    streams.wait_for(&server, "orders", "it is paused", |stream| stream["state"] == "paused");
    client.produce(&topic, 1_000..2_000, json!({}));
    // Whoever is paused is in no group.
    seldom("it has left its group", || match client.members(&group) {
        0 => Ok(()),
        members => Err(format!("the group has {members} members")),
    });
    assert_eq!(client.lag(&group, &topic), 1_000);
    assert_eq!(streams.rows_of("orders__ordered"), 1_000);
    assert_eq!(streams.command(&server, &["object", "resume", "source", "orders"]), "source orders goes on\n");
    streams.wait_for_rows("orders__ordered", 2_000);
    let settled = |messages: u64| {
        let what = format!("{messages} messages are acknowledged");
        streams.wait_for(&server, "orders", &what, |stream| {
            stream["lag"] == 0 && stream["messages"].as_u64() >= Some(messages)
        })
    };
    let before = streams.wait_for(&server, "orders", "all is acknowledged", |stream| stream["lag"] == 0);
    let before = before["messages"].as_u64().unwrap();
    assert_eq!(duplicates(), 0);

    // From the beginning: everything comes again, and nothing of it counts.
    streams.seek(&server, "orders", json!("earliest"));
    settled(before + 2_000);
    // At a time when all was there already, and at one before the first message.
    let at = |seconds: i64| time::format(clock::now_us() + seconds * SECOND_US);
    streams.seek(&server, "orders", json!({"time": at(3_600)}));
    client.produce(&topic, 2_000..2_100, json!({}));
    settled(before + 2_100);
    streams.seek(&server, "orders", json!({"time": at(-3_600)}));
    settled(before + 4_200);
    // From one message of one partition on.
    let ends = client.ask(&json!({"do": "ends", "topic": topic}))["ends"].clone();
    let end = ends["1"].as_u64().unwrap();
    assert!(end > 5, "{ends}");
    let position = format!("{topic}/1/{}", end - 5);
    let said = streams.command(&server, &["source", "seek", "orders", "--to", &position]);
    assert!(said.contains(&position), "{said}");
    settled(before + 4_205);
    // Behind everything.
    streams.seek(&server, "orders", json!("earliest"));
    settled(before + 6_305);
    streams.seek(&server, "orders", json!("latest"));
    client.produce(&topic, 2_100..2_200, json!({}));
    settled(before + 6_405);
    streams.wait_for_rows("orders__ordered", 2_200);
    server.stop();
    streams.has_each_order_once("orders", 2_200);
    assert_eq!(duplicates(), 2_000 + 2_100 + 5 + 2_100);
}

#[test]
fn a_seek_that_leads_nowhere_is_refused_and_the_stream_goes_on() {
    let Some(cluster) = kafka("a seek that leads nowhere") else { return };
    let streams = StreamWorkspace::new();
    let mut client = cluster.client();
    let topic = client.topic("unsought");
    let source = kafka_source(cluster, &topic);
    streams.source("orders", &format!("{source}format: json\n{MAPPING}"));
    let server = streams.workspace.serve();
    streams.wait_for(&server, "orders", "it reads", |stream| stream["state"] == "reading");
    let admin = streams.admin(&server);
    let wrong = [
        (json!({"to": {"position": "nowhere"}}), "orders"),
        (json!({"to": {"position": format!("{topic}/77/5")}}), "orders"),
        (json!({"to": {"time": "yesterday"}}), "orders"),
        (json!({"to": "middle"}), "orders"),
        (json!({"to": "earliest"}), "web"),
        (json!({"to": "earliest"}), "nobody"),
    ];
    for (body, source) in wrong {
        let reply = admin.post(&format!("/api/v1/sources/{source}/seek"), &body);
        assert!((400..500).contains(&reply.status), "{source} {body}: {}", reply.text());
    }
    client.produce(&topic, 0..100, json!({}));
    streams.wait_for_rows("orders__ordered", 100);
    server.stop();
    streams.has_each_order_once("orders", 100);
}

#[test]
fn a_group_that_is_new_begins_where_its_source_says() {
    let Some(cluster) = kafka("where a group begins") else { return };
    let streams = StreamWorkspace::new();
    let mut client = cluster.client();
    let topic = client.topic("begun");
    client.produce(&topic, 0..100, json!({}));
    let source = kafka_source(cluster, &topic);
    streams.source("all", &format!("{source}start: earliest\nformat: json\n{MAPPING}"));
    let source = source.replace("group: ", "group: new-");
    streams.source("new", &format!("{source}start: latest\nformat: json\n{MAPPING}"));
    let server = streams.workspace.serve();
    for name in ["all", "new"] {
        streams.wait_for(&server, name, "it reads its partitions", |stream| {
            stream["lag"] == 0 && stream["partitions"].as_array().is_some_and(|partitions| partitions.len() == 3)
        });
    }
    client.produce(&topic, 100..150, json!({}));
    streams.wait_for_rows("all__ordered", 150);
    streams.wait_for_rows("new__ordered", 50);
    server.stop();
    streams.has_each_order_once("all", 150);
    let rows = streams.workspace.warehouse().rows("SELECT count(*), min(n), max(n) FROM new__ordered");
    assert_eq!(rows, ["50|100|149"]);
}
