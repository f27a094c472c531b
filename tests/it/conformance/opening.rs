//! A warehouse that cannot be opened: the server starts, the others get their events, and it heals.

use serde_json::{Value, json};

use crate::support::Workspace;

#[test]
fn a_sqlite_path_in_no_folder_is_in_the_status_and_heals() {
    let workspace = Workspace::new();
    let folder = workspace.path().join("nowhere");
    let file = folder.join("other.db");
    workspace.write("destinations/other.yaml", &format!("kind: sqlite\npath: {}\n", file.display()));
    workspace.write("syncs/web-to-other.yaml", "source: web\ndestination: other\n");
    let server = workspace.serve();
    let pages: Vec<Value> = (0..3).map(|n| json!({"type": "page", "messageId": format!("m{n}")})).collect();
    assert_eq!(server.batch(&pages).status, 200);
    let has_all = |sync: &'static str| move |status: &Value| status["syncs"][sync]["delivered"] == 3;
    crate::reliability::wait(&workspace, "the other sync delivers", has_all("web-to-warehouse"));
    let says = |status: &Value| {
        let failure = status["syncs"]["web-to-other"]["failure"].as_str().unwrap_or_default();
        failure.contains("nowhere/other.db") && failure.contains("create the directory")
    };
    crate::reliability::wait(&workspace, "the sync says what is missing", says);
    std::fs::create_dir(&folder).unwrap();
    crate::reliability::wait(&workspace, "it has everything", has_all("web-to-other"));
    let status = workspace.status();
    assert!(status["syncs"]["web-to-other"]["failure"].is_null(), "{status}");
    server.stop();
    let connection = rusqlite::Connection::open(&file).unwrap();
    let count: i64 = connection.query_row("SELECT count(*) FROM pages", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 3);
}
