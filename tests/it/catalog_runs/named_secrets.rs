//! Secrets that functions and tables name: guests get the values, a rotated one at once, and what is kept and answered has the names.

use std::path::Path;

use serde_json::{Value, json};
use tidegate_plugin::embed;

use super::{CatalogRun, KEY};
use crate::reload::Reloading;
use crate::support::{Warehouse, basic, guests, request};

/// Renames events by its settings alone.
fn uploaded() -> Vec<u8> {
    let manifest = json!({
        "name": "rename", "kind": "fields",
        "settings": {"type": "object", "properties": {"events": {
            "type": "object", "additionalProperties": {"type": "string", "maxLength": 12}}}},
    });
    embed(&std::fs::read(guests::component("transform/rename")).unwrap(), &manifest, &[])
}

fn track(name: &str, id: &str) -> Value {
    json!({"type": "track", "event": name, "messageId": id, "userId": "u"})
}

/// A source `app` whose function renames `signup` by its settings and `login` by a table; both name secrets.
fn renaming() -> CatalogRun {
    let run = CatalogRun::new();
    std::fs::copy(guests::component("transform/rename"), run.0.workspace.path().join("rename.wasm")).unwrap();
    run.secret("app-key", KEY);
    run.secret("in-settings", "First Setting");
    run.secret("in-table", "First Entry");
    run.make("lookup", "names", &json!({"kind": "table", "entries": {"login": "secret:in-table"}}));
    let settings = json!({"lookup": true, "events": {"signup": "secret:in-settings"}});
    run.make(
        "function",
        "rename",
        &json!({"component": "rename.wasm", "lookups": {"renames": "names"}, "settings": settings}),
    );
    let source = json!({"kind": "http", "write_key": "secret:app-key", "functions": ["rename"]});
    run.make("source", "app", &source);
    run.make("destination", "db", &json!({"kind": "sqlite", "path": "DATA/other.db"}));
    run.make("sync", "app-to-db", &json!({"source": "app", "destination": "db"}));
    run
}

fn send(run: &CatalogRun, ids: [&str; 2]) {
    let body = json!({"batch": [track("signup", ids[0]), track("login", ids[1])]}).to_string();
    let key = basic(KEY);
    let reply = request(&run.0.server.address, "POST", "/v1/batch", &[("authorization", &key)], body.as_bytes());
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// The names of the events that a warehouse has, in the order of their ids.
fn names(file: &Path) -> Vec<String> {
    Warehouse::open(file).rows("SELECT event_text FROM tracks ORDER BY id")
}

/// Files of a folder in which a text stands.
fn files_with(folder: &Path, text: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_with(&path, text, found);
        } else if path.is_file() && memchr::memmem::find(&std::fs::read(&path).unwrap(), text.as_bytes()).is_some() {
            found.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
}

#[test]
fn a_function_and_a_table_get_the_values_of_secrets_and_a_rotated_one_at_once() {
    let run = renaming();
    send(&run, ["1", "2"]);
    run.0.wait_for_delivered("app-to-db", 2);
    run.secret("in-settings", "Second Setting");
    send(&run, ["3", "4"]);
    run.0.wait_for_delivered("app-to-db", 4);
    run.secret("in-table", "Second Entry");
    send(&run, ["5", "6"]);
    run.0.wait_for_delivered("app-to-db", 6);
    let run = run.again();
    send(&run, ["7", "8"]);
    run.0.wait_for_delivered("app-to-db", 8);
    for kind in ["function/rename", "lookup/names"] {
        let shown = run.done("GET", &format!("/objects/{kind}"), &Value::Null).to_string();
        assert!(shown.contains("secret:in-") && !shown.contains("Second"), "{shown}");
    }
    let Reloading { workspace, server, .. } = run.0;
    server.stop();
    let expected = [
        "First Setting",
        "First Entry",
        "Second Setting",
        "First Entry",
        "Second Setting",
        "Second Entry",
        "Second Setting",
        "Second Entry",
    ];
    assert_eq!(names(&workspace.data().join("other.db")), expected);
    for value in ["Second Setting", "Second Entry"] {
        let mut found = Vec::new();
        files_with(&workspace.data(), value, &mut found);
        // Here a value is written into events as their name: they are delivered under it, and counted.
        found.retain(|file| !file.starts_with("other.db") && !file.starts_with("state.db"));
        assert_eq!(found, Vec::<String>::new(), "{value}");
    }
}

#[test]
fn a_trace_shows_no_secret_that_the_functions_of_a_sync_put_into_an_event() {
    let run = CatalogRun::new();
    std::fs::copy(guests::component("transform/rename"), run.0.workspace.path().join("rename.wasm")).unwrap();
    run.secret("app-key", KEY);
    run.secret("in-settings", "First Setting");
    run.make("lookup", "names", &json!({"kind": "table", "entries": {"login": "Entry"}}));
    let settings = json!({"lookup": true, "events": {"signup": "secret:in-settings"}});
    run.make(
        "function",
        "rename",
        &json!({"component": "rename.wasm", "lookups": {"renames": "names"}, "settings": settings}),
    );
    run.make("source", "app", &json!({"kind": "http", "write_key": "secret:app-key"}));
    run.make("destination", "db", &json!({"kind": "sqlite", "path": "DATA/other.db"}));
    run.make("sync", "app-to-db", &json!({"source": "app", "destination": "db", "functions": ["rename"]}));
    send(&run, ["1", "2"]);
    run.0.wait_for_delivered("app-to-db", 2);
    let found = run.done("GET", "/trace?message_id=1", &Value::Null);
    let sync = &found["records"][0]["syncs"][0];
    assert_eq!((&sync["fate"], &sync["delivered"][0]["event"]), (&json!("delivered"), &json!("(secret)")), "{found}");
    // Neither the rows that it becomes nor those that are there.
    assert!(!sync["rows"].as_array().unwrap().is_empty() && !sync["found"].as_array().unwrap().is_empty(), "{found}");
    assert!(!found.to_string().contains("First Setting"), "{found}");
    let Reloading { workspace, server, .. } = run.0;
    server.stop();
    assert_eq!(names(&workspace.data().join("other.db")), ["First Setting", "Entry"]);
}

#[test]
fn functions_and_tables_are_among_what_uses_a_secret_and_one_that_is_not_there_is_told_by_its_line() {
    let run = renaming();
    for (secret, kind, name) in [("in-settings", "function", "rename"), ("in-table", "lookup", "names")] {
        let used = run.done("GET", &format!("/objects/secret/{secret}/used-by"), &Value::Null);
        assert_eq!(used["objects"], json!([{"kind": kind, "name": name}]), "{used}");
        let refused = run.ask("DELETE", &format!("/objects/secret/{secret}"), &Value::Null);
        assert_eq!(refused.code(), "409 in-use", "{}", refused.text());
    }
    let spec = json!({"kind": "table", "entries": {"a": "secret:nosuch"}});
    let refused = run.ask("POST", "/objects/lookup", &json!({"name": "more", "spec": spec}));
    assert_eq!(refused.code(), "422 dangling", "{}", refused.text());
    let component = guests::component("transform/rename");
    let function = format!("component: {}\nlookups: {{renames: more}}\nsettings:\n  events:\n", component.display());
    run.0.workspace.write("functions/more.yaml", &format!("{function}    signup: secret:nosuch\n"));
    run.0.workspace.write("lookups/more.yaml", "kind: table\nentries:\n  a: b\n  c: [secret:nosuch]\n");
    let refused = run.0.ask();
    assert_eq!(refused.code(), "422 problems", "{}", refused.text());
    let problems = refused.json()["problems"].clone();
    let told = |at: usize| (problems[at]["line"].clone(), problems[at]["message"].as_str().unwrap().to_owned());
    let expected =
        |line: u64, place: &str| (json!(line), format!("`{place}` asks for the secret \"nosuch\", which is not there"));
    assert_eq!(told(0), expected(5, "settings.events.signup"), "{problems}");
    assert_eq!(told(1), expected(4, "entries.c"), "{problems}");
    assert!(problems[0]["fix"].as_str().unwrap().contains("PUT /api/v1/secrets/nosuch"), "{problems}");
    run.secret("nosuch", "Now It Is");
    run.0.reload();
    run.0.server.stop();
}

#[test]
fn an_uploaded_function_gets_the_secrets_that_its_settings_name() {
    let run = CatalogRun::new();
    let sha256 = run.0.admin.taken("rename", &uploaded());
    let settings = |secret: &str| json!({"events": {"signup": format!("secret:{secret}")}});
    let live = |secret: &str| {
        run.0.admin.post("/admin/functions/rename/live", &json!({"sha256": sha256, "settings": settings(secret)}))
    };
    let refused = live("nosuch");
    assert_eq!(refused.code(), "422 settings", "{}", refused.text());
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("ask for the secret \"nosuch\", which is not there"), "{detail}");
    // The value has to fit, not its name.
    run.secret("a-name-that-is-longer-than-its-value", "First");
    run.secret("too-long", "a value that is longer");
    assert_eq!(live("too-long").code(), "422 settings");
    run.0.admin.attach("rename", "web");
    run.0.admin.live("rename", &sha256, settings("a-name-that-is-longer-than-its-value"));
    let delivered = |id: &str, count: u64| {
        assert_eq!(run.0.server.batch(&[track("signup", id)]).status, 200);
        run.0.wait_for_delivered("web-to-warehouse", count);
    };
    delivered("1", 1);
    run.secret("a-name-that-is-longer-than-its-value", "Second");
    delivered("2", 2);
    let shown = run.0.admin.get("/admin/functions/rename")["live"]["settings"].clone();
    assert_eq!(shown, settings("a-name-that-is-longer-than-its-value"));
    let secret = "/objects/secret/a-name-that-is-longer-than-its-value";
    let used = run.done("GET", &format!("{secret}/used-by"), &Value::Null);
    assert_eq!(used["objects"], json!([{"kind": "function", "name": "rename"}]), "{used}");
    let refused = run.ask("DELETE", secret, &Value::Null);
    assert_eq!(refused.code(), "409 in-use", "{}", refused.text());
    run.secret("other", "Third 7Qx");
    run.0.admin.live("rename", &sha256, settings("other"));
    delivered("3", 3);
    // What nothing uses any more may go, and then nothing goes back to it.
    run.done("DELETE", secret, &Value::Null);
    let refused = run.0.admin.post("/admin/functions/rename/rollback", &json!({}));
    assert_eq!(refused.code(), "422 settings", "{}", refused.text());
    let run = run.again();
    assert_eq!(run.0.server.batch(&[track("signup", "4")]).status, 200);
    run.0.wait_for_delivered("web-to-warehouse", 4);
    let Reloading { workspace, server, .. } = run.0;
    server.stop();
    assert_eq!(names(&workspace.data().join("warehouse.db")), ["First", "Second", "Third 7Qx", "Third 7Qx"]);
    let mut found = Vec::new();
    files_with(&workspace.data(), "Third 7Qx", &mut found);
    found.retain(|file| !file.starts_with("warehouse.db") && !file.starts_with("state.db"));
    assert_eq!(found, Vec::<String>::new());
}
