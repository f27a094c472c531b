//! Destinations and syncs are tried out: nothing is delivered, and nothing is changed.

use serde_json::{Value, json};

use super::{ApiCaller, served};
use crate::support::{Server, Workspace};

const SYNC: &str = "/api/v1/objects/sync/web-to-warehouse/test";

fn order(id: &str) -> Value {
    json!({"type": "track", "event": "Order Completed", "messageId": id, "userId": "ann-hunter2", "properties": {"total": 12.5}})
}

#[track_caller]
fn tried(caller: &ApiCaller, path: &str, body: &Value) -> Value {
    let reply = caller.ask("POST", path, body);
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    reply.json()
}

/// The value that a row of a table has in a column, with its type.
fn cell(event: &Value, table: &str, column: &str) -> (Value, Value) {
    let row = event["rows"].as_array().unwrap().iter().find(|row| row["table"] == table);
    let row = row.unwrap_or_else(|| panic!("no row of {table} in {event}"));
    let cell = row["columns"].as_array().unwrap().iter().find(|cell| cell["name"] == column);
    let cell = cell.unwrap_or_else(|| panic!("no {column} in {row}"));
    (cell["kind"].clone(), cell["value"].clone())
}

fn send(server: &Server, ids: &[&str]) {
    let events: Vec<Value> = ids.iter().map(|id| order(id)).collect();
    assert_eq!(server.batch(&events).status, 200);
}

#[test]
fn a_sync_says_what_it_would_make_of_the_newest_events_of_its_source() {
    let (_workspace, server, admin) = served();
    send(&server, &["a", "b", "c"]);
    let answer = tried(&admin, SYNC, &json!({"count": 2}));
    assert_eq!((&answer["ok"], &answer["masked"]), (&json!(true), &json!(false)), "{answer}");
    assert_eq!(answer["connections"][0]["destination"], "warehouse", "{answer}");
    let events = answer["events"].as_array().unwrap();
    let ids: Vec<&str> = events.iter().filter_map(|event| event["message_id"].as_str()).collect();
    assert_eq!(ids, ["b", "c"], "{answer}");
    assert!(events.iter().all(|event| event["outcome"] == "delivered"), "{answer}");
    assert_eq!(cell(&events[0], "order_completed", "total"), (json!("DECIMAL"), json!("12.5")));
    assert_eq!(cell(&events[0], "tracks", "user_id"), (json!("TEXT"), json!("ann-hunter2")));
    assert_eq!(tried(&admin, SYNC, &json!({"count": 0}))["events"], json!([]));
    let tested = admin.get("/api/v1/audit?action=tested");
    assert_eq!(tested["entries"].as_array().unwrap().len(), 2, "{tested}");
    server.stop();
}

#[test]
fn events_that_are_sent_are_tried_with_a_spec_that_is_not_made() {
    let (workspace, server, admin) = served();
    let revision = workspace.status()["catalog"]["revision"].clone();
    // In tables of its own: a sync is there already that writes into those without a schema.
    let spec = json!({"source": "web", "destination": "warehouse", "schema": "tried",
        "filter": {"events": ["Order Completed"]}, "mapping": {"remove": ["/userId"]}});
    let other = json!({"type": "track", "event": "Seen", "messageId": "s"});
    let events = json!([order("o"), other, {"type": "nonsense", "messageId": "n"}]);
    let body = json!({"spec": spec, "events": events});
    for path in [SYNC, "/api/v1/objects/sync/not-made/test"] {
        let answer = tried(&admin, path, &body);
        let found: Vec<&Value> = answer["events"].as_array().unwrap().iter().map(|event| &event["outcome"]).collect();
        assert_eq!(found, ["delivered", "filtered", "quarantined"], "{answer}");
        assert!(answer["events"][1]["reason"].as_str().unwrap().contains("filter"), "{answer}");
        assert!(answer["events"][2]["code"].is_string(), "{answer}");
        let delivered = &answer["events"][0]["delivered"][0];
        assert!(delivered["userId"].is_null() && delivered["event"] == "Order Completed", "{answer}");
    }
    assert_eq!(workspace.status()["catalog"]["revision"], revision);
    assert_eq!(admin.ask("GET", "/api/v1/objects/sync/not-made", &Value::Null).code(), "404 no-such-object");
    server.stop();
    assert!(!workspace.data().join("warehouse.db").exists() || !workspace.warehouse().has("order_completed"));
}

#[test]
fn a_destination_is_tried_before_it_is_made() {
    let (workspace, server, admin) = served();
    let path = "/api/v1/objects/destination/spare/test";
    let answer = tried(&admin, path, &json!({"spec": {"kind": "sqlite", "path": "DATA/spare.db"}}));
    assert_eq!((&answer["ok"], &answer["events"]), (&json!(true), &json!([])), "{answer}");
    assert!(answer["connections"][0]["sync"].is_null(), "{answer}");
    assert!(!workspace.data().join("spare.db").exists(), "asking makes nothing");
    assert_eq!(
        admin.ask("PUT", "/api/v1/secrets/far", &json!({"value": "postgres://ann:x@127.0.0.1:1/db"})).status,
        200
    );
    let away = json!({"spec": {"kind": "postgres", "url": "secret:far", "sslmode": "disable"}});
    let answer = tried(&admin, path, &away);
    assert_eq!(answer["ok"], false, "{answer}");
    assert!(answer["connections"][0]["says"].as_str().unwrap().contains("refused"), "{answer}");
    assert!(!answer.to_string().contains("ann:x"), "{answer}");
    for (path, body, code) in [
        (path, json!({}), "404 no-such-object"),
        (path, json!({"spec": {"kind": "nonsense"}}), "422 problems"),
        (path, json!({"spec": {"kind": "sqlite"}, "count": 1}), "422 not-this-way"),
        ("/api/v1/objects/source/web/test", json!({}), "422 not-this-way"),
        (SYNC, json!({"count": 201}), "422 too-many"),
        (SYNC, json!({"spec": {"source": "nowhere", "destination": "warehouse"}}), "422 dangling"),
    ] {
        assert_eq!(admin.ask("POST", path, &body).code(), code, "{path} {body}");
    }
    server.stop();
}

#[test]
fn who_may_not_see_events_gets_their_fields_without_the_values() {
    let (_workspace, server, admin) = served();
    send(&server, &["a"]);
    let on_both = json!([{"level": "connect"}]);
    admin.made("role", "tester", json!({"access": on_both}));
    admin.made("role", "seer", json!({"access": on_both, "see_payloads": [{}]}));
    let (tester, seer) = (admin.user(&server, "noa", Some("tester")), admin.user(&server, "ada", Some("seer")));
    let answer = tried(&tester, SYNC, &json!({}));
    assert_eq!(answer["masked"], true, "{answer}");
    assert!(!answer.to_string().contains("hunter2") && !answer.to_string().contains("12.5"), "{answer}");
    assert_eq!(answer["events"][0]["delivered"][0]["properties"]["total"], 0, "{answer}");
    // A table is named after its event.
    assert!(!answer.to_string().contains("order_completed"), "{answer}");
    let columns = |row: &Value| row["columns"].as_array().unwrap().clone();
    let cells: Vec<Value> = answer["events"][0]["rows"].as_array().unwrap().iter().flat_map(columns).collect();
    let total = cells.iter().find(|cell| cell["name"] == "total").unwrap();
    assert_eq!((&total["kind"], &total["value"]), (&json!("DECIMAL"), &json!("***")), "{answer}");
    let answer = tried(&seer, SYNC, &json!({}));
    assert!(answer["masked"] == false && answer.to_string().contains("hunter2"), "{answer}");
    let viewer = admin.user(&server, "vic", Some("viewer"));
    assert_eq!(viewer.ask("POST", SYNC, &json!({})).code(), "403 forbidden");
    let made = json!({"spec": {"kind": "sqlite", "path": "DATA/spare.db"}});
    assert_eq!(viewer.ask("POST", "/api/v1/objects/destination/spare/test", &made).code(), "403 forbidden");
    server.stop();
}

#[test]
fn a_sync_to_a_stream_says_which_messages_it_would_send() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    // Nobody is there, and nobody is needed for it.
    let bus =
        "kind: kafka\nbrokers: [127.0.0.1:1]\ntopic: \"orders-{properties.country}\"\nheaders: {kind: \"{type}\"}\n";
    workspace.write("destinations/bus.yaml", bus);
    let server = workspace.serve();
    let admin = ApiCaller::new(&server, &token);
    let mut there = order("a");
    there["properties"]["country"] = json!("de");
    let body = json!({"spec": {"source": "web", "destination": "bus"}, "events": [there, order("b")]});
    let answer = tried(&admin, "/api/v1/objects/sync/web-to-bus/test", &body);
    let message = &answer["events"][0]["messages"][0];
    let told = (&message["topic"], &message["key"], &message["headers"], &message["is_base64"]);
    assert_eq!(
        told,
        (&json!("orders-de"), &json!("ann-hunter2"), &json!({"kind": "track"}), &json!(false)),
        "{answer}"
    );
    let payload: Value = serde_json::from_str(message["payload"].as_str().unwrap()).unwrap();
    assert_eq!(payload["properties"], json!({"total": 12.5, "country": "de"}), "{answer}");
    let other = &answer["events"][1];
    let told = (&other["outcome"], &other["code"], &other["messages"]);
    assert_eq!(told, (&json!("quarantined"), &json!("no_topic"), &json!([])), "{answer}");
    // The stream by itself says the same.
    let alone = tried(&admin, "/api/v1/objects/destination/bus/test", &json!({"events": body["events"]}));
    assert_eq!(alone["events"][0]["messages"][0]["topic"], "orders-de", "{alone}");
    assert_eq!(alone["events"][1]["code"], "no_topic", "{alone}");
    let warehouse = "/api/v1/objects/destination/warehouse/test";
    assert_eq!(admin.ask("POST", warehouse, &json!({"events": [order("c")]})).code(), "422 not-this-way");
    server.stop();
}
