//! What was accepted is the sum of what became of it, as the command itself says, with every fate in it.

use serde_json::{Value, json};

use crate::reliability::{SYNC, drained};
use crate::support::Workspace;
use crate::support::admin::Admin;
use crate::support::http::request;
use crate::support::waiting::until;

const RULE: &str = "type: track\nname: Strict\nonSchemaViolation: BLOCK_EVENT\nonUndeclaredFields: ALLOW_EVENT\n\
    schema:\n  type: object\n  properties:\n    properties:\n      type: object\n      properties:\n        n: { type: KIND }\n";

fn rule(kind: &str) -> String {
    RULE.replace("KIND", kind)
}

/// A workspace whose contract stops events and whose second sync takes tracks alone.
fn shop() -> Workspace {
    let workspace = Workspace::new();
    workspace.write("events/domains/shop/domain.yaml", "name: Shop\nonUndeclaredSchema: ALLOW_EVENT\n");
    workspace.write("events/domains/shop/strict.yaml", &rule("integer"));
    workspace.write("destinations/second.yaml", "kind: sqlite\npath: DATA/second.db\n");
    workspace.write("syncs/tracks.yaml", "source: web\ndestination: second\nfilter: {types: [track]}\n");
    workspace
}

fn event(kind: &str, name: &str, id: &str, n: &Value) -> Value {
    json!({"type": kind, "event": name, "name": name, "messageId": id, "userId": "u", "properties": {"n": n}})
}

/// Ten that go on, five pages, two of them again, three that the contract stops, one that is no event.
fn events() -> Vec<Value> {
    let mut events: Vec<Value> = (0..10).map(|n| event("track", "Sent", &format!("t{n}"), &json!(n))).collect();
    events.extend((0..5).map(|n| event("page", "Home", &format!("p{n}"), &json!(n))));
    events.extend((0..2).map(|n| event("track", "Sent", &format!("t{n}"), &json!(n))));
    events.extend((0..3).map(|n| event("track", "Strict", &format!("s{n}"), &json!("text"))));
    events.push(json!({"type": "nothing", "messageId": "bad"}));
    events
}

fn named<'r>(report: &'r Value, list: &str, field: &str, name: &str) -> &'r Value {
    let all = report[list].as_array().unwrap();
    all.iter().find(|one| one[field] == name).unwrap_or_else(|| panic!("no {name} in {report:#}"))
}

fn counts<const N: usize>(of: &Value, fields: [&str; N]) -> [i64; N] {
    fields.map(|field| of["counts"][field].as_i64().unwrap())
}

/// Waits until both syncs have had everything.
fn done(workspace: &Workspace) {
    drained(workspace);
    until("the second sync has had everything", || workspace.status()["syncs"]["tracks"]["lag"] == 0);
}

#[test]
fn every_fate_has_its_number_and_the_sums_are_right() {
    let workspace = shop();
    let token = workspace.admin_token();
    let server = workspace.serve();
    assert_eq!(server.batch(&events()).status, 200);
    done(&workspace);
    let (code, report) = workspace.conservation(&[]);
    assert_eq!((code, &report["holds"]), (0, &json!(true)), "{report:#}");
    let web = named(&report, "sources", "source", "web");
    assert_eq!(counts(web, ["came", "duplicate", "quarantined", "went_on"]), [21, 2, 4, 15], "{web}");
    let all = named(&report, "syncs", "sync", SYNC);
    assert_eq!(counts(all, ["came", "delivered", "filtered"]), [15, 15, 0], "{all}");
    let tracks = named(&report, "syncs", "sync", "tracks");
    assert_eq!(counts(tracks, ["came", "delivered", "filtered"]), [15, 10, 5], "{tracks}");
    // The same of one name, and of hours in which nothing came.
    let (code, report) = workspace.conservation(&["--event", "Sent"]);
    let web = named(&report, "sources", "source", "web");
    assert_eq!((code, counts(web, ["came", "duplicate", "went_on"])), (0, [12, 2, 10]), "{web}");
    let (code, report) = workspace.conservation(&["--until", "2020-01-01T00:00:00Z"]);
    assert_eq!((code, &report["sources"]), (0, &json!([])), "{report:#}");
    // A server says the same, and counts the log once more.
    let admin = Admin::new(&server, &token);
    let report = admin.get("/api/v1/conservation?workspace=default&deep=true&sync=tracks");
    assert_eq!((&report["holds"], &report["recount"]["records"]), (&json!(true), &json!(21)), "{report:#}");
    assert_eq!(report["syncs"].as_array().unwrap().len(), 1, "{report:#}");
    // What is retried is counted where it ends.
    workspace.write("events/domains/shop/strict.yaml", &rule("string"));
    assert_eq!(admin.post("/admin/reload", &json!({})).status, 200);
    let order = json!({"entries": {"code": "schema-violation"}});
    assert_eq!(admin.post("/api/v1/quarantine/retry", &order).status, 200);
    until("they have left the quarantine", || workspace.status()["quarantine"]["events"] == 1);
    done(&workspace);
    workspace.conserves();
    let (_, report) = workspace.conservation(&[]);
    let web = named(&report, "sources", "source", "web");
    assert_eq!(counts(web, ["came", "quarantined", "went_on"]), [21, 1, 18], "{web}");
    server.stop();
    // What is purged is not forgotten.
    let output = crate::support::run(&["quarantine", "purge", workspace.path().to_str().unwrap(), "--yes"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (code, report) = workspace.conservation(&[]);
    let web = named(&report, "sources", "source", "web");
    assert_eq!((code, counts(web, ["quarantined", "expired"])), (0, [0, 1]), "{web}");
}

#[test]
fn a_sync_that_comes_later_is_counted_from_where_it_begins() {
    let workspace = Workspace::new();
    let server = workspace.serve();
    assert_eq!(server.batch(&events()[..10]).status, 200);
    drained(&workspace);
    server.stop();
    workspace.write("destinations/second.yaml", "kind: sqlite\npath: DATA/second.db\n");
    workspace.write("syncs/tracks.yaml", "source: web\ndestination: second\nstart: now\n");
    let server = workspace.serve();
    assert_eq!(server.batch(&events()[10..15]).status, 200);
    done(&workspace);
    server.stop();
    let (code, report) = workspace.conservation(&[]);
    assert_eq!(code, 0, "{report:#}");
    let late = named(&report, "syncs", "sync", "tracks");
    assert_eq!(counts(late, ["came", "delivered"]), [5, 5], "{late}");
    assert_eq!(
        (&late["went_on"], &late["not_for_it"], &late["waiting"]),
        (&json!(15), &json!(10), &json!(0)),
        "{late}"
    );
}

#[test]
fn a_sync_that_nothing_has_come_for_is_in_the_report() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    assert_eq!(server.batch(&events()[..10]).status, 200);
    drained(&workspace);
    server.stop();
    workspace.write("destinations/second.yaml", "kind: sqlite\npath: DATA/second.db\n");
    workspace.write("syncs/tracks.yaml", "source: web\ndestination: second\nstart: now\n");
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    until("both have their lines", || workspace.conservation(&[]).1["syncs"].as_array().unwrap().len() == 2);
    let asked = admin.get("/api/v1/conservation?workspace=default");
    let (code, read) = workspace.conservation(&[]);
    assert_eq!((code, &asked["holds"]), (0, &json!(true)), "{read:#}");
    for report in [&asked, &read] {
        let late = named(report, "syncs", "sync", "tracks");
        assert_eq!(counts(late, ["came", "delivered", "pending"]), [0, 0, 0], "{late}");
        let numbers = ["went_on", "not_for_it", "waiting"].map(|field| late[field].as_i64().unwrap());
        assert_eq!((numbers, &late["source"]), ([10, 10, 0], &json!("web")), "{late}");
    }
    server.stop();
    workspace.conserves();
}

#[test]
fn what_a_ledger_has_and_the_state_does_not_is_counted_at_the_next_start() {
    let workspace = shop();
    let mut server = workspace.serve_with(&["sync_before_cursor=return"]);
    assert_eq!(server.batch(&events()).status, 200);
    server.wait();
    let server = workspace.serve();
    done(&workspace);
    server.stop();
    let (code, report) = workspace.conservation(&[]);
    assert_eq!(code, 0, "{report:#}");
    let both = [named(&report, "syncs", "sync", SYNC), named(&report, "syncs", "sync", "tracks")];
    let by_ledger: i64 = both.iter().map(|sync| counts(sync, ["delivered_by_ledger"])[0]).sum();
    assert!(by_ledger > 0, "{report:#}");
    for sync in both {
        let [came, delivered, by_ledger, filtered] =
            counts(sync, ["came", "delivered", "delivered_by_ledger", "filtered"]);
        assert_eq!((came, delivered + by_ledger + filtered), (15, 15), "{sync}");
    }
}

#[test]
fn a_count_that_is_wrong_is_a_breach_that_everybody_sees() {
    let workspace = shop();
    let server = workspace.serve();
    assert_eq!(server.batch(&events()).status, 200);
    done(&workspace);
    server.stop();
    workspace.conserves();
    let state = rusqlite::Connection::open(workspace.data().join("state.db")).unwrap();
    let sql =
        "UPDATE fate_hours SET delivered = delivered - 3 WHERE is_sync = 1 AND scope = 'tracks' AND name = 'Sent'";
    assert_eq!(state.execute(sql, []).unwrap(), 1);
    drop(state);
    let (code, report) = workspace.conservation(&[]);
    assert_eq!(code, 1, "{report:#}");
    let tracks = named(&report, "syncs", "sync", "tracks");
    assert_eq!((&tracks["wrong"]["expected"], &tracks["wrong"]["found"]), (&json!(10), &json!(7)), "{tracks}");
    let output = crate::support::run(&["audit", "conservation", workspace.path().to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("BREACH: sync tracks: 3 events of 10 are not accounted for"), "{said}");
    // A server finds it by itself.
    let server = workspace.serve();
    let health = || request(&server.address, "GET", "/health/conservation", &[], b"");
    until("health fails", || health().status == 503);
    assert!(health().text().contains("tidegate audit conservation"), "{}", health().text());
    assert_eq!(request(&server.address, "GET", "/health", &[], b"").status, 200, "it accepts as before");
    assert!(workspace.status()["breaches"].as_u64().unwrap() > 0);
    server.stop();
    // Mended, and seen to.
    let state = rusqlite::Connection::open(workspace.data().join("state.db")).unwrap();
    state.execute(&sql.replace("- 3", "+ 3"), []).unwrap();
    drop(state);
    assert_eq!(workspace.conservation(&[]).0, 1, "the breach is kept");
    assert_eq!(workspace.conservation(&["--forget-breaches"]).0, 0);
    let server = workspace.serve();
    let health = || request(&server.address, "GET", "/health/conservation", &[], b"");
    assert_eq!(health().status, 200);
    server.stop();
}

#[test]
fn what_cannot_be_told_is_neither() {
    let workspace = Workspace::new();
    let output = crate::support::run(&["audit", "conservation", workspace.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2), "there is no state yet");
}
