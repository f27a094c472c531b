//! A file is lost, put back from a backup, or is another directory's.

use std::path::PathBuf;

use serde_json::json;

use super::{SYNC, delivered, drained, each_once, event, ids, rebuild, refused, send, served};
use crate::delivery::Route;
use crate::support::Workspace;
use crate::support::far::{Act, Far};

fn remove(workspace: &Workspace, name: &str) {
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(workspace.data().join(format!("{name}{suffix}")));
    }
}

fn copied(workspace: &Workspace, name: &str) -> PathBuf {
    let copy = workspace.dir.path().join(format!("copy-{name}"));
    std::fs::copy(workspace.data().join(name), &copy).unwrap();
    copy
}

fn put_back(workspace: &Workspace, name: &str, copy: &PathBuf) {
    remove(workspace, name);
    std::fs::copy(copy, workspace.data().join(name)).unwrap();
}

/// The log of a server that ran until everything was delivered.
fn ran(workspace: &Workspace) -> String {
    let server = workspace.serve();
    drained(workspace);
    server.stop()
}

#[test]
fn a_lost_state_is_made_anew_from_the_log_and_the_start_says_what_follows() {
    let workspace = served(30);
    remove(&workspace, "state.db");
    let server = workspace.serve();
    // A retry of an event from before: the dedup window came again from the log.
    send(&server, ids("m", 5).chain(ids("new", 5)));
    let status = drained(&workspace);
    let said = server.stop();
    assert!(said.contains("state.db was lost and is made anew from the log, from offset 0"), "{said}");
    each_once(&workspace, ids("m", 30).chain(ids("new", 5)));
    assert_eq!(status["sources"]["web"]["duplicates"], 5, "{status}");
    assert_eq!(workspace.quarantined().len(), 2, "what the contract of an event quarantines comes again");
    // Once is enough.
    assert!(!ran(&workspace).contains("was lost"));
}

#[test]
fn an_older_copy_of_the_state_is_told_and_doubles_nothing() {
    let workspace = served(10);
    let copy = copied(&workspace, "state.db");
    let server = workspace.serve();
    send(&server, ids("later", 20));
    drained(&workspace);
    server.stop();
    put_back(&workspace, "state.db", &copy);
    let server = workspace.serve();
    send(&server, ids("later", 20).chain(ids("new", 3)));
    let status = drained(&workspace);
    let said = server.stop();
    assert!(said.contains("state.db is an older copy: it has refined the log to 12"), "{said}");
    each_once(&workspace, ids("m", 10).chain(ids("later", 20)).chain(ids("new", 3)));
    assert_eq!(status["sources"]["web"]["duplicates"], 20, "{status}");
    assert!(!ran(&workspace).contains("older copy"));
}

#[test]
fn a_log_that_is_gone_is_an_error_and_new_records_do_not_take_old_offsets() {
    let workspace = served(10);
    std::fs::remove_dir_all(workspace.data().join("log")).unwrap();
    let server = workspace.serve();
    send(&server, ids("new", 5));
    drained(&workspace);
    let said = server.stop();
    assert!(said.contains("the log ends at offset 0") && said.contains("is gone or is another one"), "{said}");
    assert!(!said.contains("were trimmed away"), "{said}");
    each_once(&workspace, ids("m", 10).chain(ids("new", 5)));
    // With the state gone as well, the warehouse's ledger still knows.
    std::fs::remove_dir_all(workspace.data().join("log")).unwrap();
    remove(&workspace, "state.db");
    let server = workspace.serve();
    send(&server, ids("newer", 5));
    drained(&workspace);
    let said = server.stop();
    assert!(said.contains("state.db was lost") && said.contains("the ledger of sync web-to-warehouse"), "{said}");
    each_once(&workspace, ids("m", 10).chain(ids("new", 5)).chain(ids("newer", 5)));
}

#[test]
fn a_warehouse_that_is_gone_or_older_gets_what_the_log_keeps() {
    let workspace = served(10);
    let copy = copied(&workspace, "warehouse.db");
    let server = workspace.serve();
    send(&server, ids("later", 5));
    drained(&workspace);
    server.stop();
    put_back(&workspace, "warehouse.db", &copy);
    assert_eq!(delivered(&workspace).len(), 10);
    let said = ran(&workspace);
    assert!(said.contains("the warehouse is an older copy; the events since are delivered again"), "{said}");
    each_once(&workspace, ids("m", 10).chain(ids("later", 5)));
    remove(&workspace, "warehouse.db");
    let said = ran(&workspace);
    assert!(said.contains("does not know it") && said.contains("from offset 0 on, which is everything"), "{said}");
    each_once(&workspace, ids("m", 10).chain(ids("later", 5)));
    assert!(!ran(&workspace).contains("does not know it"));
}

#[test]
fn the_state_of_another_directory_is_refused() {
    let (ours, theirs) = (served(3), served(4));
    let kept = copied(&ours, "state.db");
    std::fs::copy(theirs.data().join("state.db"), ours.data().join("state.db")).unwrap();
    let before = super::files(&ours.data());
    let said = refused(&ours);
    assert!(said.contains("state.db: this state belongs to another data directory"), "{said}");
    assert_eq!(super::files(&ours.data()), before);
    put_back(&ours, "state.db", &kept);
    ran(&ours);
    each_once(&ours, ids("m", 3));
}

#[test]
fn a_damaged_state_is_refused_and_made_anew_when_told_so() {
    let workspace = served(20);
    let path = workspace.data().join("state.db");
    let mut bytes = std::fs::read(&path).unwrap();
    // The count of free pages in the header: SQLite opens the file and works with it.
    bytes[39] ^= 0x10;
    std::fs::write(&path, &bytes).unwrap();
    let said = refused(&workspace);
    for words in ["state.db: the file is damaged", "dedup window", "--rebuild-state", "check --deep"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "nothing was changed");
    let server = rebuild(&workspace);
    send(&server, ids("m", 5).chain(ids("new", 5)));
    drained(&workspace);
    let said = server.stop();
    assert!(said.contains("state.db was lost and is made anew"), "{said}");
    each_once(&workspace, ids("m", 20).chain(ids("new", 5)));
    assert_eq!(workspace.quarantined().len(), 2);
    let names: Vec<String> = super::files(&workspace.data()).into_keys().collect();
    let kept = names
        .iter()
        .filter(|name| name.starts_with("state.db.damaged-") && !name.contains("-wal") && !name.contains("-shm"));
    assert_eq!(kept.count(), 1, "{names:?}");
    assert_eq!(super::check_deep(&workspace).0, Some(0));
}

#[test]
fn a_file_too_large_for_the_start_is_checked_behind_it_and_the_status_shows_what_was_found() {
    let workspace = served(5);
    let sql = |statements: &str| {
        let state = rusqlite::Connection::open(workspace.data().join("state.db")).unwrap();
        state.execute_batch(statements).unwrap();
    };
    // A NULL where the table allows none: it is there after some damage, and nothing of the server stumbles over it.
    let allow = |from: &str, to: &str| {
        format!(
            "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, '{from}', '{to}')
             WHERE name = 'comparisons'; PRAGMA writable_schema = RESET;"
        )
    };
    sql(&allow("different INTEGER NOT NULL", "different INTEGER"));
    sql("INSERT INTO comparisons VALUES ('f', 'a', 'b', 1, NULL, '')");
    sql(&allow("different INTEGER", "different INTEGER NOT NULL"));
    let server = workspace.serve_with(&["check_in_background=return"]);
    let status = super::wait(&workspace, "the finding", |status| status["damage"] != json!([]));
    let found = &status["damage"][0];
    assert!(found["file"].as_str().unwrap().ends_with("state.db"), "{status}");
    assert!(found["remedy"].as_str().unwrap().contains("--rebuild-state"), "{status}");
    let said = server.stop();
    assert!(said.contains("a file of the data directory is damaged"), "{said}");
    assert!(refused(&workspace).contains("NULL value in comparisons"), "a small file is checked before the start");
    sql("DELETE FROM comparisons");
    let server = workspace.serve();
    super::wait(&workspace, "no finding", |status| status["damage"] == json!([]));
    server.stop();
}

#[test]
fn a_damaged_warehouse_holds_its_sync_and_nobody_else_until_it_is_mended() {
    let workspace = served(10);
    let path = workspace.data().join("warehouse.db");
    let whole = std::fs::read(&path).unwrap();
    let mut bytes = whole.clone();
    bytes[39] ^= 0x10;
    std::fs::write(&path, &bytes).unwrap();
    let server = workspace.serve();
    send(&server, ids("new", 5));
    let failing = |status: &serde_json::Value| {
        status["syncs"][SYNC]["failure"].as_str().is_some_and(|failure| failure.contains("the file is damaged"))
    };
    super::wait(&workspace, "the sync says so", failing);
    server.stop();
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "nothing was written to it");
    remove(&workspace, "warehouse.db");
    std::fs::write(&path, whole).unwrap();
    let said = ran(&workspace);
    assert!(!said.contains("the file is damaged"), "{said}");
    each_once(&workspace, ids("m", 10).chain(ids("new", 5)));
}

#[test]
fn plugins_get_nothing_a_second_time_unless_somebody_says_so() {
    let far = Far::new(|_| Act::status(200));
    let route = Route::new(&far);
    let server = route.workspace.serve();
    assert_eq!(server.batch(&[event("a"), event("b")]).status, 200);
    route.wait_for_end(2);
    server.stop();
    let seen = crate::delivery::ids(&far.seen()).len();
    assert_eq!(seen, 2);
    remove(&route.workspace, "state.db");
    let said = refused(&route.workspace);
    assert!(
        said.contains("web-to-crm") && said.contains("a second time") && said.contains("--rebuild-state"),
        "{said}"
    );
    // Whatever is tried in between, it stays so.
    assert!(refused(&route.workspace).contains("a second time"));
    assert_eq!(crate::delivery::ids(&far.seen()).len(), 2);
    let server = rebuild(&route.workspace);
    route.wait_for_end(2);
    let said = server.stop();
    assert!(said.contains("the plugins of web-to-crm get again the events"), "{said}");
    assert_eq!(crate::delivery::ids(&far.seen()).len(), 4);
}
