//! A part of the log goes to a sync once more: warehouses have nothing twice by it, tools get what they are to get again, and the sync itself
//! notices nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::conformance::postgres::Postgres;
use crate::conformance::sqlite::Sqlite;
use crate::conformance::{self, Rig, TablesSeen};
use crate::delivery::{Route, ids, send};
use crate::reliability::{SYNC, drained};
use crate::support::admin::Admin;
use crate::support::far::{Act, Far};
use crate::support::http::{basic, request, try_request};
use crate::support::waiting::{PATIENCE, until, within};
use crate::support::{Server, Warehouse, Workspace, run};

const TO_CRM: &str = "web-to-crm";

fn event(n: usize, name: &str, user: &str) -> Value {
    json!({"type": "track", "event": name, "messageId": format!("{name}-{n}"), "userId": user,
        "properties": {"n": n, "total": n as f64 / 4.0, "at": "2026-01-02T03:04:05.000Z"}})
}

fn bought(count: usize) -> Vec<Value> {
    (0..count).map(|n| event(n, "Bought", &format!("u{}", n % 50))).collect()
}

#[track_caller]
fn begun(admin: &Admin, order: &Value) -> Value {
    let reply = admin.post("/api/v1/replays", order);
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

/// Waits until a replay has ended.
fn ended(admin: &Admin, replay: &Value) -> Value {
    within(PATIENCE, "the replay ends", || {
        let replay = admin.get(&format!("/api/v1/replays/{}", replay["id"]));
        if replay["state"] == "running" { Err(replay.to_string()) } else { Ok(replay) }
    })
}

/// Replays, to its end, and everything that was sent has come to an end.
#[track_caller]
fn replayed(admin: &Admin, order: &Value) -> Value {
    let replay = ended(admin, &begun(admin, order));
    assert_eq!(replay["state"], "done", "{replay:#}");
    adds_up(&replay);
    replay
}

fn count(replay: &Value, name: &str) -> u64 {
    replay["report"]["counts"][name].as_u64().unwrap_or_else(|| panic!("no {name} in {replay:#}"))
}

fn adds_up(replay: &Value) {
    let ends = ["delivered", "refused", "skipped", "pending", "abandoned"];
    let sum: u64 = ends.iter().map(|name| count(replay, name)).sum();
    assert_eq!(count(replay, "sent"), sum, "{replay:#}");
}

fn counts(replay: &Value, names: &[&str]) -> Vec<u64> {
    names.iter().map(|name| count(replay, name)).collect()
}

/// The tables without the rows of what came meanwhile.
fn without_live(mut tables: TablesSeen) -> TablesSeen {
    tables.remove("live");
    for table in tables.values_mut() {
        table.rows.retain(|id, _| !id.starts_with("Live"));
    }
    tables
}

fn goes_again_into<R: Rig>(rig: &R) {
    const EVENTS: usize = 20_000;
    let workspace = Workspace::new();
    workspace.write("destinations/warehouse.yaml", &rig.yaml());
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    send(&server, &bought(EVENTS));
    drained(&workspace);
    let before = rig.seen(None);
    assert_eq!(before["bought"].rows.len(), EVENTS);
    let all = EVENTS as u64;
    // A dry run says what it would be, and changes nothing.
    let order = json!({"sync": SYNC, "from": "beginning"});
    let dry = replayed(&admin, &json!({"sync": SYNC, "from": "beginning", "dry_run": true}));
    assert_eq!(counts(&dry, &["came", "had_before", "filtered", "sent"]), [all, all, 0, 0], "{dry:#}");
    let named = &dry["report"]["names"]["Bought"];
    assert!(named["events"] == all && named["bytes"].as_u64() > Some(all * 100), "{named}");
    assert_eq!((&dry["report"]["parts"][0]["from"], &dry["warning"]), (&json!(0), &Value::Null), "{dry:#}");
    assert!(rig.seen(None) == before, "a dry run has changed something");
    // Events come meanwhile.
    let replay = begun(&admin, &order);
    let (address, key) = (server.address.clone(), basic(&server.key));
    let live = std::thread::spawn(move || {
        for n in 0..100 {
            let batch = json!({"batch": (0..10).map(|e| event(n * 10 + e, "Live", "u")).collect::<Vec<Value>>()});
            let reply =
                request(&address, "POST", "/v1/batch", &[("authorization", &key)], batch.to_string().as_bytes());
            assert_eq!(reply.status, 200);
        }
    });
    let first = ended(&admin, &replay);
    live.join().unwrap();
    adds_up(&first);
    assert_eq!((&first["state"], &first["report"]["names"]["Bought"]["events"]), (&json!("done"), &json!(all)));
    assert_eq!(count(&first, "delivered"), count(&first, "came"), "{first:#}");
    assert!(count(&first, "duplicates") >= all, "{first:#}");
    drained(&workspace);
    assert!(without_live(rig.seen(None)) == before, "a replay has changed something");
    // Once more it is the same.
    let second = replayed(&admin, &order);
    assert_eq!(counts(&second, &["delivered", "duplicates"]), [all + 1_000; 2], "{second:#}");
    let after = rig.seen(None);
    assert_eq!(after["live"].rows.len(), 1_000);
    assert!(without_live(after) == before, "a second replay has changed something");
    let status = workspace.status();
    assert_eq!(status["syncs"][SYNC]["delivered"], all + 1_000, "what a replay delivers is not the sync's: {status:#}");
    assert_eq!(status["syncs"].as_object().unwrap().len(), 1, "a replay is no sync: {status:#}");
    server.stop();
    workspace.conserves();
}

#[test]
fn twenty_thousand_events_go_into_a_file_again_and_nothing_changes() {
    conformance::run::<Sqlite>("replay::sqlite", goes_again_into);
}

#[test]
fn twenty_thousand_events_go_into_postgresql_again_and_nothing_changes() {
    conformance::run::<Postgres>("replay::postgres", goes_again_into);
}

/// Lets a fail point stop the process while a replay is at work; it goes on after the next start.
fn died_at(failpoint: &str, by_ledger: bool) {
    const EVENTS: usize = 8_000;
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    send(&server, &bought(EVENTS));
    drained(&workspace);
    server.stop();
    let dump = || workspace.warehouse().rows("SELECT * FROM bought ORDER BY id");
    let before = dump();
    let mut server = workspace.serve_with(&[failpoint]);
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str())];
    let order = json!({"sync": SYNC, "from": "beginning"}).to_string();
    // Whether the answer comes before the end does not matter: the job is in the state then.
    let _ = try_request(&server.admin, "POST", "/api/v1/replays", &headers, order.as_bytes());
    server.wait();
    drop(server);
    let server = workspace.serve();
    let replay = ended(&Admin::new(&server, &token), &json!({"id": 1}));
    adds_up(&replay);
    assert_eq!(replay["state"], "done", "{failpoint}: {replay:#}");
    let all = EVENTS as u64;
    assert_eq!(count(&replay, "came"), all, "{failpoint}: {replay:#}");
    assert_eq!(count(&replay, "delivered") + count(&replay, "by_ledger"), all, "{failpoint}: {replay:#}");
    assert_eq!(count(&replay, "by_ledger") > 0, by_ledger, "{failpoint}: {replay:#}");
    server.stop();
    assert!(dump() == before, "{failpoint}: the table has changed");
    workspace.conserves();
}

#[test]
fn killed_between_the_ledger_and_what_the_job_knows_it_goes_on() {
    died_at("replay_delivered=1*off->return", true);
}

#[test]
fn killed_behind_a_step_it_goes_on() {
    died_at("replay_stepped=1*off->return", false);
}

#[test]
fn one_with_a_rate_goes_step_by_step_and_ends_when_it_is_cancelled() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    send(&server, &bought(2_000));
    drained(&workspace);
    let replay = begun(&admin, &json!({"sync": SYNC, "from": "beginning", "rate": 10}));
    let path = format!("/api/v1/replays/{}", replay["id"]);
    within(PATIENCE, "it has begun", || {
        let replay = admin.get(&path);
        if count(&replay, "delivered") > 0 { Ok(()) } else { Err(replay.to_string()) }
    });
    let cancelled = admin.post(&format!("{path}/cancel"), &json!({}));
    assert_eq!((cancelled.status, &cancelled.json()["state"]), (200, &json!("cancelled")), "{}", cancelled.text());
    let again = admin.post(&format!("{path}/cancel"), &json!({})).json();
    assert_eq!((&again["state"], &again["ended_at"]), (&json!("cancelled"), &cancelled.json()["ended_at"]));
    let part = &again["report"]["parts"][0];
    let (at, to) = (part["at"].as_u64().unwrap(), part["to"].as_u64().unwrap());
    assert!(at < to && at.is_multiple_of(10), "ten records at a time: {again:#}");
    adds_up(&again);
    // The next one has its turn.
    let next = replayed(&admin, &json!({"sync": SYNC, "from": "10", "to": "30"}));
    assert_eq!(counts(&next, &["came", "delivered"]), [20, 20], "{next:#}");
    let listed = admin.get("/api/v1/replays")["replays"].as_array().unwrap().clone();
    assert_eq!(listed.iter().map(|one| one["state"].clone()).collect::<Vec<_>>(), ["done", "cancelled"]);
    server.stop();
    workspace.conserves();
}

#[test]
fn a_tool_gets_again_what_is_meant_and_nothing_else() {
    let is_well = Arc::new(AtomicBool::new(true));
    let well = Arc::clone(&is_well);
    let far = Far::new(move |_| Act::status(if well.load(Ordering::SeqCst) { 200 } else { 503 }));
    let route = Route::new(&far);
    let token = route.workspace.admin_token();
    let server = route.workspace.serve();
    let admin = Admin::new(&server, &token);
    let events: Vec<Value> =
        (0..60).map(|n| event(n, ["Bought", "Sold", "Rented"][n % 3], if n < 30 { "ann" } else { "bob" })).collect();
    send(&server, &events);
    route.wait_for_end(60);
    let before = far.seen().len();
    let since = |seen: usize| {
        let mut found = ids(&far.seen()[seen..]);
        found.sort_unstable();
        found
    };
    let wanted = |name: &str, range: std::ops::Range<usize>| {
        let mut wanted: Vec<String> = range.filter(|n| n % 3 == 1).map(|n| format!("{name}-{n}")).collect();
        wanted.sort_unstable();
        wanted
    };
    let dry = replayed(&admin, &json!({"sync": TO_CRM, "from": "beginning", "events": ["Sold"], "dry_run": true}));
    assert_eq!(counts(&dry, &["came", "sent"]), [20, 0], "{dry:#}");
    assert_eq!(far.seen().len(), before, "a dry run has sent something");
    let sold = replayed(&admin, &json!({"sync": TO_CRM, "from": "beginning", "events": ["Sold"]}));
    assert_eq!(counts(&sold, &["came", "sent", "delivered", "pending"]), [20, 20, 20, 0], "{sold:#}");
    assert!(sold["warning"].as_str().unwrap().contains("messageId"), "{sold:#}");
    assert_eq!(since(before), wanted("Sold", 0..60));
    // Of one person, who is named nowhere.
    let before = far.seen().len();
    let order = json!({"sync": TO_CRM, "from": "beginning", "events": ["Sold"], "user": "ann"});
    let of_ann = replayed(&admin, &order);
    assert!(!of_ann.to_string().contains("ann\"") && of_ann["user"].is_string(), "{of_ann:#}");
    assert_eq!(since(before), wanted("Sold", 0..30));
    // What the tool cannot take now waits, and the sync has nothing of it.
    is_well.store(false, Ordering::SeqCst);
    let replay = begun(&admin, &json!({"sync": TO_CRM, "from": "beginning", "events": ["Rented"]}));
    let path = format!("/api/v1/replays/{}", replay["id"]);
    within(PATIENCE, "they are pending", || {
        let replay = admin.get(&path);
        if count(&replay, "pending") == 20 { Ok(()) } else { Err(replay.to_string()) }
    });
    assert_eq!(route.sync()["pending"], 0, "{}", route.sync());
    is_well.store(true, Ordering::SeqCst);
    let rented = ended(&admin, &replay);
    adds_up(&rented);
    assert_eq!(counts(&rented, &["sent", "delivered", "pending"]), [20, 20, 0], "{rented:#}");
    assert_eq!(route.sync()["delivered"], 60, "{}", route.sync());
    server.stop();
    route.workspace.conserves();
}

#[test]
fn who_is_suppressed_by_now_is_not_sent_again() {
    let far = Far::new(|_| Act::status(200));
    let route = Route::new(&far);
    let token = route.workspace.admin_token();
    let server = route.workspace.serve();
    let admin = Admin::new(&server, &token);
    send(&server, &[event(1, "Bought", "ann"), event(2, "Bought", "bob")]);
    route.wait_for_end(2);
    let order = json!({"subjects": [{"kind": "user", "value": "ann"}]});
    assert_eq!(admin.post("/api/v1/privacy/suppress", &order).status, 200);
    let before = far.seen().len();
    let replay = replayed(&admin, &json!({"sync": TO_CRM, "from": "beginning"}));
    assert_eq!(counts(&replay, &["came", "suppressed", "delivered"]), [2, 1, 1], "{replay:#}");
    assert_eq!(ids(&far.seen()[before..]), ["Bought-2"]);
    server.stop();
    route.workspace.conserves();
}

#[test]
fn what_is_pending_of_one_that_is_cancelled_is_given_up_and_counted() {
    let is_well = Arc::new(AtomicBool::new(true));
    let well = Arc::clone(&is_well);
    let far = Far::new(move |_| Act::status(if well.load(Ordering::SeqCst) { 200 } else { 503 }));
    let route = Route::new(&far);
    let token = route.workspace.admin_token();
    let server = route.workspace.serve();
    let admin = Admin::new(&server, &token);
    send(&server, &bought(10));
    route.wait_for_end(10);
    is_well.store(false, Ordering::SeqCst);
    let replay = begun(&admin, &json!({"sync": TO_CRM, "from": "beginning"}));
    let path = format!("/api/v1/replays/{}", replay["id"]);
    within(PATIENCE, "they are pending", || {
        let replay = admin.get(&path);
        if count(&replay, "pending") == 10 { Ok(()) } else { Err(replay.to_string()) }
    });
    let cancelled = admin.post(&format!("{path}/cancel"), &json!({})).json();
    adds_up(&cancelled);
    assert_eq!(counts(&cancelled, &["pending", "abandoned"]), [0, 10], "{cancelled:#}");
    server.stop();
    route.workspace.conserves();
}

#[test]
fn what_the_log_has_given_up_is_said() {
    let workspace = Workspace::new();
    workspace.append("tidegate.yaml", "\nlog: {segment_bytes: 1 MiB, retention_bytes: 1 MiB, retention_age: 1 s}\n");
    let token = workspace.admin_token();
    let server = workspace.try_serve(&[], &["trim_in_haste=return"]).unwrap();
    let admin = Admin::new(&server, &token);
    let oldest = || {
        let names = std::fs::read_dir(workspace.data().join("log")).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|path| path.extension().is_some_and(|extension| extension == "log")).min().unwrap()
    };
    let first = oldest();
    for n in 0..300 {
        let filler = "x".repeat(20_000);
        let filled =
            json!({"type": "track", "event": "Filler", "messageId": format!("f{n}"), "properties": {"t": filler}});
        assert_eq!(server.batch(&[filled]).status, 200);
    }
    drained(&workspace);
    until("the log has given something up", || oldest() != first);
    let dry = replayed(&admin, &json!({"sync": SYNC, "from": "0", "dry_run": true}));
    let (part, notes) = (&dry["report"]["parts"][0], dry["report"]["notes"].to_string());
    let (missing, from) = (part["missing"].as_u64().unwrap(), part["from"].as_u64().unwrap());
    assert!(missing > 0 && missing == from, "{dry:#}");
    assert!(count(&dry, "came") > 0 && count(&dry, "came") + missing <= 300, "{dry:#}");
    assert!(notes.contains("does not have the records from 0 on any more"), "{notes}");
    let by_time = replayed(&admin, &json!({"sync": SYNC, "from": "2020-01-01T00:00:00Z", "dry_run": true}));
    assert!(by_time["report"]["notes"].to_string().contains("what came before is not there any more"), "{by_time:#}");
    server.stop();
}

#[test]
fn a_time_is_where_events_were_received_and_a_new_sync_may_begin_there() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    for name in ["Early", "Middle", "Last"] {
        let events: Vec<Value> = (0..5).map(|n| event(n, name, "u")).collect();
        assert_eq!(server.batch(&events).status, 200);
    }
    drained(&workspace);
    let first = |table: &str| workspace.warehouse().rows(&format!("SELECT min(received_at) FROM {table}"))[0].clone();
    let (from, to) = (first("middle"), first("last"));
    let replay = replayed(&admin, &json!({"sync": SYNC, "from": from, "to": to}));
    assert_eq!(counts(&replay, &["came", "delivered", "duplicates"]), [5, 5, 5], "{replay:#}");
    assert!(replay["report"]["names"]["Middle"]["events"] == 5, "{replay:#}");
    workspace.write("destinations/late.yaml", "kind: sqlite\npath: data/late.db\n");
    workspace.write("syncs/late.yaml", &format!("source: web\ndestination: late\nstart: {from}\n"));
    assert_eq!(admin.post("/admin/reload", &json!({})).status, 200);
    until("the late sync has come to the end", || {
        let status = workspace.status();
        status["syncs"]["late"]["lag"] == 0 && status["syncs"]["late"]["delivered"] == 10
    });
    server.stop();
    let late = Warehouse::open(&workspace.data().join("late.db"));
    assert!(!late.has("early") && late.count("middle") == 5 && late.count("last") == 5);
    workspace.conserves();
}

#[test]
fn a_warehouse_that_would_have_events_twice_is_only_given_them_when_that_is_said() {
    let workspace = Workspace::new();
    workspace.write("destinations/lake.yaml", "kind: lake\n");
    workspace.write("syncs/web-to-lake.yaml", "source: web\ndestination: lake\nbatch: {age_max: 100 ms}\n");
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    send(&server, &bought(3));
    until("the lake has them", || workspace.status()["syncs"]["web-to-lake"]["delivered"] == 3);
    let order = json!({"sync": "web-to-lake", "from": "beginning"});
    let refused = admin.post("/api/v1/replays", &order);
    assert_eq!(refused.code(), "422 would-double", "{}", refused.text());
    let dry = replayed(&admin, &json!({"sync": "web-to-lake", "from": "beginning", "dry_run": true}));
    assert!(dry["warning"].as_str().unwrap().contains("a second time"), "{dry:#}");
    let twice = replayed(&admin, &json!({"sync": "web-to-lake", "from": "beginning", "allow_doubles": true}));
    assert_eq!(counts(&twice, &["delivered", "duplicates"]), [3, 0], "{twice:#}");
    server.stop();
}

#[test]
fn wrong_orders_name_the_field() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    for (order, code, field) in [
        (json!({"from": "yesterday"}), "range", "from"),
        (json!({"from": "beginning", "to": "beginning"}), "range", "to"),
        (json!({"from": "7/1"}), "range", "from"),
        (json!({"from": "9", "to": "9"}), "empty-range", "to"),
        (json!({"from": "0/1", "to": "1/9"}), "two-partitions", "to"),
        (json!({"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}), "empty-range", "to"),
        (json!({"from": "beginning", "rate": 0}), "rate", "rate"),
        (json!({"from": "beginning", "rules": "later"}), "rules", "rules"),
        (json!({"from": "beginning", "events": [""]}), "events", "events"),
        (json!({"from": "beginning", "user": " "}), "user", "user"),
    ] {
        let mut order = order;
        order["sync"] = json!(SYNC);
        let reply = admin.post("/api/v1/replays", &order);
        assert_eq!((reply.status, &reply.json()["code"]), (422, &json!(code)), "{order}: {}", reply.text());
        assert_eq!(reply.json()["field"], field, "{order}: {}", reply.text());
    }
    assert_eq!(admin.post("/api/v1/replays", &json!({"sync": "none", "from": "0"})).status, 404);
    assert_eq!(admin.post("/api/v1/replays/7/cancel", &json!({})).status, 404);
    assert_eq!(admin.get("/api/v1/replays")["replays"], json!([]));
    server.stop();
    for (words, code) in [
        (&["replay"][..], 2),
        (&["replay", SYNC][..], 2),
        (&["replay", SYNC, "--from", "0", "--rate", "fast"][..], 2),
        (&["replay", SYNC, "--from", "0", "--rules", "later"][..], 2),
        (&["replay", SYNC, "--from", "yesterday"][..], 1),
    ] {
        assert_eq!(run(words).status.code(), Some(code), "{words:?}");
    }
}

/// What a command prints for programs.
fn said(server: &Server, token: &str, words: &[&str]) -> Value {
    let output = crate::support::tidegate()
        .args(words)
        .args(["--server", &format!("http://{}", server.admin), "--json"])
        .env("TIDEGATE_ADMIN_TOKEN", token)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_command_waits_for_the_end_and_others_show_it() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    send(&server, &bought(30));
    drained(&workspace);
    let words = ["replay", SYNC, "--from", "10", "--to", "20", "--rate", "1000/s", "--rules", "now"];
    let replay = said(&server, &token, &words);
    assert_eq!((&replay["state"], &replay["rules"]), (&json!("done"), &json!("now")), "{replay:#}");
    assert_eq!(counts(&replay, &["came", "delivered"]), [10, 10], "{replay:#}");
    let shown = said(&server, &token, &["replays", "show", "1"]);
    assert_eq!(shown, replay);
    assert_eq!(said(&server, &token, &["replays", "list"])["replays"], json!([replay]));
    server.stop();
}
