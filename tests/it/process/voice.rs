//! What a server says about itself at the level that everybody has.

use std::net::TcpListener;

use serde_json::{Value, json};

use super::Running;
use crate::delivery::Route;
use crate::support::Workspace;
use crate::support::far::{Act, Far};
use crate::support::waiting::PATIENCE;

fn lines<'a>(log: &'a str, words: &str) -> Vec<&'a str> {
    log.lines().filter(|line| line.contains(words)).collect()
}

#[test]
fn a_start_a_recovery_and_a_stop_are_a_line_each() {
    let workspace = Workspace::new();
    let mut server = Running::start(&workspace, &[]);
    server.batch(&workspace.write_key, &[json!({"type": "page", "messageId": "a"})]);
    server.signal("TERM");
    server.ends_within(PATIENCE);
    let log = server.log();
    let started = lines(&log, "tidegate has started");
    assert!(
        started.len() == 1
            && started[0].contains("INFO")
            && started[0].contains(concat!("version=", "\"", env!("CARGO_PKG_VERSION")))
            && started[0].contains(&format!("address={}", server.address))
            && started[0].contains(&format!("data={}", workspace.data().display())),
        "{log}"
    );
    let stopping = lines(&log, "stopping:");
    assert!(stopping.len() == 1 && stopping[0].contains("INFO") && stopping[0].contains("SIGTERM"), "{log}");
    let stopped = lines(&log, "tidegate has stopped");
    assert!(stopped.len() == 1 && stopped[0].contains("records_waiting=0"), "{log}");
    assert_eq!(lines(&log, "the log is open").len(), 1, "{log}");
    assert!(!log.contains('\u{1b}'), "colours in a file: {log}");
    // As JSON, the lines are the same.
    let mut server = Running::start(&workspace, &["--log-json"]);
    server.signal("TERM");
    server.ends_within(PATIENCE);
    let log = server.log();
    let messages: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let recovered = messages.iter().find(|line| line["fields"]["message"] == "the log is open").unwrap();
    assert_eq!((&recovered["level"], &recovered["fields"]["records"]), (&json!("INFO"), &json!(1)), "{log}");
}

#[test]
fn a_sync_that_fails_says_so_once() {
    // A port that refuses.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let workspace = Workspace::new();
    workspace.write("destinations/ch.yaml", &format!("kind: clickhouse\nurl: http://127.0.0.1:{port}\n"));
    workspace.write("syncs/web-to-ch.yaml", "source: web\ndestination: ch\n");
    // Attempts are for those who look closely.
    let mut server = Running::start(&workspace, &["--log", "tidegate=debug"]);
    server.batch(&workspace.write_key, &[json!({"type": "page", "messageId": "a"})]);
    server.wait_for("several attempts", |server| {
        let attempts = lines(&server.log(), "DEBUG").iter().filter(|line| line.contains("retry_in_ms")).count();
        (attempts >= 3).then_some(())
    });
    assert!(workspace.status()["syncs"]["web-to-ch"]["failure"].is_string());
    let log = server.log();
    let said = lines(&log, "the sync fails");
    assert!(said.len() == 1 && said[0].contains("web-to-ch") && said[0].contains("tries again"), "{log}");
}

#[test]
fn a_sync_that_fails_and_heals_is_two_lines() {
    let workspace = Workspace::new();
    let mut server = Running::start(&workspace, &[]);
    server.batch(&workspace.write_key, &[json!({"type": "page", "messageId": "a"})]);
    server.wait_for("the first event is delivered", |_| {
        (workspace.status()["syncs"]["web-to-warehouse"]["delivered"] == 1).then_some(())
    });
    // Another program holds the warehouse's lock.
    let other = rusqlite::Connection::open(workspace.data().join("warehouse.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    server.batch(&workspace.write_key, &[json!({"type": "page", "messageId": "b"})]);
    server.wait_for_line("the sync fails");
    other.execute_batch("ROLLBACK").unwrap();
    server.wait_for_line("the sync has healed");
    let log = server.log();
    let failed = lines(&log, "the sync fails");
    assert!(failed.len() == 1 && failed[0].contains("ERROR") && failed[0].contains("web-to-warehouse"), "{log}");
    let healed = lines(&log, "the sync has healed");
    assert!(healed.len() == 1 && healed[0].contains("INFO") && healed[0].contains("web-to-warehouse"), "{log}");
    assert!(healed[0].contains("attempts=") && healed[0].contains("records_waiting=0"), "{log}");
    assert_eq!(workspace.warehouse().count("pages"), 2);
}

#[test]
fn a_destination_that_fails_and_heals_is_two_lines() {
    let broken = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let far = {
        let broken = std::sync::Arc::clone(&broken);
        Far::new(move |_| Act::status(if broken.load(std::sync::atomic::Ordering::SeqCst) { 500 } else { 200 }))
    };
    let route = Route::new(&far);
    let mut server = Running::start(&route.workspace, &[]);
    server.batch(&route.workspace.write_key, &[json!({"type": "page", "messageId": "a"})]);
    server.wait_for_line("the destination fails");
    let tries = far.seen().len();
    server.wait_for("it is tried again", |_| (far.seen().len() >= tries + 3).then_some(()));
    broken.store(false, std::sync::atomic::Ordering::SeqCst);
    server.wait_for_line("the destination has healed");
    let log = server.log();
    assert_eq!(lines(&log, "the destination fails").len(), 1, "{log}");
    let healed = lines(&log, "the destination has healed");
    assert!(healed.len() == 1 && healed[0].contains("INFO") && healed[0].contains("attempts="), "{log}");
}
