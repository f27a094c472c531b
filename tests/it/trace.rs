//! What has become of an event, asked of a running server; and events seen while they pass.

mod tapped;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::delivery::{Route, event, send};
use crate::reliability::drained;
use crate::support::admin::Admin;
use crate::support::far::{Act, Far};
use crate::support::waiting::{PATIENCE, until, within};
use crate::support::{Server, Workspace, guests, tidegate};

/// A value for the query of a URL.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn traced(admin: &Admin, id: &str) -> Value {
    admin.get(&format!("/api/v1/trace?message_id={}", encoded(id)))
}

/// Waits until a trace of the event says this fate for a sync.
fn until_fate(admin: &Admin, (id, sync): (&str, &str), fate: &str) -> Value {
    within(PATIENCE, &format!("{id} is {fate} for {sync}"), || {
        let found = traced(admin, id);
        let syncs = found["records"][0]["syncs"].as_array().cloned().unwrap_or_default();
        let of_sync = syncs.into_iter().find(|of| of["sync"] == sync);
        of_sync.filter(|of| of["fate"] == fate).ok_or_else(|| found.to_string())
    })
}

/// Whether `found` has everything that `wanted` has.
fn has(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            wanted.iter().all(|(name, value)| has(found.get(name).unwrap_or(&Value::Null), value))
        }
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len() && found.iter().zip(wanted).all(|(found, wanted)| has(found, wanted))
        }
        (found, wanted) => found == wanted,
    }
}

/// The text of a file of a case, with what only the test knows.
fn filled(text: &str, workspace: &Workspace) -> String {
    let text = text.replace("{write_key}", &workspace.write_key);
    match text.split_once("{component:").and_then(|(_, rest)| rest.split_once('}')) {
        Some((guest, _)) => {
            let path = guests::component(guest).display().to_string();
            text.replace(&format!("{{component:{guest}}}"), &path)
        }
        None => text,
    }
}

fn case(folder: &Path) {
    let name = folder.file_name().unwrap().to_string_lossy().into_owned();
    let read =
        |file: &str| -> Value { serde_json::from_str(&std::fs::read_to_string(folder.join(file)).unwrap()).unwrap() };
    let (given, wanted) = (read("given.json"), read("expect.json"));
    let workspace = Workspace::new();
    for (path, text) in given["files"].as_object().unwrap() {
        workspace.write(path, &filled(text.as_str().unwrap(), &workspace));
    }
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    if given["suppress"].is_array() {
        let named = admin.post("/api/v1/privacy/suppress", &json!({"subjects": given["suppress"]}));
        assert_eq!(named.status, 200, "{}", named.text());
    }
    for event in given["events"].as_array().unwrap() {
        assert_eq!(server.batch(std::slice::from_ref(event)).status, 200);
    }
    if given["waits"] != true {
        drained(&workspace);
    }
    if given["purge"] == true {
        let purged = admin.post("/api/v1/quarantine/purge", &json!({"entries": {"all": true}}));
        assert_eq!(purged.status, 200, "{}", purged.text());
    }
    let found = traced(&admin, "traced");
    assert!(has(&found["records"], &wanted), "{name}: wanted {wanted:#}\nfound {found:#}");
    assert_eq!(found["masked"], false);
    server.stop();
}

#[test]
fn every_fate_of_an_event_is_told_with_what_led_to_it() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/cases/trace");
    let mut folders: Vec<_> = std::fs::read_dir(cases).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    assert!(folders.len() >= 9);
    folders.iter().for_each(|folder| case(folder));
}

#[test]
fn what_a_plugin_has_not_taken_is_pending_or_in_quarantine_and_its_request_is_planned_again() {
    let is_away = Arc::new(AtomicBool::new(true));
    let away = Arc::clone(&is_away);
    let far = Far::new(move |received| match received.text().contains("\"bad\":true") {
        true => Act::status(422),
        false => Act::status(if away.load(Ordering::SeqCst) { 503 } else { 200 }),
    });
    let route = Route::new(&far);
    let token = route.workspace.admin_token();
    let server = route.workspace.serve();
    let admin = Admin::new(&server, &token);
    send(&server, &[event("waits", "ann", json!({"bad": false})), event("refused", "bob", json!({"bad": true}))]);
    let pending = until_fate(&admin, ("waits", "web-to-crm"), "pending");
    until("it was tried", || {
        let again = until_fate(&admin, ("waits", "web-to-crm"), "pending");
        again["pending"][0]["attempts"].as_u64().is_some_and(|tries| tries > 0)
    });
    assert_eq!(pending["requests"].as_array().unwrap().len(), 1, "{pending}");
    assert!(!pending.to_string().contains("hunter2"), "no secret is shown: {pending}");
    let refused = until_fate(&admin, ("refused", "web-to-crm"), "quarantined");
    assert!(refused["why"].as_str().unwrap().contains("of the quarantine"), "{refused}");
    is_away.store(false, Ordering::SeqCst);
    let seen = far.seen().len();
    until_fate(&admin, ("waits", "web-to-crm"), "delivered");
    until("it was sent", || far.seen().len() > seen);
    // The neighbour has both.
    until_fate(&admin, ("waits", "web-to-warehouse"), "delivered");
    until_fate(&admin, ("refused", "web-to-warehouse"), "delivered");
    server.stop();
}

#[test]
fn an_event_that_was_retried_for_one_sync_is_told_by_its_first_record_and_by_its_retry() {
    let is_mended = Arc::new(AtomicBool::new(false));
    let mended = Arc::clone(&is_mended);
    let far = Far::new(move |_| Act::status(if mended.load(Ordering::SeqCst) { 200 } else { 422 }));
    let route = Route::new(&far);
    let token = route.workspace.admin_token();
    let server = route.workspace.serve();
    let admin = Admin::new(&server, &token);
    send(&server, &[event("again", "ann", json!({}))]);
    until_fate(&admin, ("again", "web-to-crm"), "quarantined");
    is_mended.store(true, Ordering::SeqCst);
    let retry = admin.post("/api/v1/quarantine/retry", &json!({"entries": {"sync": "web-to-crm"}}));
    assert_eq!(retry.status, 200, "{}", retry.text());
    // The other sync has had it before: the retry is not for it.
    let wanted = json!([
        {"position": "0", "syncs": [{"sync": "web-to-crm", "fate": "expired"},
            {"sync": "web-to-warehouse", "fate": "delivered"}]},
        {"position": "1", "retry": {"position": "0", "for_sync": "web-to-crm"},
            "syncs": [{"sync": "web-to-crm", "fate": "delivered"}]},
    ]);
    let found = within(PATIENCE, "the retry is delivered", || {
        let found = traced(&admin, "again");
        if has(&found["records"], &wanted) { Ok(found) } else { Err(found.to_string()) }
    });
    let why = found["records"][0]["syncs"][0]["why"].as_str().unwrap();
    assert!(why.contains("in the log again as 1"), "{why}");
    // One record alone is asked for: where its retry is, is known all the same.
    let first = admin.get("/api/v1/trace?message_id=again&limit=1");
    assert_eq!(first["records"][0]["syncs"][0]["fate"], "expired", "{first}");
    server.stop();
}

#[test]
fn nothing_is_told_of_an_event_that_was_forgotten_and_all_of_its_neighbour() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    let both = [event("gone", "ann", json!({})), event("stays", "bob", json!({}))];
    assert_eq!(server.batch(&both).status, 200);
    drained(&workspace);
    assert_eq!(traced(&admin, "gone")["records"].as_array().unwrap().len(), 1);
    let begun = admin.post("/api/v1/privacy/forget", &json!({"subjects": [{"kind": "user", "value": "ann"}]}));
    assert_eq!(begun.status, 200, "{}", begun.text());
    let id = begun.json()["id"].clone();
    until("the job ends", || admin.get(&format!("/api/v1/privacy/jobs/{id}"))["state"] == "done");
    let found = traced(&admin, "gone");
    assert_eq!(found["records"], json!([]), "{found}");
    assert!(found["log_since"].is_string(), "when the first record came is known still: {found}");
    until_fate(&admin, ("stays", "web-to-warehouse"), "delivered");
    server.stop();
}

/// Runs `tidegate trace` against a server.
fn trace_command(server: &Server, token: &str, words: &[&str]) -> std::process::Output {
    let address = format!("http://{}", server.admin);
    let mut command = tidegate();
    command.arg("trace").args(["--server", &address, "--token", token]).args(words);
    command.output().unwrap()
}

#[test]
fn an_id_that_is_unknown_is_a_sentence_and_no_id_is_a_pattern() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    let ids = [
        "plain",
        "per%cent_*?",
        "'; DROP TABLE quarantine; --",
        "../../etc/passwd",
        "a\"b\\c",
        "Zoë/\u{1f600}",
        " a b ",
    ];
    let all: Vec<Value> = ids.iter().map(|id| event(id, "ann", json!({}))).collect();
    assert_eq!(server.batch(&all).status, 200);
    drained(&workspace);
    for id in ids {
        let found = traced(&admin, id);
        let records = found["records"].as_array().unwrap();
        assert_eq!(records.len(), 1, "{id}: {found}");
        assert_eq!(records[0]["message_id"], id);
        let sync = &records[0]["syncs"][0];
        assert_eq!((&sync["fate"], sync["found"].as_array().unwrap().len()), (&json!("delivered"), 2), "{id}: {sync}");
    }
    for id in ["plai", "plain%", "%", "*", "_____", "' OR '1'='1", "PLAIN"] {
        assert_eq!(traced(&admin, id)["records"], json!([]), "{id}");
        let output = trace_command(&server, &token, &[id]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("no record of the log") && said.contains("has records since"), "{said}");
    }
    let output = trace_command(&server, &token, &["plain"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("delivered") && !said.contains('\x1b'), "{said}");
    let output = trace_command(&server, &token, &["--user", "ann", "--limit", "3", "--json"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["records"].as_array().unwrap().len(), 3, "{found}");
    assert_eq!(found["records"][0]["message_id"], " a b ", "the newest first: {found}");
    let output = trace_command(&server, &token, &["--user", "nobody"]);
    assert_eq!(output.status.code(), Some(1));
    for query in ["", "?user=", "?message_id=", "?message_id=x&limit=0", "?message_id=x&since=yesterday", "?other=1"] {
        let reply = admin.ask("GET", &format!("/api/v1/trace{query}"), b"");
        assert!(reply.status == 400 || query == "?user=", "{query}: {}", reply.text());
    }
    server.stop();
}

/// Files of indexes in the log.
fn indexes(workspace: &Workspace) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(workspace.data().join("log")).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "keys"));
    paths.sort();
    paths
}

#[test]
fn an_index_is_there_again_after_a_server_was_killed_and_files_were_damaged() {
    let workspace = Workspace::new();
    workspace.append("tidegate.yaml", "\nlog:\n  segment_bytes: 1 MiB\n");
    let token = workspace.admin_token();
    let server = workspace.serve();
    let large = "x".repeat(2_000);
    for first in (0..2_000).step_by(100) {
        let of = |n| event(&format!("k{n}"), "ann", json!({ "large": large }));
        let some: Vec<Value> = (first..first + 100).map(of).collect();
        assert_eq!(server.batch(&some).status, 200);
    }
    until("segments have indexes", || indexes(&workspace).len() >= 2);
    server.kill();
    let before = indexes(&workspace);
    std::fs::remove_file(&before[0]).unwrap();
    let mut damaged = std::fs::read(&before[1]).unwrap();
    let middle = damaged.len() / 2;
    damaged.truncate(middle);
    std::fs::write(&before[1], damaged).unwrap();
    std::fs::write(workspace.data().join("log/keys.tmp"), b"unfinished").unwrap();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    for id in ["k0", "k1", "k700", "k1999"] {
        let found = traced(&admin, id);
        assert_eq!(found["records"].as_array().unwrap().len(), 1, "{id}: {found}");
    }
    until("the indexes are there again", || before.iter().all(|path| indexes(&workspace).contains(path)));
    server.stop();
}
