//! Edited events in a log of several partitions: an event is there once, whichever way it came first.

use serde_json::{Value, json};

use super::{drained, ended, left};
use crate::support::Workspace;
use crate::support::admin::Admin;

const EVENTS: usize = 8;

fn id(n: usize) -> String {
    format!("wrong-{n}-")
}

fn corrected(n: usize) -> Value {
    json!({"type": "track", "event": "Bought", "messageId": id(n), "userId": format!("user-{n}"), "properties": {"n": n}})
}

/// Edits every entry into what it should be; what each job says.
fn edit_all(admin: &Admin) -> Vec<Value> {
    let entries = admin.get("/api/v1/quarantine?limit=100")["entries"].as_array().unwrap().clone();
    assert_eq!(entries.len(), EVENTS, "{entries:?}");
    let edit = |entry: &Value| {
        let text = entry["event"].to_string();
        let n = (0..EVENTS).find(|n| text.contains(&id(*n))).unwrap();
        let path = format!("/api/v1/quarantine/entries/{}/edit", entry["id"]);
        let reply = admin.post(&path, &json!({"event": corrected(n)}));
        assert_eq!(reply.status, 200, "{}", reply.text());
        ended(admin, &reply.json())
    };
    entries.iter().map(edit).collect()
}

/// Sends events that are none, of which nobody can say whose they are, edits them, and lets the client send what they should have been
/// before or behind that.
fn sent_by_both(is_client_first: bool) {
    let workspace = Workspace::new();
    workspace.append("tidegate.yaml", "\nlog: {partitions: 3}\n");
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    for n in 0..EVENTS {
        let wrong = format!(r#"{{"event":"Bought","messageId":"{}","properties":{{"n":NaN}}}}"#, id(n));
        assert_eq!(server.post("/v1/track", wrong).status, 200);
    }
    drained(&workspace);
    let events: Vec<Value> = (0..EVENTS).map(corrected).collect();
    let send = || {
        assert_eq!(server.batch(&events).status, 200);
        drained(&workspace);
    };
    if is_client_first {
        send();
    }
    let jobs = edit_all(&admin);
    left(&workspace, 0);
    for job in jobs {
        let job = admin.get(&format!("/api/v1/quarantine/jobs/{}", job["id"]));
        let filtered = if is_client_first { json!({"duplicate": 1}) } else { json!({}) };
        assert_eq!((&job["refined"], &job["filtered"]), (&json!(1), &filtered), "{job}");
    }
    if !is_client_first {
        send();
    }
    server.stop();
    let rows = workspace.warehouse().rows("SELECT count(*), count(DISTINCT id) FROM bought");
    assert_eq!(rows, [format!("{EVENTS}|{EVENTS}")]);
}

#[test]
fn what_the_client_corrects_behind_an_edit_is_a_duplicate() {
    sent_by_both(false);
}

#[test]
fn an_edit_behind_what_the_client_has_corrected_is_a_duplicate() {
    sent_by_both(true);
}
