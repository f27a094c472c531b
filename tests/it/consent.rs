//! What people consent to changes while events of theirs wait: what has not been delivered is judged by what is known now.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::delivery::{Route, event, ids};
use crate::support::admin::Admin;
use crate::support::far::{Act, Far};

/// A sync that needs a consent.
const SYNC: &str = "source: web\ndestination: crm\nstart: beginning\nconsent: {categories: [Advertising]}\n";

fn consented(id: &str, user: &str, is_granted: bool) -> Value {
    let mut event = event(id, user, json!({}));
    event["context"] = json!({"consent": {"categoryPreferences": {"Advertising": is_granted}}});
    event
}

fn sorted(far: &Far) -> Vec<String> {
    let mut got = ids(&far.seen());
    got.sort();
    got.dedup();
    got
}

fn say(admin: &Admin, user: &str, is_granted: &Value) -> Value {
    let order = json!({"subjects": [{"kind": "user", "value": user}], "categories": {"Advertising": is_granted}});
    let reply = admin.post("/api/v1/privacy/consent", &order);
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

#[test]
fn whoever_withdraws_consent_is_not_told_of_by_a_sync_that_was_paused() {
    let far = Far::new(|_| Act::status(200));
    let route = Route::new(&far);
    let token = route.workspace.admin_token();
    route.workspace.write("syncs/web-to-crm.yaml", &format!("{SYNC}paused: true\n"));
    let server = route.workspace.serve();
    let admin = Admin::new(&server, &token);
    let events = [consented("a", "ann", true), consented("b", "bob", true), consented("c", "cid", true)];
    assert_eq!(server.batch(&events).status, 200);
    assert_eq!(server.batch(&[consented("a-updated", "ann", false)]).status, 200);
    assert_eq!(say(&admin, "cid", &json!(false))["changed"], 1);
    crate::reliability::drained(&route.workspace);
    route.workspace.write("syncs/web-to-crm.yaml", SYNC);
    assert_eq!(admin.post("/admin/reload", &json!({})).status, 200);
    let sync = route.wait_for_end(4);
    assert_eq!((&sync["delivered"], &sync["filtered"]), (&json!(1), &json!(3)), "{sync}");
    assert_eq!(sorted(&far), ["b"]);
    server.stop();
    route.workspace.conserves();
}

#[test]
fn what_waits_for_another_try_is_withheld_by_the_request_that_denies_it() {
    let is_well = Arc::new(AtomicBool::new(false));
    let well = Arc::clone(&is_well);
    let far = Far::new(move |_| Act::status(if well.load(Ordering::SeqCst) { 200 } else { 503 }));
    let route = Route::new(&far);
    let token = route.workspace.admin_token();
    route.workspace.write("syncs/web-to-crm.yaml", SYNC);
    let server = route.workspace.serve();
    let admin = Admin::new(&server, &token);
    assert_eq!(server.batch(&[consented("a", "ann", true), consented("b", "bob", true)]).status, 200);
    route.wait("they are pending", |sync| sync["pending"] == 2);
    let said = say(&admin, "ann", &json!(false));
    assert_eq!((&said["changed"], &said["withheld"]), (&json!(1), &json!(1)), "{said}");
    assert_eq!((&said["known"][0]["granted"], &said["known"][0]["by"]), (&json!(false), &json!("operator")), "{said}");
    assert!(!said.to_string().contains("ann"), "{said}");
    is_well.store(true, Ordering::SeqCst);
    route.wait("the other one is delivered", |sync| sync["pending"] == 0 && sync["delivered"] == 1);
    // A client that has not heard of it says what it said before.
    assert_eq!(server.batch(&[consented("a2", "ann", true)]).status, 200);
    route.wait_for_end(3);
    assert_eq!(say(&admin, "ann", &json!(true))["changed"], 1);
    assert_eq!(server.batch(&[consented("a3", "ann", true)]).status, 200);
    route.wait_for_end(4);
    assert_eq!(server.batch(&[consented("a4", "ann", false)]).status, 200);
    let sync = route.wait_for_end(5);
    assert_eq!((&sync["delivered"], &sync["filtered"]), (&json!(2), &json!(3)), "{sync}");
    server.stop();
    route.workspace.conserves();
}

#[test]
fn what_waits_for_another_try_is_withheld_when_an_event_of_theirs_denies_it() {
    let far = Far::new(|_| Act::status(503));
    let route = Route::new(&far);
    route.workspace.write("syncs/web-to-crm.yaml", SYNC);
    let server = route.workspace.serve_with(&["keeper_in_haste=return"]);
    assert_eq!(server.batch(&[consented("a", "ann", true), consented("b", "bob", true)]).status, 200);
    route.wait("they are pending", |sync| sync["pending"] == 2);
    assert_eq!(server.batch(&[consented("a-updated", "ann", false)]).status, 200);
    let sync = route.wait("one is withheld", |sync| sync["pending"] == 1 && sync["filtered"] == 2);
    assert_eq!(sync["delivered"], 0, "{sync}");
    server.stop();
    route.workspace.conserves();
}

#[test]
fn who_is_no_person_and_what_is_no_category_is_refused_with_the_field() {
    let far = Far::new(|_| Act::status(200));
    let route = Route::new(&far);
    let token = route.workspace.admin_token();
    let server = route.workspace.serve();
    let admin = Admin::new(&server, &token);
    for (order, field) in [
        (json!({"subjects": [{"kind": "group", "value": "g"}]}), "subjects.0.kind"),
        (json!({"subjects": []}), "subjects"),
        (json!({"subjects": [{"kind": "user", "value": "u"}], "categories": {" ": true}}), "categories"),
    ] {
        let reply = admin.post("/api/v1/privacy/consent", &order);
        assert_eq!((reply.status, &reply.json()["field"]), (422, &json!(field)), "{}", reply.text());
    }
    let asked = admin.post("/api/v1/privacy/consent", &json!({"subjects": [{"kind": "user", "value": "u"}]}));
    assert_eq!((asked.status, &asked.json()["known"]), (200, &json!([])), "{}", asked.text());
    server.stop();
}
