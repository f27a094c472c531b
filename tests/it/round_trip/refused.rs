//! What is wrong with a folder changes nothing of it.

use serde_json::{Value, json};

use super::{AppliedServer, FolderFiles, table, tables, write};

/// A folder with an object of each kind that is in order.
fn folder() -> FolderFiles {
    let properties = json!({"type": "object", "properties": {"price": {"$ref": "#/definitions/components/price"}}});
    let schema = json!({"type": "object", "properties": {"properties": properties}});
    let files = [
        ("sources/app.yaml", json!({"kind": "http", "rate": "10/s"})),
        ("lookups/geo.yaml", table("a")),
        ("destinations/place.yaml", json!({"kind": "sqlite", "path": "DATA/place.db"})),
        ("syncs/app.yaml", json!({"source": "app", "destination": "place"})),
        ("events/domains/shop/domain.yaml", json!({"name": "Shop", "sources": ["app"]})),
        ("events/domains/shop/components/price.yaml", json!({"name": "Price", "schema": {"type": "object"}})),
        ("events/domains/shop/sold.yaml", json!({"type": "track", "name": "Sold", "schema": schema})),
    ];
    files.into_iter().map(|(file, document)| (file.to_owned(), document)).collect()
}

#[test]
fn an_apply_with_one_broken_object_of_any_kind_changes_nothing() {
    let applied = AppliedServer::new();
    let good = folder();
    applied.applied(&good, &json!({}));
    let (before, configuration) = (applied.revision(), applied.workspace.status()["configuration"].clone());
    for (file, document) in [
        ("sources/app.yaml", json!({"kind": "smtp"})),
        ("sources/app.yaml", json!({"kind": "http", "rate": "many"})),
        ("functions/gone.yaml", json!({"component": "gone.wasm"})),
        ("lookups/geo.yaml", json!({"kind": "table", "path": "gone.csv"})),
        ("lookups/geo.yaml", json!({"kind": "nothing"})),
        ("destinations/place.yaml", json!({"kind": "nothing"})),
        ("syncs/app.yaml", json!({"source": "app", "destination": "nowhere"})),
        ("syncs/app.yaml", json!({"source": "app", "destination": "place", "colour": 1})),
        ("events/domains/shop/domain.yaml", json!({"name": "Shop", "onUndeclaredSchema": "PERHAPS"})),
        ("events/domains/shop/components/price.yaml", json!({"name": "Price", "schema": {"type": "many"}})),
        ("events/domains/shop/sold.yaml", json!({"type": "track", "name": "Sold", "schema": {"type": 7}})),
    ] {
        let mut broken = good.clone();
        broken.insert(file.to_owned(), document);
        // What is right in it does not change either.
        broken.insert("lookups/new.yaml".to_owned(), table("new"));
        let reply = applied.apply(&broken, &json!({"prune": true}));
        let answer = reply.json();
        assert_eq!(reply.status, 422, "{file}: {answer}");
        assert!(!answer["fix"].as_str().unwrap().is_empty(), "{file}: {answer}");
        assert_eq!(applied.revision(), before, "{file}: {answer}");
        assert_eq!(applied.names("lookup"), ["geo"], "{file}");
    }
    let after = applied.workspace.status()["configuration"].clone();
    assert_eq!((&after["revision"], &after["objects"]), (&configuration["revision"], &json!([])), "{after}");
    let answer = applied.applied(&good, &json!({"prune": true}));
    assert_eq!(answer["changes"], json!([]), "{answer}");
    applied.server.stop();
}

#[test]
fn the_command_says_what_is_wrong_and_ends_with_1() {
    let applied = AppliedServer::new();
    let mut files = folder();
    files.insert("syncs/app.yaml".to_owned(), json!({"source": "app", "destination": "nowhere"}));
    let wrong = applied.elsewhere("wrong");
    write(&wrong, &files);
    let before = applied.revision();
    let output = applied.command(&["apply", wrong.to_str().unwrap()]);
    let said = super::text(&output);
    assert_eq!((output.status.code(), applied.revision()), (Some(1), before), "{said}");
    assert!(said.contains("nowhere"), "{said}");
    std::fs::write(wrong.join("syncs/app.yaml"), "source: [1\n").unwrap();
    let output = applied.command(&["apply", wrong.to_str().unwrap()]);
    let said = super::text(&output);
    assert_eq!((output.status.code(), applied.revision()), (Some(1), before), "{said}");
    assert!(said.contains("syncs/app.yaml"), "{said}");
    applied.server.stop();
}

#[test]
fn files_that_were_not_sent_are_named() {
    let applied = AppliedServer::new();
    let table = json!({"kind": "table", "path": "names.csv", "key": "old", "value": "new"});
    let files = FolderFiles::from([("lookups/names.yaml".to_owned(), table)]);
    let before = applied.revision();
    let absent = "0".repeat(64);
    let reply = applied.apply(&files, &json!({"files": {"names.csv": absent}}));
    assert_eq!(reply.code(), "422 missing-files");
    assert!(reply.text().contains("names.csv") && reply.text().contains(&absent), "{}", reply.text());
    assert_eq!(applied.revision(), before);
    let sent = applied.kept(b"old,new\na,b\n");
    applied.applied(&files, &json!({"files": {"names.csv": sent}}));
    assert_eq!(applied.names("lookup"), ["names"]);
    applied.server.stop();
}

#[test]
fn a_secret_that_is_written_down_is_applied_from_nowhere() {
    let applied = AppliedServer::new();
    let before = applied.revision();
    for (file, document) in [
        ("sources/app.yaml", json!({"kind": "http", "write_key": "canary-hunter2-canary"})),
        ("destinations/far.yaml", json!({"kind": "postgres", "host": "far", "password": "canary-hunter2-canary"})),
    ] {
        let reply = applied.apply(&FolderFiles::from([(file.to_owned(), document)]), &json!({}));
        let answer: Value = reply.json();
        assert_eq!(reply.status, 422, "{file}: {answer}");
        assert!(!answer.to_string().contains("hunter2"), "{answer}");
    }
    assert_eq!(applied.revision(), before);
    applied.applied(&tables([("geo", "a")]), &json!({}));
    applied.server.stop();
}
