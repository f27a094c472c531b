//! Syncs of the catalog that cannot run for now: the log keeps what waits for them.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{CatalogRun, KEY};
use crate::reload::Reloading;
use crate::support::{Workspace, guests};

const SYNC: &str = "/objects/sync/app-to-db";

/// A sync of the catalog with a function, whose component is gone at the second start. One event was delivered before, and
/// one was accepted after.
fn left_out() -> (CatalogRun, PathBuf) {
    let workspace = Workspace::new();
    workspace.append("tidegate.yaml", "\nlog: {segment_bytes: 1 MiB, retention_bytes: 1 MiB, retention_age: 1 s}\n");
    let run = CatalogRun(Reloading::of(workspace));
    let component = run.0.workspace.path().join("rename.wasm");
    std::fs::copy(guests::component("transform/rename"), &component).unwrap();
    run.secret("app-key", KEY);
    run.make("source", "app", &json!({"kind": "http", "write_key": "secret:app-key"}));
    run.make("destination", "db", &json!({"kind": "sqlite", "path": "DATA/other.db"}));
    let settings = json!({"fields": {"/properties/sku": "/properties/product_id"}});
    let function = json!({"component": "rename.wasm", "lookups": {"renames": "none"}, "settings": settings});
    run.make("function", "rename", &function);
    let sync = json!({"source": "app", "destination": "db", "functions": ["rename"]});
    run.make("sync", "app-to-db", &sync);
    run.page("a");
    run.0.wait_for_delivered("app-to-db", 1);
    let Reloading { workspace, server, .. } = run.0;
    server.stop();
    std::fs::remove_file(&component).unwrap();
    let run = CatalogRun(Reloading::with(workspace, &["trim_in_haste=return"]));
    let objects = run.0.configuration()["objects"].to_string();
    assert!(objects.contains("app-to-db") && objects.contains("rename"), "{objects}");
    run.page("b");
    (run, component)
}

#[test]
fn what_is_accepted_while_a_sync_cannot_run_is_kept_for_it() {
    let (run, component) = left_out();
    let filler = "x".repeat(20_000);
    for first in (0..1_200).step_by(20) {
        let page = |n: u64| json!({"type": "page", "messageId": format!("m{n}"), "userId": "u", "properties": {"filler": filler}});
        let pages: Vec<Value> = (first..first + 20).map(page).collect();
        assert_eq!(run.0.server.batch(&pages).status, 200);
    }
    // The log looks many times a second at what it may give up.
    run.0.wait_for_delivered("web-to-warehouse", 1_200);
    std::fs::copy(guests::component("transform/rename"), &component).unwrap();
    run.0.settle();
    run.0.wait_for_delivered("app-to-db", 2);
    assert_eq!(run.pages("other.db"), ["a", "b"]);
}

#[test]
fn a_sync_that_cannot_run_is_deleted_with_what_waits_for_it_given_up() {
    let (run, _) = left_out();
    let refused = run.ask("DELETE", SYNC, &Value::Null);
    assert_eq!(refused.code(), "409 needs-ending", "{}", refused.text());
    let drain = run.ask("DELETE", &format!("{SYNC}?drain=true"), &Value::Null);
    assert!(drain.code() == "409 needs-ending" && drain.text().contains("cannot run"), "{}", drain.text());
    run.done("DELETE", &format!("{SYNC}?abandon=true"), &Value::Null);
    let has_ended = |status: &Value| status["endings"]["ended"].as_array().is_some_and(|ended| ended.len() == 1);
    let status = run.0.wait("it ends", has_ended);
    let ended = &status["endings"]["ended"][0];
    assert_eq!((&ended["sync"], &ended["delivered"], &ended["abandoned"]), (&json!("app-to-db"), &json!(1), &json!(1)));
    assert!(status["syncs"]["app-to-db"].is_null(), "{status:#}");
    run.0.server.stop();
}

#[test]
fn a_source_that_cannot_run_has_those_come_again_who_send_under_a_key_of_the_catalog() {
    let run = CatalogRun::new();
    std::fs::copy(guests::component("transform/rename"), run.0.workspace.path().join("rename.wasm")).unwrap();
    let settings = json!({"fields": {"/properties/sku": "/properties/product_id"}});
    let function = json!({"component": "rename.wasm", "lookups": {"renames": "none"}, "settings": settings});
    run.make("function", "rename", &function);
    run.make("source", "app", &json!({"kind": "http", "functions": ["rename"]}));
    run.done("POST", "/sources/app/write-keys", &json!({"name": "first", "value": KEY}));
    run.page("a");
    let Reloading { workspace, server, .. } = run.0;
    server.stop();
    let component = workspace.path().join("rename.wasm");
    std::fs::remove_file(&component).unwrap();
    let run = CatalogRun(Reloading::of(workspace));
    assert_eq!(run.0.page(KEY, "b"), 503);
    std::fs::copy(guests::component("transform/rename"), &component).unwrap();
    run.0.settle();
    run.page("b");
    run.0.server.stop();
}
