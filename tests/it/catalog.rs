//! The catalog of a server: made at the first start, and told of the folder at each.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::admin::Admin;
use crate::support::{Workspace, run};

const CANARY: &str = "canary-hunter2-canary";

fn revision(workspace: &Workspace) -> u64 {
    workspace.status()["catalog"]["revision"].as_u64().unwrap()
}

/// Whether any file below a folder holds these bytes; the folder of the workspace's own files is passed over.
fn holds(folder: &Path, words: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holds(&path, words));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            let is_there = bytes.windows(words.len()).any(|window| window == words.as_bytes());
            found.extend(is_there.then(|| path.display().to_string()));
        }
    }
    found
}

#[test]
fn a_first_start_makes_a_key_a_catalog_and_a_first_admin_and_shows_their_token_once() {
    let workspace = Workspace::new();
    let said = workspace.serve().stop();
    let tokens: Vec<&str> = said.split_whitespace().filter(|word| word.starts_with("tgp_")).collect();
    assert_eq!(tokens.len(), 1, "{said}");
    let key = workspace.data().join("instance.key");
    let found = std::fs::metadata(&key).unwrap();
    assert_eq!((found.len(), found.permissions().mode() & 0o777), (32, 0o600));
    let bytes = std::fs::read(&key).unwrap();
    let of_catalog = std::fs::metadata(workspace.data().join("catalog.db")).unwrap();
    assert_eq!(of_catalog.permissions().mode() & 0o077, 0);
    let again = workspace.serve().stop();
    assert!(!again.contains("tgp_"), "{again}");
    assert_eq!(std::fs::read(&key).unwrap(), bytes);
}

#[test]
fn the_folder_is_in_the_catalog_and_only_what_differs_makes_a_revision() {
    let workspace = Workspace::new();
    workspace.serve().stop();
    let first = revision(&workspace);
    assert!(first > 0);
    workspace.serve().stop();
    assert_eq!(revision(&workspace), first, "nothing was different");
    workspace.append("syncs/web-to-warehouse.yaml", "\nfilter: {types: [track]}\n");
    workspace.serve().stop();
    assert_eq!(revision(&workspace), first + 1);
    workspace.write("sources/app.yaml", "kind: http\nwrite_key: 0123456789abcdef-app\n");
    workspace.serve().stop();
    assert_eq!(revision(&workspace), first + 2);
    std::fs::remove_file(workspace.path().join("sources/app.yaml")).unwrap();
    workspace.serve().stop();
    assert_eq!(revision(&workspace), first + 3, "what is in no file any more is gone");
}

#[test]
fn a_folder_that_the_catalog_does_not_take_keeps_nothing_from_running() {
    let workspace = Workspace::new();
    workspace.serve().stop();
    let before = revision(&workspace);
    // For the catalog it names a secret that is not there; for the server it is a description.
    let domain = "name: Shop\nonUndeclaredSchema: ALLOW_EVENT\ndescription: \"secret:nosuch\"\n";
    workspace.write("events/domains/shop/domain.yaml", domain);
    let server = workspace.serve();
    let reply = server.batch(&[serde_json::json!({"type": "track", "event": "A", "userId": "u", "messageId": "m"})]);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let said = server.stop();
    assert!(said.contains("the folder was not applied to the catalog"), "{said}");
    assert_eq!(revision(&workspace), before);
}

#[test]
fn neither_write_keys_nor_passwords_of_the_folder_are_in_the_data_directory() {
    let workspace = Workspace::new();
    let canary_key = format!("{CANARY}-key");
    workspace.write("sources/web.yaml", &format!("kind: http\nwrite_key: {canary_key}\n"));
    let other = format!("kind: postgres\nurl: postgres://ann:{CANARY}@127.0.0.1:1/shop\nsslmode: disable\n");
    workspace.write("destinations/far.yaml", &other);
    workspace.serve().stop();
    assert_eq!(holds(&workspace.data(), CANARY), Vec::<String>::new());
}

#[test]
fn a_start_without_the_instance_key_is_refused_and_names_what_to_do() {
    let workspace = Workspace::new();
    workspace.serve().stop();
    let key = workspace.data().join("instance.key");
    let bytes = std::fs::read(&key).unwrap();
    std::fs::remove_file(&key).unwrap();
    let said = workspace.try_serve_with(&[]).err().unwrap();
    assert!(said.contains("instance.key") && said.contains("Nothing was changed"), "{said}");
    assert!(!key.exists(), "another key would make the catalog unreadable");
    std::fs::write(&key, [7; 32]).unwrap();
    let said = workspace.try_serve_with(&[]).err().unwrap();
    assert!(said.contains("key"), "{said}");
    std::fs::write(&key, bytes).unwrap();
    workspace.serve().stop();
}

#[test]
fn an_instance_key_that_the_workspace_names_stays_where_it_is() {
    let workspace = Workspace::new();
    let key = workspace.dir.path().join("elsewhere.key");
    let setting = format!("instance_key: {{file: {}}}\n", key.display());
    workspace.write("tidegate.yaml", &setting);
    let check = || run(&["check", workspace.path().to_str().unwrap(), "--json"]);
    let problems: Value = serde_json::from_slice(&check().stdout).unwrap();
    assert!(problems["problems"][0]["message"].as_str().unwrap().contains("elsewhere.key"), "{problems}");
    std::fs::write(&key, "short").unwrap();
    let problems: Value = serde_json::from_slice(&check().stdout).unwrap();
    assert!(problems["problems"][0]["message"].as_str().unwrap().contains("32 bytes"), "{problems}");
    std::fs::write(&key, format!("{}\n", "0f".repeat(32))).unwrap();
    workspace.serve().stop();
    assert!(!workspace.data().join("instance.key").exists());
    workspace.serve().stop();
}

#[test]
fn a_command_says_the_instance_key_and_one_that_fails_is_no_start() {
    let workspace = Workspace::new();
    let key = workspace.dir.path().join("elsewhere.key");
    std::fs::write(&key, format!("{}\n", "0f".repeat(32))).unwrap();
    workspace.write("tidegate.yaml", &format!("instance_key: {{command: [cat, {}]}}\n", key.display()));
    workspace.serve().stop();
    assert!(!workspace.data().join("instance.key").exists());
    workspace.serve().stop();
    std::fs::write(&key, CANARY).unwrap();
    let said = workspace.try_serve_with(&[]).err().unwrap();
    assert!(said.contains("instance_key") && said.contains("no key") && !said.contains(CANARY), "{said}");
    std::fs::remove_file(&key).unwrap();
    let said = workspace.try_serve_with(&[]).err().unwrap();
    assert!(said.contains("exit status") && said.contains("by hand"), "{said}");
    workspace.write("tidegate.yaml", "instance_key: {command: []}\n");
    let checked = run(&["check", workspace.path().to_str().unwrap(), "--json"]);
    let problems: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert!(problems["problems"][0]["fix"].as_str().unwrap().contains("command:"), "{problems}");
}

#[test]
fn another_instance_key_opens_what_the_one_before_has_sealed() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    let kept = admin.ask("PUT", "/api/v1/secrets/place", br#"{"value": "DATA/kept.db"}"#);
    assert_eq!(kept.status, 200, "{}", kept.text());
    let made = json!({"name": "kept", "spec": {"kind": "sqlite", "path": "secret:place"}});
    assert_eq!(admin.post("/api/v1/objects/destination", &made).status, 201);
    let new = workspace.dir.path().join("new.key");
    std::fs::write(&new, "0f".repeat(32)).unwrap();
    let (folder, file) = (workspace.path(), new.display().to_string());
    let rekey = || run(&["admin", "rekey", folder.to_str().unwrap(), "--new-key-file", &file, "--json"]);
    let busy = rekey();
    assert_eq!(busy.status.code(), Some(1), "a server is running");
    server.stop();
    let key = workspace.data().join("instance.key");
    let before = std::fs::read(&key).unwrap();
    for secrets in [1, 0] {
        let output = rekey();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&said["secrets"], &said["in_place"]), (&json!(secrets), &json!(true)), "{said}");
        assert_eq!(std::fs::read(&key).unwrap(), [0x0f; 32]);
    }
    let server = workspace.serve();
    assert_eq!(server.batch(&[json!({"type": "track", "event": "E"})]).status, 200, "write keys stay");
    let admin = Admin::new(&server, &token);
    let verdict = admin.post("/api/v1/audit/verify", &json!({})).json();
    assert_eq!(verdict["whole"], true, "{verdict}");
    assert_eq!(
        admin.ask("PUT", "/api/v1/secrets/place", br#"{"value": "DATA/kept.db"}"#).json()["objects"][0]["done"],
        "unchanged"
    );
    let running = admin.get("/api/v1/running");
    assert_eq!(running["behind"], json!([]), "{running}");
    server.stop();
    std::fs::write(&key, before).unwrap();
    let said = workspace.try_serve_with(&[]).err().unwrap();
    assert!(said.contains("sealed under the instance key"), "{said}");
    // Cut off before the file was written, the same again does the rest.
    assert!(rekey().status.success());
    workspace.serve().stop();
}
