//! Sources that read streams, where upstream is not there: they say so everywhere, take no write keys, and cost nobody else anything.

use serde_json::{Value, json};

use crate::support::admin::Admin;
use crate::support::waiting::{PATIENCE, within};
use crate::support::{Workspace, run, tidegate};

/// Nobody listens there.
const AWAY: &str = "kind: kafka\nbrokers: [\"127.0.0.1:1\"]\ntopics: [orders]\n";

fn with_stream(workspace: &Workspace) {
    workspace.write("sources/orders.yaml", AWAY);
    workspace.write("syncs/orders.yaml", "source: orders\ndestination: warehouse\nschema: orders\n");
}

#[test]
fn a_stream_that_cannot_be_reached_says_so_everywhere_and_holds_nobody_up() {
    let workspace = Workspace::new();
    with_stream(&workspace);
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    let stream = "/api/v1/sources/orders/stream";
    let shown = within(PATIENCE, "the stream says why it is not connected", || {
        let shown = admin.get(stream);
        if shown["error"].is_string() { Ok(shown) } else { Err(shown.to_string()) }
    });
    assert_eq!(
        (&shown["kind"], &shown["state"], &shown["messages"]),
        (&json!("kafka"), &json!("connecting"), &json!(0))
    );
    let seek = |to: Value| admin.post("/api/v1/sources/orders/seek", &json!({ "to": to })).code();
    assert_eq!(seek(json!("earliest")), "503 not-connected");
    assert_eq!(seek(json!({"time": "yesterday"})), "422 time");
    assert_eq!(seek(json!({"position": "orders"})), "422 position");
    assert_eq!(seek(json!("sideways")), "400 body");
    // Others come in meanwhile.
    let sent = server.batch(&[json!({"type": "track", "event": "Sent", "userId": "u", "messageId": "a"})]);
    assert_eq!(sent.status, 200, "{}", sent.text());
    // The data directory says it as well, some seconds later.
    within(PATIENCE, "the status has it", || {
        let status = workspace.status();
        let error = &status["streams"]["orders"]["error"];
        if error.is_string() { Ok(()) } else { Err(status["streams"].to_string()) }
    });
    let printed = run(&["status", workspace.path().to_str().unwrap()]);
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert!(printed.contains("connecting") && printed.contains("stream: source orders"), "{printed}");
    // Paused it does nothing, and goes on when it is let go on.
    assert_eq!(admin.post("/api/v1/objects/source/orders/pause", &json!({})).status, 200);
    assert_eq!(admin.get(stream)["state"], "paused");
    assert_eq!(seek(json!("earliest")), "409 not-running");
    assert_eq!(admin.post("/api/v1/objects/source/orders/resume", &json!({})).status, 200);
    within(PATIENCE, "it tries again", || {
        let shown = admin.get(stream);
        if shown["state"] == "connecting" && shown["error"].is_string() { Ok(()) } else { Err(shown.to_string()) }
    });
    server.stop();
}

#[test]
fn a_source_that_reads_a_stream_takes_no_write_keys_and_others_do_not_seek() {
    let workspace = Workspace::new();
    with_stream(&workspace);
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    let made = admin.post("/api/v1/sources/orders/write-keys", &json!({"name": "app"}));
    assert_eq!(made.code(), "422 no-write-keys");
    let other = admin.post("/api/v1/sources/web/seek", &json!({"to": "earliest"}));
    assert_eq!(other.code(), "422 no-stream");
    let url = format!("http://{}", server.admin);
    let mut command = tidegate();
    command.args(["source", "seek", "web", "--to", "earliest", "--server", &url]).env("TIDEGATE_ADMIN_TOKEN", &token);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("reads no stream"), "{said}");
    server.stop();
}

#[test]
fn settings_of_a_stream_are_checked_with_their_lines() {
    let workspace = Workspace::new();
    let text = format!("{AWAY}write_key: a-key-0123456789\ntombstones: burn\nheaders: [\"a b\"]\n");
    workspace.write("sources/orders.yaml", &text);
    workspace.write("sources/other.yaml", "kind: carrier-pigeon\nwrite_key: other-key-0123456789\n");
    let output = run(&["check", workspace.path().to_str().unwrap()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    for expected in [
        "orders.yaml:4",
        "nobody sends to a source that reads a stream",
        "orders.yaml:5",
        "orders.yaml:6",
        "which names no header",
        "write http, webhook, kafka, pubsub or kinesis",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

#[test]
fn check_connect_asks_streams_as_well() {
    let workspace = Workspace::new();
    with_stream(&workspace);
    let output = run(&["check", workspace.path().to_str().unwrap(), "--connect", "--json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{answer}");
    assert_eq!((&answer["ok"], &answer["sources"][0]["ok"]), (&json!(false), &json!(false)), "{answer}");
    assert_eq!(answer["sources"][0]["source"], "orders");
}
