//! A folder of 200 objects of every kind.

use serde_json::{Value, json};

use super::{AppliedServer, FolderFiles, read, table, write};
use crate::support::guests;

const OBJECTS: usize = 200;

/// The folder; `variant` is in everything that may be changed.
fn folder(variant: usize) -> FolderFiles {
    let mut files = FolderFiles::new();
    let mut add = |file: String, document: Value| assert!(files.insert(file, document).is_none());
    for n in 0..50 {
        let rate = format!("{}/s", 100 + n + variant);
        add(format!("sources/source-{n}.yaml"), json!({"kind": "http", "rate": rate, "rate_burst": "2 s"}));
    }
    for n in 0..20 {
        add(format!("destinations/place-{n}.yaml"), json!({"kind": "sqlite", "path": format!("DATA/place-{n}.db")}));
    }
    for n in 0..30 {
        let sync = json!({
            "source": format!("source-{n}"), "destination": format!("place-{}", n % 20), "schema": format!("of_{n}"),
            "filter": {"types": ["track", "page"], "except_events": [format!("Debug {variant}")]},
            "mapping": {"remove": ["/context/ip"], "rename": {"/properties/orderId": "/properties/order_id"}},
            "batch": {"events_max": 100 + n + variant},
        });
        add(format!("syncs/sync-{n}.yaml"), sync);
    }
    for n in 0..50 {
        let entries = json!({"one": n + variant, "text": "naïve 東京 \"q\"", "number": 1.50, "list": [1, null, true]});
        add(format!("lookups/table-{n}.yaml"), json!({"kind": "table", "entries": entries}));
    }
    for n in 0..2 {
        let moved = format!("/properties/moved_{variant}");
        let document = json!({
            "component": "rename.wasm", "lookups": {"renames": format!("table-{n}")},
            "settings": {"fields": {"/properties/sku": moved}},
        });
        add(format!("functions/rename-{n}.yaml"), document);
    }
    for n in 0..8 {
        let domain = format!("events/domains/domain-{n}");
        let sources = json!([format!("source-{n}")]);
        add(format!("{domain}/domain.yaml"), json!({"name": format!("Domain {n}.{variant}"), "sources": sources}));
        add(
            format!("{domain}/components/price.yaml"),
            json!({"name": "Price", "schema": {"type": "object", "properties": {"amount": {"type": "number"}}}}),
        );
        for event in 0..4 {
            let properties = json!({"price": {"$ref": "#/definitions/components/price"}, "n": {"type": "integer"}});
            let schema =
                json!({"type": "object", "properties": {"properties": {"type": "object", "properties": properties}}});
            let name = format!("Event {event}");
            add(
                format!("{domain}/event-{event}.yaml"),
                json!({"type": "track", "name": name, "onUndeclaredFields": "ALLOW_EVENT", "schema": schema}),
            );
        }
    }
    files
}

#[test]
fn two_hundred_objects_of_every_kind_are_exported_as_they_were_applied() {
    let applied = AppliedServer::new();
    let component = std::fs::read(guests::component("transform/rename")).unwrap();
    let sent = applied.kept(&component);
    let with_files = json!({"files": {"rename.wasm": sent}, "prune": true});
    let files = folder(0);
    assert_eq!(files.len(), OBJECTS);
    let answer = applied.applied(&files, &with_files);
    assert_eq!((answer["created"].as_u64(), answer["deleted"].as_u64()), (Some(OBJECTS as u64), Some(0)), "{answer}");
    assert_eq!(applied.workspace.status()["configuration"]["objects"], json!([]));

    let again = applied.applied(&files, &with_files);
    assert_eq!((&again["changes"], &again["revision"]), (&json!([]), &answer["revision"]), "{again}");
    let written = applied.elsewhere("written");
    write(&written, &files);
    std::fs::write(written.join("rename.wasm"), &component).unwrap();
    assert_eq!(applied.planned(&written, &["--prune"]), (Some(0), 0));

    let exported = read(&applied.exported("exported"));
    for (file, document) in &files {
        let found = exported.get(file).unwrap_or_else(|| panic!("{file} is not exported"));
        for (field, value) in document.as_object().unwrap() {
            assert_eq!(&found[field], value, "{file}: {field}");
        }
    }
    // Beside them are the three of the server's own folder.
    assert_eq!(exported.len(), OBJECTS + 3);
    assert_eq!(applied.planned(&applied.elsewhere("exported"), &[]), (Some(0), 0));

    // Every object of a kind that was changed is told, and nothing else.
    let other = folder(1);
    let differs = other.iter().filter(|(file, document)| files[*file] != **document).count();
    let answer = applied.applied(&other, &with_files);
    assert_eq!((answer["updated"].as_u64(), answer["created"].as_u64()), (Some(differs as u64), Some(0)), "{answer}");
    applied.applied(&files, &with_files);
    assert_eq!(applied.planned(&written, &["--prune"]), (Some(0), 0));
    applied.server.stop();
}

#[test]
fn a_table_keeps_every_digit_on_its_way() {
    let applied = AppliedServer::empty();
    let text = r#"{"kind": "table", "entries": {"price": 1.50, "large": 12345678901234567890, "small": 1e-300}}"#;
    let document: Value = serde_json::from_str(text).unwrap();
    let files = FolderFiles::from([
        ("lookups/digits.yaml".to_owned(), document.clone()),
        ("lookups/other.yaml".to_owned(), table("x")),
    ]);
    applied.applied(&files, &json!({}));
    let exported = read(&applied.exported("exported"));
    assert_eq!(exported["lookups/digits.yaml"], document);
    assert!(exported["lookups/digits.yaml"].to_string().contains("1.50"), "{exported:?}");
    applied.server.stop();
}
