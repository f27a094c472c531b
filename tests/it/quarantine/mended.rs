//! What a contract has blocked goes on once the contract is mended.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{drained, ended, left, mend, quarantine, retried, shop, strict};
use crate::support::admin::Admin;
use crate::support::waiting::{PATIENCE, until, within};
use crate::support::{Warehouse, Workspace, run};

fn received(admin: &Admin) -> BTreeSet<String> {
    let (mut found, mut from) = (BTreeSet::new(), 0);
    loop {
        let page = admin.get(&format!("/api/v1/quarantine?code=schema-violation&limit=70&from={from}"));
        for entry in page["entries"].as_array().unwrap() {
            let id = entry["event"]["messageId"].as_str().unwrap();
            found.insert(format!("{id}|{}", entry["received_at"].as_str().unwrap()));
        }
        match page["next"].as_u64() {
            Some(next) => from = next,
            None => return found,
        }
    }
}

#[test]
fn three_hundred_blocked_events_are_in_the_table_once_with_their_ids_and_times() {
    let workspace = shop();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    quarantine(&workspace, &server, 0..300);
    let counts = admin.get("/api/v1/quarantine/counts?source=web");
    assert_eq!(counts["total"], 300, "{counts}");
    assert_eq!(
        counts["groups"],
        json!([{"scope": "web", "stage": "contract", "code": "schema-violation", "event_name": "Strict", "entries": 300}])
    );
    let before = received(&admin);
    assert_eq!(before.len(), 300);
    // Nothing is mended yet: they fail again, and are the same entries.
    let first = admin.get("/api/v1/quarantine?limit=1")["entries"][0].clone();
    let job = retried(&admin, &json!({"entries": {"code": "schema-violation"}, "rate": 100_000}));
    let job = ended(&admin, &job);
    assert_eq!((&job["state"], &job["sent"], &job["matched"]), (&json!("done"), &json!(300), &json!(300)), "{job}");
    let again = within(PATIENCE, "they have failed again", || {
        let entries = admin.get("/api/v1/quarantine?limit=1000")["entries"].as_array().unwrap().clone();
        let done = entries.len() == 300 && entries.iter().all(|entry| entry["attempts"] == 1);
        if done { Ok(entries) } else { Err(format!("{} entries", entries.len())) }
    });
    assert_eq!((&again[0]["id"], &again[0]["event"]), (&first["id"], &first["event"]));
    assert_eq!(received(&admin), before);
    mend(&workspace, &admin);
    ended(&admin, &retried(&admin, &json!({"entries": {"source": "web"}, "rate": 100_000})));
    left(&workspace, 0);
    let status = workspace.status();
    assert_eq!(status["sources"]["web"]["accepted"], 300, "{status}");
    assert_eq!(status["sources"]["web"]["retried"], 600, "{status}");
    server.stop();
    let rows = workspace.warehouse().rows("SELECT id || '|' || received_at FROM strict ORDER BY rowid");
    assert_eq!(rows.len(), 300);
    assert_eq!(rows.into_iter().collect::<BTreeSet<_>>(), before);
    let times = workspace.warehouse().rows("SELECT DISTINCT timestamp FROM strict");
    assert_eq!(times, ["2024-01-02T03:04:05.000000Z"]);
    assert_eq!(crate::reliability::check_deep(&workspace).0, Some(0));
}

#[test]
fn an_event_that_is_sent_again_while_it_is_in_quarantine_is_told_as_such() {
    let workspace = shop();
    let token = workspace.admin_token();
    let server = workspace.serve();
    quarantine(&workspace, &server, 0..3);
    mend(&workspace, &Admin::new(&server, &token));
    assert_eq!(server.batch(&[strict("s0"), strict("s1"), strict("new")]).status, 200);
    let status = drained(&workspace);
    assert_eq!(status["sources"]["web"]["duplicates"], 2, "{status}");
    assert_eq!(status["sources"]["web"]["duplicates_of_quarantined"], 2, "{status}");
    assert_eq!(status["quarantine"]["events"], 3, "{status}");
    let said = run(&["status", workspace.path().to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&said.stdout).contains("quarantine retry"));
    server.stop();
}

#[test]
fn live_events_go_on_while_old_ones_are_retried() {
    let workspace = shop();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    quarantine(&workspace, &server, 0..1_000);
    mend(&workspace, &admin);
    let job = retried(&admin, &json!({"entries": {"all": true}, "rate": 2_000}));
    for n in 0..50 {
        let live: Vec<Value> = (0..20).map(|e| strict(&format!("live-{n}-{e}"))).collect();
        assert_eq!(server.batch(&live).status, 200);
    }
    ended(&admin, &job);
    left(&workspace, 0);
    server.stop();
    let warehouse = workspace.warehouse();
    assert_eq!(warehouse.count("strict"), 2_000);
    assert_eq!(warehouse.rows("SELECT count(DISTINCT id) FROM strict"), ["2000"]);
}

#[test]
fn a_try_says_what_would_become_of_them_and_changes_nothing() {
    let workspace = shop();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    quarantine(&workspace, &server, 0..5);
    let tried = |admin: &Admin| {
        let reply = admin.post("/api/v1/quarantine/try", &json!({"entries": {"source": "web"}}));
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    };
    let answer = tried(&admin);
    assert_eq!(answer["summary"], json!({"quarantined": 5}), "{answer}");
    assert_eq!(answer["entries"][0]["code"], "schema-violation", "{answer}");
    mend(&workspace, &admin);
    let answer = tried(&admin);
    assert_eq!(answer["summary"], json!({"accepted": 5}), "{answer}");
    assert_eq!(answer["entries"][0]["delivered"][0]["event"], "Strict", "{answer}");
    assert_eq!(workspace.status()["quarantine"]["events"], 5);
    server.stop();
    assert!(!workspace.warehouse().has("strict"));
}

#[test]
fn an_edited_event_takes_the_place_of_the_one_that_was_wrong() {
    let workspace = shop();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    quarantine(&workspace, &server, 0..2);
    assert_eq!(
        server.post("/v1/track", br#"{"event":"Strict","messageId":"broken","properties":{"n":NaN}}"#).status,
        200
    );
    drained(&workspace);
    let entries = admin.get("/api/v1/quarantine")["entries"].as_array().unwrap().clone();
    assert_eq!(entries.len(), 3);
    for (entry, event) in [
        (&entries[0], json!({"type": "track", "event": "Strict", "properties": {"n": 1}})),
        (&entries[2], json!({"type": "track", "event": "Strict", "messageId": "broken", "properties": {"n": 2}})),
    ] {
        let reply = admin.post(&format!("/api/v1/quarantine/entries/{}/edit", entry["id"]), &json!({"event": event}));
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(ended(&admin, &reply.json())["sent"], 1);
    }
    left(&workspace, 1);
    // What holds no event is not retried.
    assert_eq!(server.post("/v1/track", br#"{"event":"Strict","n":NaN}"#).status, 200);
    drained(&workspace);
    let job = ended(&admin, &retried(&admin, &json!({"entries": {"code": "malformed-json"}})));
    assert_eq!((&job["sent"], &job["skipped"]), (&json!(0), &json!({"no-event": 1})), "{job}");
    let audit = admin.get("/api/v1/audit?action=quarantine_edited&workspace=default");
    let detail = &audit["entries"][0]["detail"];
    assert!(detail["before"] != detail["after"] && detail["after"].as_str().unwrap().len() == 16, "{audit}");
    assert!(!audit.to_string().contains("hunter2"), "{audit}");
    server.stop();
    assert_eq!(workspace.warehouse().rows("SELECT id, n FROM strict ORDER BY n"), ["s0|1", "broken|2"]);
}

#[test]
fn what_is_exported_can_be_sent_elsewhere_and_what_is_purged_is_gone() {
    let workspace = shop();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    quarantine(&workspace, &server, 0..4);
    let exported = admin.get("/api/v1/quarantine/export?text=hunter2-s2");
    let events = exported["events"].as_array().unwrap();
    assert_eq!(events.len(), 1, "{exported}");
    assert_eq!((&events[0]["messageId"], &events[0]["type"]), (&json!("s2"), &json!("track")));
    assert!(events[0]["timestamp"].as_str().unwrap().starts_with("2024-01-02T03:04:05"), "{exported}");
    let purge = |order: Value| admin.post("/api/v1/quarantine/purge", &order);
    assert_eq!(purge(json!({"entries": {}})).code(), "422 which-entries");
    let dry = purge(json!({"entries": {"all": true}, "dry_run": true})).json();
    assert_eq!((&dry["matched"], &dry["purged"]), (&json!(4), &json!(0)), "{dry}");
    let done = purge(json!({"entries": {"text": "hunter2-s2"}})).json();
    assert_eq!((&done["matched"], &done["purged"]), (&json!(1), &json!(1)), "{done}");
    left(&workspace, 3);
    assert_eq!(workspace.status()["quarantine"]["purged"], 1);
    ended(&admin, &retried(&admin, &json!({"entries": {"text": "hunter2-s1"}})));
    // Of what was looked for the audit log says that it was, and nothing of it.
    let audit = admin.get("/api/v1/audit?workspace=default");
    assert!(!audit.to_string().contains("hunter2"), "{audit}");
    for action in ["quarantine_purged", "quarantine_retried"] {
        let noted = audit["entries"].as_array().unwrap().iter().find(|entry| entry["action"] == action).unwrap();
        assert_eq!(noted["detail"]["entries"], json!({"text": {"bytes": 10}}), "{noted}");
    }
    server.stop();
    // Elsewhere nothing is wrong with it.
    let other = Workspace::new();
    let server = other.serve();
    assert_eq!(server.batch(events).status, 200);
    drained(&other);
    server.stop();
    assert_eq!(other.warehouse().rows("SELECT id, timestamp FROM strict"), ["s2|2024-01-02T03:04:05.000000Z"]);
}

#[test]
fn a_retry_works_from_what_was_kept_when_the_log_has_given_the_records_up() {
    let workspace = shop();
    workspace.append("tidegate.yaml", "\nlog: {segment_bytes: 1 MiB, retention_bytes: 1 MiB, retention_age: 1 s}\n");
    let token = workspace.admin_token();
    // What comes between the look for what is due and the trim must not go with it.
    let server = workspace.try_serve(&[], &["trim_in_haste=return", "trim_slowly=sleep(200)"]).unwrap();
    let admin = Admin::new(&server, &token);
    let oldest = || {
        let names = std::fs::read_dir(workspace.data().join("log")).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|path| path.extension().is_some_and(|extension| extension == "log")).min().unwrap()
    };
    let first = oldest();
    quarantine(&workspace, &server, 0..50);
    for n in 0..300 {
        let filler = "x".repeat(20_000);
        let event =
            json!({"type": "track", "event": "Filler", "messageId": format!("f{n}"), "properties": {"t": filler}});
        assert_eq!(server.batch(&[event]).status, 200);
    }
    drained(&workspace);
    until("their records are kept", || {
        let state = Warehouse::open(&workspace.data().join("state.db"));
        state.rows("SELECT count(*) FROM quarantine_originals") == ["50"]
    });
    until("the log has given them up", || oldest() != first);
    mend(&workspace, &admin);
    let shown = admin.get("/api/v1/quarantine?limit=1")["entries"][0]["id"].clone();
    let shown = admin.get(&format!("/api/v1/quarantine/entries/{shown}"));
    assert_eq!(shown["original"]["event"]["messageId"], "s0", "{shown}");
    let job = ended(&admin, &retried(&admin, &json!({"entries": {"all": true}, "rate": 100_000})));
    assert_eq!((&job["sent"], &job["skipped"]), (&json!(50), &json!({})), "{job}");
    left(&workspace, 0);
    server.stop();
    assert_eq!(workspace.warehouse().count("strict"), 50);
}

#[test]
fn a_job_that_is_cancelled_leaves_the_rest_where_it_is() {
    let workspace = shop();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    quarantine(&workspace, &server, 0..200);
    mend(&workspace, &admin);
    let job = retried(&admin, &json!({"entries": {"all": true}, "rate": 1}));
    let cancelled = admin.post(&format!("/api/v1/quarantine/jobs/{}/cancel", job["id"]), &json!({}));
    assert_eq!(cancelled.json()["state"], "cancelled", "{}", cancelled.text());
    let sent = ended(&admin, &job)["sent"].as_u64().unwrap();
    assert!(sent < 100, "{sent}");
    left(&workspace, 200 - sent);
    ended(&admin, &retried(&admin, &json!({"entries": {"all": true}, "rate": 100_000})));
    left(&workspace, 0);
    server.stop();
    assert_eq!(workspace.warehouse().count("strict"), 200);
}
