//! Each file of the data directory says which format it has; a later one is refused, and nothing is changed.

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{check_deep, files, refused, served};
use crate::support::Workspace;

/// Changes something, and the server refuses to start with words about it; nothing else in the directory changes.
fn refuses(change: impl FnOnce(&Workspace), words: &[&str]) {
    let workspace = served(2);
    change(&workspace);
    let before = files(&workspace.data());
    let said = refused(&workspace);
    for words in words.iter().chain(&["newer build", "othing was changed"]) {
        assert!(said.contains(words), "{words}: {said}");
    }
    let after = files(&workspace.data());
    let changed: Vec<&String> = before.keys().filter(|name| after.get(*name) != before.get(*name)).collect();
    assert!(changed.is_empty(), "{changed:?} changed");
}

fn sql(workspace: &Workspace, file: &str, statements: &str) {
    let connection = Connection::open(workspace.data().join(file)).unwrap();
    connection.execute_batch(statements).unwrap();
}

fn write(workspace: &Workspace, name: &str, text: &Value) {
    let path = workspace.data().join(name);
    std::fs::write(path, text.to_string()).unwrap();
}

#[test]
fn a_newer_state_is_refused() {
    for format in ["11", "111", "103"] {
        let newer = format!("UPDATE meta SET value = {format} WHERE key = 'format'");
        let says = format!("format {format}");
        refuses(|workspace| sql(workspace, "state.db", &newer), &["state.db", &says, "up to 10"]);
    }
}

#[test]
fn a_newer_dedup_index_is_refused() {
    let newer = |workspace: &Workspace| {
        let path = workspace.data().join("dedup/manifest");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[8] = 2;
        let sum = crc32c::crc32c(&bytes[..12]).to_le_bytes();
        bytes[12..16].copy_from_slice(&sum);
        std::fs::write(path, bytes).unwrap();
    };
    refuses(newer, &["dedup/manifest", "format 2", "up to 1"]);
}

#[test]
fn a_newer_ledger_stops_its_sync_and_is_not_written_to() {
    let workspace = served(2);
    sql(&workspace, "warehouse.db", "UPDATE _tidegate_ledger SET format = 3");
    let before = std::fs::read(workspace.data().join("warehouse.db")).unwrap();
    let server = workspace.serve();
    says(&workspace, super::SYNC, &["warehouse.db", "format 3", "up to 2", "newer build", "nothing was changed"]);
    server.stop();
    assert_eq!(std::fs::read(workspace.data().join("warehouse.db")).unwrap(), before);
}

/// Waits until the failure of the sync has all of these words.
fn says(workspace: &Workspace, sync: &str, words: &[&str]) {
    let is_said = |status: &Value| {
        let failure = status["syncs"][sync]["failure"].as_str().unwrap_or_default();
        words.iter().all(|words| failure.contains(words))
    };
    super::wait(workspace, "the sync says so", is_said);
}

#[test]
fn a_newer_id_is_refused() {
    let newer = json!({"format": 2, "name": "x"});
    refuses(|workspace| write(workspace, "id", &newer), &["/id", "format 2", "up to 1"]);
}

#[test]
fn newer_pointers_are_refused() {
    let newer = json!({"format": 3, "shelves": []});
    refuses(|workspace| write(workspace, "store/pointers.json", &newer), &["pointers.json", "format 3", "up to 2"]);
}

#[test]
fn newer_metadata_of_a_version_is_refused() {
    let name = format!("store/versions/{}.json", "a".repeat(64));
    let newer = json!({"format": 3, "about": "something else"});
    refuses(|workspace| write(workspace, &name, &newer), &["versions/aaa", "format 3", "up to 2"]);
}

#[test]
fn newer_findings_are_refused() {
    let newer = json!({"format": 2, "found": "elsewhere"});
    refuses(|workspace| write(workspace, "findings.json", &newer), &["findings.json", "format 2", "up to 1"]);
}

#[test]
fn a_newer_report_of_what_runs_is_refused() {
    let newer = json!({"format": 2, "runs": "elsewhere"});
    refuses(|workspace| write(workspace, "running.json", &newer), &["running.json", "format 2", "up to 1"]);
}

#[test]
fn a_newer_file_of_syncs_that_drain_is_refused() {
    let newer = json!({"format": 2, "drains": "elsewhere"});
    refuses(|workspace| write(workspace, "endings.json", &newer), &["endings.json", "format 2", "up to 1"]);
}

#[test]
fn a_newer_file_of_streams_is_told_by_the_deep_check_alone() {
    let workspace = Workspace::new();
    workspace.serve().stop();
    write(&workspace, "streams.json", &json!({"format": 2, "at": "", "streams": []}));
    let (code, answer) = check_deep(&workspace);
    let said = answer.to_string();
    assert!(code == Some(1) && said.contains("streams.json") && said.contains("up to 1"), "{said}");
    // It decides nothing, and the next server writes it anew.
    workspace.serve().stop();
}

#[test]
fn a_newer_file_of_how_ports_speak_tls_is_told_by_the_deep_check_alone() {
    let workspace = Workspace::new();
    workspace.serve().stop();
    write(&workspace, "tls.json", &json!({"format": 2, "at": "", "ports": []}));
    let (code, answer) = check_deep(&workspace);
    let said = answer.to_string();
    assert!(code == Some(1) && said.contains("tls.json") && said.contains("up to 1"), "{said}");
    // It decides nothing, and the next server takes it away.
    workspace.serve().stop();
}

#[test]
fn a_newer_admin_token_is_refused() {
    let newer = json!({"format": 2, "argon2": "..."});
    refuses(|workspace| write(workspace, "admin.json", &newer), &["admin.json", "format 2", "up to 1"]);
}

#[test]
fn a_newer_catalog_is_refused() {
    let newer = "INSERT INTO migration (n, sha256, at_us) VALUES (4, 'x', 0)";
    refuses(|workspace| sql(workspace, "catalog.db", newer), &["catalog.db", "4 migrations", "knows 3"]);
}

#[test]
fn a_newer_lake_stops_its_sync_and_is_not_written_to() {
    let workspace = Workspace::new();
    workspace.write("destinations/lake.yaml", "kind: lake\n");
    workspace.write("syncs/web-to-lake.yaml", "source: web\ndestination: lake\nbatch: {age_max: 100 ms}\n");
    let server = workspace.serve();
    super::send(&server, super::ids("m", 3));
    let done = |status: &Value| status["syncs"]["web-to-lake"]["delivered"] == 3;
    super::wait(&workspace, "the lake has them", done);
    server.stop();
    let root = find(&workspace, "latest.json");
    let newer = json!({"format": 2, "catalog": "elsewhere"}).to_string();
    std::fs::write(&root, &newer).unwrap();
    let server = workspace.serve();
    says(&workspace, "web-to-lake", &["latest.json", "format 2", "up to 1", "newer build"]);
    server.stop();
    assert_eq!(std::fs::read_to_string(&root).unwrap(), newer);
}

fn find(workspace: &Workspace, name: &str) -> std::path::PathBuf {
    let found = files(&workspace.data()).into_keys().find(|path| path.ends_with(name));
    workspace.data().join(found.unwrap_or_else(|| panic!("there is no {name}")))
}

#[test]
fn the_deep_check_names_each_format() {
    let workspace = served(2);
    let (code, answer) = check_deep(&workspace);
    assert_eq!(code, Some(0), "{answer:#}");
    for (file, format) in [
        ("/id", "1"),
        ("state.db", "10"),
        ("/dedup", "1"),
        ("warehouse.db", "2"),
        ("store", "1"),
        ("admin.json", "1"),
        ("catalog.db", "3"),
    ] {
        let found =
            answer["files"].as_array().unwrap().iter().find(|found| found["file"].as_str().unwrap().ends_with(file));
        assert_eq!(found.unwrap()["format"], format, "{file}: {answer:#}");
    }
}
