//! What a server holds after many changes: as much as before them.

use serde_json::{Value, json};

use super::{FIRST, Reloading};
use crate::support::held::{HeldByProcess, open_files};
use crate::support::waiting::until;

/// Files of the log that the server has open.
fn open_segments(running: &Reloading) -> usize {
    let log = running.workspace.data().join("log").canonicalize().unwrap();
    let open = open_files(running.server.pid());
    open.iter().filter(|file| file.starts_with(&log) && file.extension().is_some_and(|found| found == "log")).count()
}

#[test]
fn a_sync_that_has_gone_leaves_no_place_in_the_log_open() {
    const BATCHES: u64 = 12;
    const BATCH: u64 = 40;
    let running = Reloading::new();
    // More than the server remembers, so that who comes later reads the log.
    let text = "x".repeat(8 << 10);
    for batch in 0..BATCHES {
        let event = |n: u64| {
            let id = format!("{batch}-{n}");
            json!({"type": "track", "event": "Large", "messageId": id, "userId": "u", "properties": {"text": text}})
        };
        let events: Vec<Value> = (0..BATCH).map(event).collect();
        assert_eq!(running.server.batch(&events).status, 200);
    }
    running.wait_for_delivered("web-to-warehouse", BATCHES * BATCH);
    let before = open_segments(&running);
    for n in 0..5 {
        let (name, file) = (format!("late-{n}"), format!("syncs/late-{n}.yaml"));
        let sync = format!("source: web\ndestination: warehouse\nschema: late_{n}\nfilter: {{types: [page]}}\n");
        running.workspace.write(&file, &sync);
        running.settle();
        running.wait("it has read the log", |status| status["syncs"][name.as_str()]["filtered"] == BATCHES * BATCH);
        running.remove(&file);
        running.settle();
    }
    until("the log's files are closed", || open_segments(&running) <= before);
    running.server.stop();
}

#[test]
fn changes_leave_neither_threads_nor_files_behind() {
    let running = Reloading::new();
    let key = running.workspace.write_key.clone();
    let round = |n: u32| {
        running.workspace.write(
            "sources/web.yaml",
            &format!("kind: http\nwrite_keys: {{old: {key}, new: {FIRST}}}\nrate: {}/s\n", 1_000 + n),
        );
        running.workspace.write("destinations/passing.yaml", &format!("kind: sqlite\npath: data/passing-{n}.db\n"));
        let sync = format!("source: web\ndestination: passing\nschema: passing_{n}\n");
        running.workspace.write("syncs/passing.yaml", &sync);
        running.settle();
        assert_eq!(running.page(FIRST, &format!("e-{n}")), 200);
        running.wait("it delivers", |status| status["syncs"]["passing"]["lag"] == 0);
        running.workspace.write("syncs/passing.yaml", &format!("{sync}batch: {{events_max: 100}}\n"));
        running.settle();
        running.workspace.write("syncs/passing.yaml", &format!("{sync}paused: true\n"));
        running.settle();
        running.workspace.write("syncs/passing.yaml", &sync);
        running.settle();
        running.remove("syncs/passing.yaml");
        running.remove("destinations/passing.yaml");
        running.workspace.write("sources/web.yaml", &format!("kind: http\nwrite_key: {key}\n"));
        running.settle();
    };
    round(0);
    let before = HeldByProcess::of(running.server.pid());
    for n in 1..=10 {
        round(n);
    }
    until("it holds as much as before", || {
        let held = HeldByProcess::of(running.server.pid());
        held.threads <= before.threads && held.files <= before.files
    });
    running.server.stop();
}
