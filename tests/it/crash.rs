//! The process dies at any instant; every event that was answered 200 is in the warehouse once.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::conformance::Rig;
use crate::conformance::sqlite::Sqlite;
use crate::support::http::{basic, try_request};
use crate::support::waiting::until;
use crate::support::{Server, Workspace};

mod warehouses;

/// Clients that send until the server is gone, and note what was answered.
fn send_until_gone(
    server: &Server,
    acked: &Arc<Mutex<HashSet<String>>>,
    cycle: u64,
) -> Vec<std::thread::JoinHandle<()>> {
    (0..4)
        .map(|client| {
            let (address, key, acked) = (server.address.clone(), basic(&server.key), Arc::clone(acked));
            std::thread::spawn(move || {
                for n in 0.. {
                    // Every third batch is sent twice, as a client does that lost its answer.
                    let ids: Vec<String> = (0..3).map(|e| format!("c{cycle}-{client}-{n}-{e}")).collect();
                    let events: Vec<_> = ids
                        .iter()
                        .map(|id| json!({"type": "track", "event": "Crash", "messageId": id, "properties": {"n": n, "cycle": cycle}}))
                        .collect();
                    let body = json!({ "batch": events }).to_string();
                    for _ in 0..if n % 3 == 0 { 2 } else { 1 } {
                        match try_request(&address, "POST", "/v1/batch", &[("authorization", &key)], body.as_bytes()) {
                            Ok(reply) if reply.status == 200 => acked.lock().unwrap().extend(ids.iter().cloned()),
                            _ => return,
                        }
                    }
                }
            })
        })
        .collect()
}

/// Everything answered is there, and nothing twice.
fn verify(workspace: &Workspace, acked: &HashSet<String>) {
    let warehouse = workspace.warehouse();
    for table in ["crash", "tracks"] {
        let ids = warehouse.rows(&format!("SELECT id FROM {table}"));
        let there: HashSet<&str> = ids.iter().map(String::as_str).collect();
        assert_eq!(ids.len(), there.len(), "{table} has an event twice");
        let lost: Vec<_> = acked.iter().filter(|id| !there.contains(id.as_str())).take(5).collect();
        assert!(lost.is_empty(), "answered with 200 and not in {table}: {lost:?}");
    }
    assert_eq!(warehouse.rows("PRAGMA integrity_check"), ["ok"]);
    workspace.conserves();
}

fn died_with_sqlite_at(failpoint: &str) {
    warehouses::died_at(&Sqlite::new().unwrap(), failpoint);
}

#[test]
fn killed_before_the_refined_log_range_is_committed() {
    died_with_sqlite_at("refine_before_commit=3*off->return");
}

#[test]
fn killed_between_the_refined_log_range_and_the_dedup_index() {
    died_with_sqlite_at("refine_after_commit=3*off->return");
}

#[test]
fn killed_in_the_middle_of_a_write_to_the_log() {
    died_with_sqlite_at("intake_write_torn=20*off->return");
}

#[test]
fn a_failed_fsync_ends_the_server_and_nothing_after_it_was_accepted() {
    let workspace = Workspace::new();
    let mut server = workspace.serve_with(&["intake_sync=2*off->return"]);
    let event = |n: u32| json!({"type": "track", "event": "Crash", "messageId": format!("m{n}")});
    assert_eq!(server.batch(&[event(0)]).status, 200);
    assert_eq!(server.batch(&[event(1)]).status, 200);
    let refused = server.batch(&[event(2)]);
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    assert_eq!(server.wait().code(), Some(1));
    drop(server);
    workspace.serve().stop();
    let acked = ["m0", "m1"].map(str::to_owned).into_iter().collect();
    verify(&workspace, &acked);
}

#[test]
fn a_full_disk_is_answered_with_503_and_reading_goes_on() {
    let workspace = Workspace::new();
    let server = workspace.serve_with(&["intake_write=1*off->2*return->off"]);
    let event = |n: u32| json!({"type": "track", "event": "Crash", "messageId": format!("m{n}")});
    assert_eq!(server.batch(&[event(0)]).status, 200);
    let refused = server.batch(&[event(1)]);
    assert_eq!((refused.code().as_str(), refused.header("retry-after")), ("503 disk-full", Some("30")));
    assert_eq!(server.batch(&[event(2)]).status, 503);
    // Space is back.
    assert_eq!(server.batch(&[event(1)]).status, 200);
    server.stop();
    verify(&workspace, &["m0", "m1"].map(str::to_owned).into_iter().collect());
    assert_eq!(workspace.warehouse().count("crash"), 2);
}

#[test]
fn sigterm_under_load_answers_what_it_took_and_delivers_it() {
    let workspace = Workspace::new();
    let server = workspace.serve();
    let acked = Arc::new(Mutex::new(HashSet::new()));
    let clients = send_until_gone(&server, &acked, 0);
    until("300 events are answered", || acked.lock().unwrap().len() >= 300);
    server.stop();
    for client in clients {
        client.join().unwrap();
    }
    verify(&workspace, &acked.lock().unwrap());
    assert_eq!(workspace.status()["syncs"]["web-to-warehouse"]["lag"], 0);
}
