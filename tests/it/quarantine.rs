//! Quarantined events are mended and sent on: each is there once, with its id and its times, whoever dies meanwhile.

mod kills;
mod mended;
mod one_sync;
mod paced;
mod partitioned;
mod parts;
mod replayed;
mod tried_with;

use serde_json::{Value, json};

use crate::reliability::drained;
use crate::support::admin::Admin;
use crate::support::waiting::{PATIENCE, within};
use crate::support::{Server, Workspace};

/// The contract of an event whose `n` has this type; what is otherwise is quarantined.
fn rule(kind: &str) -> String {
    format!(
        "type: track\nname: Strict\nonSchemaViolation: BLOCK_EVENT\nonUndeclaredFields: ALLOW_EVENT\nschema:\n  type: object\n  properties:\n    properties:\n      type: object\n      properties:\n        n: {{ type: {kind} }}\n"
    )
}

/// A workspace whose contract wants a number where events have a text.
fn shop() -> Workspace {
    let workspace = Workspace::new();
    workspace.write("events/domains/shop/domain.yaml", "name: Shop\nonUndeclaredSchema: ALLOW_EVENT\n");
    workspace.write("events/domains/shop/strict.yaml", &rule("integer"));
    workspace
}

fn mend(workspace: &Workspace, admin: &Admin) {
    workspace.write("events/domains/shop/strict.yaml", &rule("string"));
    let reply = admin.post("/admin/reload", &json!({}));
    assert_eq!(reply.status, 200, "{}", reply.text());
}

fn strict(id: &str) -> Value {
    json!({"type": "track", "event": "Strict", "messageId": id, "userId": format!("of {id}"),
        "timestamp": "2024-01-02T03:04:05.000Z", "properties": {"n": format!("hunter2-{id}")}})
}

/// Sends events with these ids, all of which go to quarantine.
fn quarantine(workspace: &Workspace, server: &Server, ids: std::ops::Range<u32>) {
    let events: Vec<Value> = ids.map(|n| strict(&format!("s{n}"))).collect();
    for batch in events.chunks(500) {
        assert_eq!(server.batch(batch).status, 200);
    }
    drained(workspace);
}

/// Begins a job.
fn retried(admin: &Admin, order: &Value) -> Value {
    let reply = admin.post("/api/v1/quarantine/retry", order);
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

/// Waits until a job has ended.
fn ended(admin: &Admin, job: &Value) -> Value {
    within(PATIENCE, "the job ends", || {
        let job = admin.get(&format!("/api/v1/quarantine/jobs/{}", job["id"]));
        if job["state"] == "running" { Err(job.to_string()) } else { Ok(job) }
    })
}

/// Waits until so many entries are left.
fn left(workspace: &Workspace, entries: u64) {
    within(PATIENCE, "they have left the quarantine", || {
        let status = workspace.status();
        if status["quarantine"]["events"] == entries { Ok(()) } else { Err(status["quarantine"].to_string()) }
    });
    drained(workspace);
}
