//! Syncs of the catalog that cannot run for now: the log keeps what waits for them.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{CatalogRun, KEY};
use crate::reload::Reloading;
use crate::support::{Warehouse, Workspace, basic, guests, request};

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
fn a_source_that_cannot_run_has_those_come_again_who_send_under_a_key_that_was_made_over_the_api() {
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

/// What the status says of an object that does not run as it shall.
fn reason(run: &CatalogRun, kind: &str, name: &str) -> String {
    let configuration = run.0.configuration();
    let objects = configuration["objects"].as_array().cloned().unwrap_or_default();
    let found = objects.iter().find(|one| one["kind"] == kind && one["key"] == name);
    found.map(|one| one["error"].to_string()).unwrap_or_else(|| panic!("{kind} {name} runs: {configuration}"))
}

/// Stops the server, does something to its folder, and starts it again.
fn after(run: CatalogRun, change: impl FnOnce(&Workspace)) -> CatalogRun {
    let Reloading { workspace, server, .. } = run.0;
    server.stop();
    change(&workspace);
    CatalogRun(Reloading::of(workspace))
}

#[test]
fn a_function_that_cannot_be_loaded_is_left_out_with_the_source_that_it_is_for_and_runs_once_it_is_mended() {
    let run = CatalogRun::new();
    let put = |workspace: &Workspace, guest: &str| {
        std::fs::copy(guests::component(guest), workspace.path().join("rename.wasm")).unwrap();
    };
    put(&run.0.workspace, "transform/rename");
    run.secret("app-key", KEY);
    let settings = json!({"fields": {"/properties/sku": "/properties/product_id"}});
    let function = json!({"component": "rename.wasm", "lookups": {"renames": "none"}, "settings": settings});
    run.make("function", "rename", &function);
    run.make("source", "app", &json!({"kind": "http", "write_key": "secret:app-key", "functions": ["rename"]}));
    run.make("destination", "db", &json!({"kind": "sqlite", "path": "DATA/other.db"}));
    run.make("sync", "app-to-db", &json!({"source": "app", "destination": "db"}));
    run.page("a");
    run.0.wait_for_delivered("app-to-db", 1);
    // It asks for a table that nobody grants to it.
    let run = after(run, |workspace| put(workspace, "transform/geo-ip"));
    assert!(reason(&run, "function", "rename").contains("asks for a table"), "{}", reason(&run, "function", "rename"));
    for (kind, name) in [("source", "app"), ("sync", "app-to-db")] {
        reason(&run, kind, name);
    }
    let body = json!({"type": "page", "messageId": "b", "userId": "u"}).to_string();
    let (address, key) = (&run.0.server.address, basic(KEY));
    let told = request(address, "POST", "/v1/page", &[("authorization", &key)], body.as_bytes());
    assert_eq!((told.status, told.header("retry-after").is_some()), (503, true), "{}", told.text());
    let page = json!({"type": "page", "messageId": "p", "userId": "u"});
    assert_eq!(run.0.server.batch(&[page]).status, 200, "the others go on");
    // It keeps nobody from being changed, but what names it.
    run.make("destination", "more", &json!({"kind": "sqlite", "path": "DATA/more.db"}));
    run.make("sync", "web-to-more", &json!({"source": "web", "destination": "more"}));
    run.0.reload();
    let body = json!({"name": "second", "spec": {"kind": "http", "functions": ["rename"]}});
    let refused = run.ask("POST", "/objects/source", &body);
    assert!(refused.code() == "422 problems" && refused.text().contains("asks for a table"), "{}", refused.text());
    put(&run.0.workspace, "transform/rename");
    run.0.settle();
    run.page("b");
    run.0.wait_for_delivered("app-to-db", 2);
    assert_eq!(run.pages("other.db"), ["a", "b"]);
}

#[test]
fn a_lookup_that_cannot_be_read_is_left_out_with_the_function_and_the_sync_that_use_it() {
    let run = CatalogRun::new();
    let put = |workspace: &Workspace, table: &str| {
        std::fs::write(workspace.path().join("names.csv"), table).unwrap();
    };
    let table = "old,new\nsignup,Signed Up\n";
    put(&run.0.workspace, table);
    std::fs::copy(guests::component("transform/rename"), run.0.workspace.path().join("rename.wasm")).unwrap();
    let lookup = json!({"kind": "table", "path": "names.csv", "key": "old", "value": "new", "bytes_max": "1 KiB"});
    run.make("lookup", "names", &lookup);
    let function = json!({"component": "rename.wasm", "lookups": {"renames": "names"}, "settings": {"lookup": true}});
    run.make("function", "rename", &function);
    run.make("destination", "db", &json!({"kind": "sqlite", "path": "DATA/other.db"}));
    run.make("sync", "web-to-db", &json!({"source": "web", "destination": "db", "functions": ["rename"]}));
    let track = |id: &str| json!({"type": "track", "event": "signup", "messageId": id, "userId": "u"});
    assert_eq!(run.0.server.batch(&[track("a")]).status, 200);
    run.0.wait_for_delivered("web-to-db", 1);
    let more: String = (0..200).map(|n| format!("other-{n},Other\n")).collect();
    let large = format!("{table}{more}");
    let run = after(run, |workspace| put(workspace, &large));
    assert!(reason(&run, "lookup", "names").contains("bytes_max"), "{}", reason(&run, "lookup", "names"));
    for (kind, name) in [("function", "rename"), ("sync", "web-to-db")] {
        reason(&run, kind, name);
    }
    assert_eq!(run.0.server.batch(&[track("b")]).status, 200);
    // A change of the lookup itself mends it.
    let mended = json!({"name": "names", "spec": {"kind": "table", "path": "names.csv", "key": "old", "value": "new"}});
    run.done("PUT", "/objects/lookup/names", &mended);
    run.0.wait_for_delivered("web-to-db", 2);
    let Reloading { workspace, server, .. } = run.0;
    server.stop();
    let rows = Warehouse::open(&workspace.data().join("other.db")).rows("SELECT id FROM signed_up ORDER BY id");
    assert_eq!(rows, ["a", "b"]);
}
