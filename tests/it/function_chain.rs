//! Functions of sources in a running server: one function chain for each event, and nobody waits for somebody else's function.

use serde_json::json;

use crate::support::guests::component;
use crate::support::waiting::until;
use crate::support::{Server, Workspace, basic, request};

fn track(id: &str) -> serde_json::Value {
    let properties = json!({"email": "a@example.com", "attack": "fatal"});
    json!({"type": "track", "event": "Seen", "messageId": id, "userId": "u", "properties": properties})
}

/// A function file for `guest`.
fn function(workspace: &Workspace, name: &str, guest: &str, settings: &serde_json::Value) {
    let component = component(guest);
    let text = format!("component: {}\nsettings: {settings}\n", component.display());
    workspace.write(&format!("functions/{name}.yaml"), &text);
}

fn source(workspace: &Workspace, name: &str, key: &str, functions: &str) {
    workspace
        .write(&format!("sources/{name}.yaml"), &format!("kind: http\nwrite_key: {key}\nfunctions: [{functions}]\n"));
}

fn send(server: &Server, key: &str, ids: &[&str]) {
    let events: Vec<_> = ids.iter().map(|id| track(id)).collect();
    let body = json!({ "batch": events }).to_string();
    let reply = request(&server.address, "POST", "/v1/batch", &[("authorization", &basic(key))], body.as_bytes());
    assert_eq!(reply.status, 200);
}

const OTHER_KEY: &str = "another-key-of-enough-length";

#[test]
fn a_function_that_breaks_every_batch_is_stopped_and_holds_its_own_source_alone() {
    let workspace = Workspace::new();
    let key = workspace.write_key.clone();
    function(&workspace, "broken", "hostile/attacks", &json!({}));
    source(&workspace, "web", &key, "broken");
    source(&workspace, "app", OTHER_KEY, "");
    workspace.write("syncs/app.yaml", "source: app\ndestination: warehouse\nschema: app\n");
    let server = workspace.serve();
    for n in 0..2 {
        send(&server, &key, &[&format!("bad-{n}")]);
        until("the broken batch is quarantined", || workspace.quarantined().len() == n + 1);
    }
    send(&server, &key, &["held-1", "held-2"]);
    until("the function is stopped", || !workspace.status()["functions"][0]["stopped"].is_null());
    // The neighbour goes on.
    send(&server, OTHER_KEY, &["fine-1", "fine-2"]);
    until("the neighbour's events arrive", || {
        let warehouse = workspace.warehouse();
        warehouse.has("app__seen") && warehouse.count("app__seen") == 2
    });
    let status = workspace.status();
    assert_eq!(status["functions"][0]["name"], "broken");
    assert!(status["functions"][0]["stopped"].as_str().unwrap().contains("batch-fatal"), "{status}");
    assert_eq!(workspace.quarantined(), ["batch-fatal", "batch-fatal"], "what is held is not quarantined");
    server.kill();
    // With a function that works, what was held comes through.
    function(&workspace, "broken", "transform/redact-pii", &json!({"fields": {"email": "drop"}}));
    workspace.serve().stop();
    let mut ids = workspace.warehouse().rows("SELECT id FROM seen");
    ids.sort();
    assert_eq!(ids, ["held-1", "held-2"]);
}

#[test]
fn an_event_nested_to_the_limit_goes_through_functions_of_both_worlds_whole() {
    let workspace = Workspace::new();
    let key = workspace.write_key.clone();
    function(&workspace, "redact", "transform/redact-pii", &json!({"fields": {"email": "mask"}}));
    function(&workspace, "rename", "transform/rename", &json!({"fields": {"/properties/nest": "/properties/moved"}}));
    workspace.append("functions/rename.yaml", "lookups: {renames: none}\n");
    source(&workspace, "web", &key, "redact, rename");
    let server = workspace.serve();
    // With the event and its properties these are 64 levels, which is as many as an event may have.
    let nest = format!("{}1{}", r#"[{"a":"#.repeat(31), "}]".repeat(31));
    for (id, nest) in [("fits", nest.clone()), ("deeper", format!("[{nest}]"))] {
        let properties = format!(r#"{{"email":"ada@example.com","nest":{nest}}}"#);
        let body = format!(r#"{{"type":"track","event":"Nested","messageId":"{id}","properties":{properties}}}"#);
        let key = basic(&key);
        let reply = request(&server.address, "POST", "/v1/track", &[("authorization", &key)], body.as_bytes());
        assert_eq!(reply.status, 200);
    }
    server.stop();
    assert_eq!(workspace.quarantined(), ["too-deep"]);
    let rows = workspace.warehouse().rows("SELECT id, email LIKE '%*%', moved FROM nested");
    assert_eq!(rows, [format!("fits|1|{nest}")]);
}

/// Parts of a large batch run beside one another; a part that takes longer does not change the order.
#[test]
fn a_large_batch_comes_out_of_its_functions_in_the_order_in_which_it_went_in() {
    let workspace = Workspace::new();
    let key = workspace.write_key.clone();
    function(&workspace, "redact", "transform/redact-pii", &json!({"fields": {"email": "drop"}}));
    source(&workspace, "web", &key, "redact");
    let server = workspace.serve();
    let ids: Vec<String> = (0..900).map(|n| format!("m{n}")).collect();
    // One request is one range of the log.
    send(&server, &key, &ids.iter().map(String::as_str).collect::<Vec<_>>());
    until("all of them are delivered", || {
        workspace.warehouse().has("seen") && workspace.warehouse().count("seen") == 900
    });
    server.stop();
    let warehouse = workspace.warehouse();
    assert_eq!(warehouse.rows("SELECT id FROM seen ORDER BY rowid"), ids);
    assert_eq!(warehouse.rows("SELECT id FROM tracks ORDER BY rowid"), ids);
    let used = &workspace.status()["functions"][0];
    assert_eq!((&used["name"], &used["events"]), (&json!("redact"), &json!(900)), "{used}");
}

#[test]
fn a_sync_that_lags_gets_what_the_function_chain_of_then_made_of_an_event() {
    let workspace = Workspace::new();
    let key = workspace.write_key.clone();
    function(&workspace, "redact", "transform/redact-pii", &json!({"fields": {"email": "drop"}}));
    source(&workspace, "web", &key, "redact");
    workspace.write("destinations/late.yaml", "kind: sqlite\npath: DATA/late.db\n");
    workspace.write("syncs/late.yaml", "source: web\ndestination: late\n");
    let server = workspace.serve();
    // Somebody else writes to the second warehouse, so its sync lags.
    let other = rusqlite::Connection::open(workspace.data().join("late.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    send(&server, &key, &["then-1", "then-2"]);
    until("the first warehouse has them", || {
        let warehouse = workspace.warehouse();
        warehouse.has("seen") && warehouse.count("seen") == 2
    });
    server.kill();
    drop(other);
    function(&workspace, "redact", "transform/redact-pii", &json!({"fields": {"email": "mask"}}));
    let server = workspace.serve();
    send(&server, &key, &["now-1"]);
    server.stop();
    let late = crate::support::Warehouse::open(&workspace.data().join("late.db"));
    let rows = late.rows("SELECT id || ' ' || coalesce(email, 'none') FROM seen ORDER BY id");
    assert_eq!(rows, workspace.warehouse().rows("SELECT id || ' ' || coalesce(email, 'none') FROM seen ORDER BY id"));
    assert_eq!(rows[1..], ["then-1 none", "then-2 none"], "the function chain of then dropped it");
    assert!(rows[0].starts_with("now-1 a"), "the function chain of now masks it: {rows:?}");
}
