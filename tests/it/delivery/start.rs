//! Where a new sync begins: a tool with what is accepted from then on, unless its file says otherwise; and nothing of
//! that is ever passed over, whatever happens before it is delivered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::{Value, json};

use super::{Route, event, ids, send};
use crate::support::far::{Act, Far};
use crate::support::http::try_request;
use crate::support::{Server, Workspace, basic, guests, run};

/// A server has run with the warehouse alone, and took `count` events.
fn with_a_past(far: &Far, more: &str, count: usize) -> Route {
    let route = Route::new(far);
    let sync = route.workspace.path().join("syncs/web-to-crm.yaml");
    std::fs::remove_file(&sync).unwrap();
    let server = route.workspace.serve();
    let events: Vec<_> = (0..count).map(|n| event(&format!("old{n}"), "u", json!({}))).collect();
    send(&server, &events);
    server.stop();
    std::fs::write(&sync, format!("source: web\ndestination: crm\n{more}")).unwrap();
    route
}

#[test]
fn a_new_tool_gets_what_is_accepted_from_then_on() {
    let far = Far::new(|_| Act::status(200));
    let route = with_a_past(&far, "", 20);
    let server = route.workspace.try_serve(&["--log", "info"], &[]).unwrap();
    send(&server, &[event("new", "u", json!({}))]);
    route.wait("the new event is there", |sync| sync["delivered"] == 1);
    let said = server.stop();
    assert!(said.contains("a new sync") && said.contains("passed_over=20"), "{said}");
    assert_eq!(ids(&far.seen()), ["new"]);
    assert_eq!(route.workspace.warehouse().rows("SELECT count(*) FROM bought"), ["21"]);
    // Settled once: `beginning` comes too late, and no second start passes anything over.
    std::fs::write(
        route.workspace.path().join("syncs/web-to-crm.yaml"),
        "source: web\ndestination: crm\nstart: beginning\n",
    )
    .unwrap();
    let server = route.workspace.serve();
    send(&server, &[event("newer", "u", json!({}))]);
    route.wait("the newer event is there", |sync| sync["delivered"] == 2);
    server.stop();
    assert_eq!(ids(&far.seen()), ["new", "newer"]);
}

#[test]
fn a_new_tool_gets_all_that_the_log_keeps_where_its_file_says_so() {
    let far = Far::new(|_| Act::status(200));
    let route = with_a_past(&far, "start: beginning\n", 20);
    let server = route.workspace.serve();
    route.wait_for_end(20);
    server.stop();
    assert_eq!(ids(&far.seen()).len(), 20);
}

#[test]
fn what_waits_for_a_new_tool_that_is_away_is_not_passed_over_by_another_start() {
    let status = Arc::new(AtomicU16::new(503));
    let answers = Arc::clone(&status);
    let far = Far::new(move |_| Act::status(answers.load(Ordering::Relaxed)));
    let route = with_a_past(&far, "", 5);
    for n in 0..3 {
        let server = route.workspace.serve();
        send(&server, &[event(&format!("new{n}"), "u", json!({}))]);
        server.kill();
    }
    status.store(200, Ordering::Relaxed);
    let server = route.workspace.serve();
    route.wait("all that came since the first start is there", |sync| sync["delivered"] == 3);
    server.stop();
    let mut delivered: Vec<String> = ids(&far.seen());
    delivered.sort();
    delivered.dedup();
    assert_eq!(delivered, ["new0", "new1", "new2"]);
}

/// Takes the sync to the tool away, whose file comes later, and gives the source a function that an event can break.
fn without_its_sync(workspace: &Workspace) -> std::path::PathBuf {
    let sync = workspace.path().join("syncs/web-to-crm.yaml");
    std::fs::remove_file(&sync).unwrap();
    std::fs::copy(guests::component("hostile/attacks"), workspace.path().join("functions/f.component.wasm")).unwrap();
    workspace.write("functions/f.yaml", "component: functions/f.component.wasm\n");
    workspace.append("sources/web.yaml", "\nfunctions: [f]\n");
    sync
}

/// Sends to a server that ends as soon as it looks at what it has accepted: it may do so before it has answered.
fn send_before_the_end(server: &Server, events: &[Value]) {
    let body = json!({ "batch": events }).to_string();
    let _ =
        try_request(&server.address, "POST", "/v1/batch", &[("authorization", &basic(&server.key))], body.as_bytes());
}

#[test]
fn the_functions_of_a_source_go_over_all_of_it_whoever_begins_where() {
    let far = Far::new(|_| Act::status(200));
    let route = Route::new(&far);
    let workspace = &route.workspace;
    let sync = without_its_sync(workspace);
    // Accepted, and the server ends before anything looks at it.
    let mut server = workspace.serve_with(&["refine_before_commit=return"]);
    let page = |id: &str| json!({"type": "page", "messageId": id, "userId": "u"});
    send_before_the_end(&server, &[page("old"), event("bad", "u", json!({"attack": "panic"}))]);
    server.wait();
    drop(server);
    // The new sync is served while the warehouse is away: what the warehouse has not seen yet is not passed over with it.
    std::fs::write(&sync, "source: web\ndestination: crm\n").unwrap();
    let held = rusqlite::Connection::open(workspace.data().join("warehouse.db")).unwrap();
    held.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let server = workspace.serve();
    send(&server, &[page("new")]);
    route.wait("the new event is there", |sync| sync["delivered"] == 1);
    held.execute_batch("ROLLBACK").unwrap();
    drop(held);
    let is_there = |status: &serde_json::Value| status["syncs"]["web-to-warehouse"]["delivered"] == 2;
    crate::reliability::wait(workspace, "the warehouse has what it was not there for", is_there);
    server.stop();
    assert_eq!(ids(&far.seen()), ["new"]);
    assert_eq!(workspace.quarantined(), ["trap"]);
    assert_eq!(workspace.warehouse().rows("SELECT id FROM pages ORDER BY id"), ["new", "old"]);
}

#[test]
fn the_functions_of_a_source_go_over_what_no_sync_gets() {
    let far = Far::new(|_| Act::status(200));
    let route = Route::new(&far);
    let workspace = &route.workspace;
    let sync = without_its_sync(workspace);
    let mut server = workspace.serve_with(&["refine_before_commit=return"]);
    send_before_the_end(&server, &[event("bad", "u", json!({"attack": "panic"}))]);
    server.wait();
    drop(server);
    // The tool alone, and what was accepted before is not for it: the event that breaks the function is quarantined all the same.
    std::fs::remove_file(workspace.path().join("syncs/web-to-warehouse.yaml")).unwrap();
    std::fs::write(&sync, "source: web\ndestination: crm\n").unwrap();
    let server = workspace.serve();
    send(&server, &[json!({"type": "page", "messageId": "new", "userId": "u"})]);
    route.wait("the new event is there", |sync| sync["delivered"] == 1);
    server.stop();
    assert_eq!((ids(&far.seen()), workspace.quarantined()), (vec!["new".to_owned()], vec!["trap".to_owned()]));
}

#[test]
fn a_state_of_before_lets_no_sync_begin_later() {
    let far = Far::new(|_| Act::status(200));
    let route = with_a_past(&far, "", 5);
    // As an earlier build left it: it cannot say which syncs have run.
    let state = rusqlite::Connection::open(route.workspace.data().join("state.db")).unwrap();
    state.execute_batch("DELETE FROM starts; INSERT INTO meta (key, value) VALUES ('starts', 'unknown')").unwrap();
    drop(state);
    let server = route.workspace.serve();
    route.wait_for_end(5);
    server.stop();
    assert_eq!(ids(&far.seen()).len(), 5);
}

#[test]
fn check_says_where_each_sync_starts_and_refuses_other_words() {
    let far = Far::new(|_| Act::status(200));
    let route = Route::new(&far);
    let path = route.workspace.path();
    let output = run(&["check", path.to_str().unwrap(), "--json"]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["syncs"]["web-to-crm"]["start"], "now", "{answer}");
    assert_eq!(answer["syncs"]["web-to-warehouse"]["start"], "beginning", "{answer}");
    route.workspace.write("syncs/web-to-crm.yaml", "source: web\ndestination: crm\nstart: yesterday\n");
    let output = run(&["check", path.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(3) && said.contains("start: beginning"), "{said}");
    assert!(said.contains("web-to-crm.yaml:3"), "{said}");
}

#[test]
fn a_plugin_that_refuses_its_settings_holds_its_own_sync_alone() {
    let far = Far::new(|_| Act::status(200));
    let origin = far.origin();
    // The schema does without the setting, and the guest does not.
    let change = |manifest: &mut Value| {
        manifest["settings"]["required"] = json!([]);
        manifest["hosts"] = json!([origin]);
    };
    let route = Route::with(&far, change, "");
    let file = route.workspace.path().join("destinations/crm.yaml");
    let whole = std::fs::read_to_string(&file).unwrap();
    let without: Vec<&str> = whole.lines().filter(|line| !line.trim().starts_with("endpoint:")).collect();
    std::fs::write(&file, without.join("\n") + "\n").unwrap();
    let server = route.workspace.serve();
    send(&server, &[event("m", "u", json!({}))]);
    let is_there = |status: &Value| status["syncs"]["web-to-warehouse"]["delivered"] == 1;
    crate::reliability::wait(&route.workspace, "the other sync delivers", is_there);
    let sync = route.wait("its own sync says why", |sync| sync["failure"].is_string());
    let failure = sync["failure"].as_str().unwrap();
    assert!(
        ["destination crm cannot run", "no-endpoint", "crm.yaml"].iter().all(|said| failure.contains(said)),
        "{sync}"
    );
    assert_eq!((&sync["delivered"], &sync["quarantined"]), (&json!(0), &json!(0)), "{sync}");
    let said = server.stop();
    assert!(said.contains("no-endpoint") && said.contains("crm"), "{said}");
    std::fs::write(&file, whole).unwrap();
    let server = route.workspace.serve();
    let sync = route.wait_for_end(1);
    assert!(sync["failure"].is_null(), "{sync}");
    server.stop();
    assert_eq!(ids(&far.seen()), ["m"]);
}
