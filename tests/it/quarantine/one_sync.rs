//! What one sync has stopped goes to that sync alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::{ended, retried};
use crate::delivery::{Route, event, ids, send};
use crate::support::admin::Admin;
use crate::support::far::{Act, Far};
use crate::support::waiting::until;

#[test]
fn what_a_far_side_refused_goes_there_again_and_nowhere_else() {
    let is_mended = Arc::new(AtomicBool::new(false));
    let mended = Arc::clone(&is_mended);
    let far = Far::new(move |received| {
        let is_bad = received.text().contains("\"bad\":true") && !mended.load(Ordering::SeqCst);
        Act::status(if is_bad { 422 } else { 200 })
    });
    let route = Route::with(&far, |manifest| manifest["batch"] = json!({"events_max": 50, "age_max": "50 ms"}), "");
    route.setting("per_request", "50");
    let token = route.workspace.admin_token();
    let server = route.workspace.serve();
    let admin = Admin::new(&server, &token);
    let events: Vec<_> = (0..30).map(|n| event(&format!("m{n}"), "u", json!({"bad": n % 10 == 3}))).collect();
    send(&server, &events);
    let sync = route.wait_for_end(30);
    assert_eq!(sync["quarantined"], 3, "{sync}");
    let entries = admin.get("/api/v1/quarantine?sync=web-to-crm");
    assert_eq!(entries["entries"].as_array().unwrap().len(), 3, "{entries}");
    assert_eq!(entries["entries"][0]["for_sync"], "web-to-crm", "{entries}");
    assert_eq!(admin.get("/api/v1/quarantine?source=web")["entries"], json!([]));
    // It still refuses them: they are the same entries again.
    let first = entries["entries"][0]["id"].clone();
    ended(&admin, &retried(&admin, &json!({"entries": {"sync": "web-to-crm"}})));
    until("they have failed again", || {
        let again = admin.get("/api/v1/quarantine?sync=web-to-crm");
        let all = again["entries"].as_array().unwrap().clone();
        all.len() == 3 && all.iter().all(|entry| entry["attempts"] == 1) && all[0]["id"] == first
    });
    is_mended.store(true, Ordering::SeqCst);
    let seen = far.seen().len();
    ended(&admin, &retried(&admin, &json!({"entries": {"sync": "web-to-crm"}})));
    until("they have left the quarantine", || route.workspace.status()["quarantine"]["events"] == 0);
    until("they are there", || ids(&far.seen()[seen..]).len() >= 3);
    let warehouse_lag = || route.workspace.status()["syncs"]["web-to-warehouse"]["lag"].clone();
    until("the warehouse has passed them", || warehouse_lag() == 0);
    let status = route.workspace.status();
    assert_eq!(status["syncs"]["web-to-warehouse"]["duplicates"], 0, "{status}");
    server.stop();
    let mut there = ids(&far.seen()[seen..]);
    there.sort();
    assert_eq!(there, ["m13", "m23", "m3"]);
    let warehouse = route.workspace.warehouse();
    assert_eq!(warehouse.count("bought"), 30, "the warehouse had all of them, and got none again");
    route.workspace.conserves();
}

#[test]
fn an_event_that_two_syncs_have_stopped_is_exported_once_and_both_are_named() {
    let far = Far::new(|received| Act::status(if received.text().contains("\"bad\":true") { 422 } else { 200 }));
    let route = Route::with(&far, |manifest| manifest["batch"] = json!({"events_max": 50, "age_max": "50 ms"}), "");
    let crm = std::fs::read_to_string(route.workspace.path().join("destinations/crm.yaml")).unwrap();
    route.workspace.write("destinations/chat.yaml", &crm);
    route.workspace.write("syncs/web-to-chat.yaml", "source: web\ndestination: chat\n");
    let token = route.workspace.admin_token();
    let server = route.workspace.serve();
    let admin = Admin::new(&server, &token);
    let events: Vec<_> = (0..20).map(|n| event(&format!("m{n}"), "u", json!({"bad": n % 10 == 3}))).collect();
    send(&server, &events);
    until("both syncs have stopped two events", || route.workspace.status()["quarantine"]["events"] == 4);
    let exported_ids = |page: &Value| -> Vec<String> {
        let events = page["events"].as_array().unwrap();
        let mut ids: Vec<String> = events.iter().map(|event| event["messageId"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    let whole = admin.get("/api/v1/quarantine/export");
    assert_eq!(exported_ids(&whole), ["m13", "m3"], "{whole}");
    let both = json!(["web-to-chat", "web-to-crm"]);
    assert_eq!(whole["scopes"], json!([both, both]), "{whole}");
    let one = admin.get("/api/v1/quarantine/export?sync=web-to-chat");
    assert_eq!(
        (exported_ids(&one), &one["scopes"][0]),
        (vec!["m13".to_owned(), "m3".to_owned()], &json!(["web-to-chat"]))
    );
    // Page by page it is the same.
    let (mut paged, mut from) = (Vec::new(), json!(0));
    while !from.is_null() {
        let page = admin.get(&format!("/api/v1/quarantine/export?limit=1&from={from}"));
        paged.extend(exported_ids(&page));
        from = page["next"].clone();
    }
    paged.sort();
    assert_eq!(paged, ["m13", "m3"]);
    server.stop();
}
