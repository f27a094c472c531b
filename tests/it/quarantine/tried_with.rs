//! Quarantined events are tried with what another folder says, and what that changes is shown.

use std::process::Output;

use serde_json::{Value, json};

use super::{drained, quarantine, rule, shop};
use crate::support::admin::Admin;
use crate::support::{Server, Workspace, guests, run};

/// `tidegate quarantine try --with` this folder.
fn tried_with(server: &Server, token: &str, folder: &std::path::Path, more: &[&str]) -> Output {
    let url = format!("http://{}", server.admin);
    let with = ["quarantine", "try", "--source", "web", "--with", folder.to_str().unwrap()];
    run(&[&with[..], &["--server", &url, "--token", token], more].concat())
}

fn answer(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A folder with these files.
fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let settings: (&str, &[u8]) = ("tidegate.yaml", b"{}");
    for (name, content) in std::iter::once(&settings).chain(files) {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    dir
}

#[test]
fn a_contract_of_another_folder_is_tried_and_nothing_is_changed() {
    let workspace = shop();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    quarantine(&workspace, &server, 0..3);
    let domain = b"name: Shop\nonUndeclaredSchema: ALLOW_EVENT\n";
    let with = |kind: &str| {
        let rule = rule(kind);
        folder(&[("events/domains/shop/domain.yaml", domain), ("events/domains/shop/strict.yaml", rule.as_bytes())])
    };
    let mended = with("string");
    let tried = answer(&tried_with(&server, &token, mended.path(), &["--json"]));
    assert_eq!((&tried["now"], &tried["summary"]), (&json!({"quarantined": 3}), &json!({"accepted": 3})), "{tried}");
    let changed = tried["changed"].as_array().unwrap();
    assert_eq!(changed.len(), 3, "{tried}");
    assert_eq!((&changed[0]["now"], &changed[0]["then"]), (&json!("quarantined"), &json!("accepted")), "{tried}");
    let shown = tried_with(&server, &token, mended.path(), &[]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("3 quarantined") && shown.contains("3 accepted"), "{shown}");
    // What says the same changes nothing.
    let same = with("integer");
    let tried = answer(&tried_with(&server, &token, same.path(), &["--json"]));
    assert_eq!((&tried["changed"], &tried["summary"]), (&json!([]), &json!({"quarantined": 3})), "{tried}");
    let plain = admin.post("/api/v1/quarantine/try", &json!({"entries": {"all": true}})).json();
    assert_eq!(plain["summary"], json!({"quarantined": 3}), "{plain}");
    assert_eq!(workspace.status()["quarantine"]["events"], 3);
    server.stop();
}

#[test]
fn a_function_of_another_folder_is_sent_and_tried() {
    let workspace = Workspace::new();
    let component = guests::component("hostile/attacks");
    workspace.write("functions/f.yaml", &format!("component: {}\nsettings: {{}}\n", component.display()));
    workspace.append("sources/web.yaml", "\nfunctions: [f]\n");
    let token = workspace.admin_token();
    let server = workspace.serve();
    let event = json!({"type": "track", "event": "Seen", "messageId": "m", "userId": "u", "properties": {"attack": "bad-json"}});
    assert_eq!(server.batch(&[event]).status, 200);
    drained(&workspace);
    let other = std::fs::read(guests::component("transform/redact-pii")).unwrap();
    let function = b"component: functions/other.wasm\nsettings: {fields: {email: drop}}\n";
    let folder = folder(&[("functions/f.yaml", function), ("functions/other.wasm", &other)]);
    let tried = answer(&tried_with(&server, &token, folder.path(), &["--json"]));
    assert_eq!((&tried["now"], &tried["summary"]), (&json!({"quarantined": 1}), &json!({"accepted": 1})), "{tried}");
    server.stop();
    assert_eq!(workspace.quarantined(), ["malformed-json"], "it is tried, and nothing else");
}

#[test]
fn one_object_and_a_folder_are_not_tried_together() {
    let workspace = shop();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    let asked = json!({"entries": {"all": true}, "folder": {"documents": []},
        "change": {"kind": "sync", "name": "web-to-warehouse", "spec": {}}});
    assert_eq!(admin.post("/api/v1/quarantine/try", &asked).code(), "422 one-of-both");
    let destination = json!({"kind": "destination", "key": "far", "document": {"kind": "sqlite", "path": "x.db"}});
    let asked = json!({"entries": {"all": true}, "folder": {"documents": [destination]}});
    assert_eq!(admin.post("/api/v1/quarantine/try", &asked).code(), "422 not-this-way");
    server.stop();
}
