//! A source keeps its events for a time of its own: what is older is gone from the log, the quarantine and what waits, and is accounted for.

use std::path::Path;

use serde_json::{Value, json};

use crate::delivery::Route;
use crate::reliability::{SYNC, check_deep, drained};
use crate::support::admin::Admin;
use crate::support::far::{Act, Far};
use crate::support::waiting::until;
use crate::support::{Server, Workspace};

/// Stands in every event.
const MARKER: &str = "marker-9c41d2";
const EVENTS: u32 = 300;

fn track(n: u32) -> Value {
    json!({"type": "track", "event": "Bought", "messageId": format!("m{n}"), "userId": "ann",
        "properties": {"n": n, "note": MARKER}})
}

/// Whether the marker stands in any file below a folder.
fn has_marker(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return has_marker(&path);
        }
        // It may be gone by now.
        let bytes = std::fs::read(&path).unwrap_or_default();
        bytes.windows(MARKER.len()).any(|part| part == MARKER.as_bytes())
    })
}

fn is_in_log(workspace: &Workspace) -> bool {
    has_marker(&workspace.data().join("log"))
}

/// Sends events, and one that ends in quarantine.
fn fill(server: &Server) {
    let events: Vec<Value> = (0..EVENTS).map(track).collect();
    assert_eq!(server.batch(&events).status, 200);
    assert_eq!(server.batch(&[json!({"messageId": "q", "userId": "ann", "note": MARKER})]).status, 200);
}

fn reload(admin: &Admin) {
    let reply = admin.post("/admin/reload", &json!({}));
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[test]
fn what_is_older_than_its_source_keeps_events_is_gone_and_accounted_for() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    workspace.write("destinations/late.yaml", "kind: sqlite\npath: data/late.db\n");
    let late = "source: web\ndestination: late\nschema: late\n";
    workspace.write("syncs/late.yaml", &format!("{late}paused: true\n"));
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    fill(&server);
    drained(&workspace);
    assert!(is_in_log(&workspace));
    assert_eq!(workspace.status()["retention"], json!({}));
    // Said while the server runs, and when everything is delivered to whoever is not paused.
    workspace.append("sources/web.yaml", "\nretention: 1 s\n");
    reload(&admin);
    until("the log has nothing of them any more", || !is_in_log(&workspace));
    until("the quarantine is empty", || workspace.status()["quarantine"]["events"] == 0);
    until("the status says so", || workspace.status()["retention"]["web"].is_string());
    // The sync that has not read any of it begins now.
    workspace.write("syncs/late.yaml", late);
    reload(&admin);
    until("the late sync has come to the end", || workspace.status()["syncs"]["late"]["lag"] == 0);
    let report = admin.get("/api/v1/conservation?workspace=default&deep=true");
    assert_eq!(report["recount"]["differences"], json!([]), "{report:#}");
    server.stop();
    assert_eq!(workspace.warehouse().count("bought"), u64::from(EVENTS), "what was delivered stays");
    workspace.conserves();
    let (_, report) = workspace.conservation(&["--sync", "late"]);
    let counts = &report["syncs"][0]["counts"];
    assert_eq!((&counts["expired"], &counts["delivered"]), (&json!(EVENTS), &json!(0)), "{report:#}");
    let (_, report) = workspace.conservation(&["--source", "web"]);
    assert_eq!(report["sources"][0]["counts"]["expired"], 1, "the one in quarantine: {report:#}");
    assert_eq!(check_deep(&workspace).0, Some(0));
}

#[test]
fn what_waits_for_another_try_expires() {
    let far = Far::new(|_| Act::status(503));
    let route = Route::new(&far);
    let token = route.workspace.admin_token();
    let server = route.workspace.serve();
    let admin = Admin::new(&server, &token);
    assert_eq!(server.batch(&[track(1), track(2)]).status, 200);
    route.wait("they are pending", |sync| sync["pending"] == 2);
    route.workspace.append("sources/web.yaml", "\nretention: 1 s\n");
    reload(&admin);
    let sync = route.wait("they have expired", |sync| sync["pending"] == 0);
    assert_eq!((&sync["delivered"], &sync["quarantined"]), (&json!(0), &json!(0)), "{sync}");
    server.stop();
    route.workspace.conserves();
    let (_, report) = route.workspace.conservation(&["--sync", "web-to-crm"]);
    assert_eq!(report["syncs"][0]["counts"]["expired"], 2, "{report:#}");
}

#[test]
fn a_source_of_the_catalog_says_how_long_it_keeps_events() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    let spec = json!({"name": "shop", "spec": {"kind": "http", "retention": "30 d"}});
    let reply = admin.post("/api/v1/objects/source", &spec);
    assert_eq!(reply.status, 201, "{}", reply.text());
    until("a pass was over it", || workspace.status()["retention"]["shop"].is_string());
    server.stop();
}

#[test]
fn tables_with_rows_of_what_has_expired_are_not_swapped_for_new_ones_without_a_word() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    fill(&server);
    drained(&workspace);
    workspace.append("sources/web.yaml", "\nretention: 1 s\n");
    reload(&admin);
    until("the log has nothing of them any more", || !is_in_log(&workspace));
    let begun = admin.post(&format!("/api/v1/syncs/{SYNC}/rebuild"), &json!({"from": "beginning", "swap": true}));
    assert_eq!(begun.status, 200, "{}", begun.text());
    let path = format!("/api/v1/rebuilds/{}", begun.json()["id"]);
    until("it is as far as the sync", || {
        let rebuild = admin.get(&path);
        rebuild["report"]["step"] == "ready" || rebuild["state"] != "running"
    });
    let rebuild = admin.get(&path);
    assert_eq!(rebuild["state"], "running", "{rebuild:#}");
    assert!(rebuild["report"]["waits_for"].is_string(), "{rebuild:#}");
    assert!(rebuild["report"]["notes"].to_string().contains("`retention`"), "{rebuild:#}");
    assert_eq!(workspace.warehouse().count("bought"), u64::from(EVENTS));
    server.stop();
}

/// Lets a fail point stop the process while records are erased, and starts again until they are gone.
fn died_at(failpoint: &str) {
    let workspace = Workspace::new();
    let server = workspace.serve();
    fill(&server);
    drained(&workspace);
    server.stop();
    workspace.append("sources/web.yaml", "\nretention: 1 s\n");
    let mut server = workspace.serve_with(&[failpoint]);
    server.wait();
    drop(server);
    assert_eq!(check_deep(&workspace).0, Some(0), "{failpoint}");
    let server = workspace.serve();
    until("the log has nothing of them any more", || !is_in_log(&workspace));
    until("the quarantine is empty", || workspace.status()["quarantine"]["events"] == 0);
    server.stop();
    assert_eq!(workspace.warehouse().count("bought"), u64::from(EVENTS), "{failpoint}");
    workspace.conserves();
    assert_eq!(check_deep(&workspace).0, Some(0), "{failpoint}");
}

#[test]
fn killed_before_records_are_erased() {
    died_at("retention_begun=return");
}

#[test]
fn killed_when_the_segment_without_them_has_its_name() {
    died_at("log_erase_renamed=return");
}

#[test]
fn killed_before_how_far_they_are_erased_is_kept() {
    died_at("retention_erased=return");
}
