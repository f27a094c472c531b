//! Clients that generators make of the document: their types are checked, and each goes one way through the API.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::served;
use crate::api::sdk_cache;
use crate::conformance::skipped;

/// Has a client generated in a language, checked and run; what it did is done.
#[track_caller]
fn generated(language: &str, names: [&str; 3]) {
    let group = format!("api-{language}");
    if !sdk_cache().join(&group).join("stamp").is_file() {
        skipped(&group, &format!("it is not installed; `tests/sdk/setup {group}` says why"));
        return;
    }
    let (_workspace, server, admin) = served();
    let dir = tempfile::tempdir().unwrap();
    let document = dir.path().join("openapi.json");
    std::fs::write(&document, admin.get("/api/openapi.json").to_string()).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk").join(&group);
    let output = Command::new(folder.join("flow"))
        .current_dir(dir.path())
        .env("TIDEGATE_SDK_CACHE", sdk_cache())
        .env("TIDEGATE_API_URL", format!("http://{}", server.admin))
        .env("TIDEGATE_API_TOKEN", &admin.token)
        .env("TIDEGATE_API_DOCUMENT", &document)
        .output()
        .unwrap();
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}{messages}", String::from_utf8_lossy(&output.stdout));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["made"], json!(names), "{messages}");
    for name in names {
        let gone = admin.ask("GET", &format!("/api/v1/objects/source/{name}"), &Value::Null);
        assert_eq!(gone.code(), "404 no-such-object", "{name}");
    }
    let entries = admin.get("/api/v1/audit?action=deleted&kind=source");
    assert_eq!(entries["entries"].as_array().unwrap().len(), 3, "{entries}");
    server.stop();
}

#[test]
fn a_typescript_client_that_is_generated_makes_lists_changes_and_deletes() {
    generated("typescript", ["ts-a", "ts-b", "ts-c"]);
}

#[test]
fn a_python_client_that_is_generated_makes_lists_changes_and_deletes() {
    generated("python", ["py-a", "py-b", "py-c"]);
}
