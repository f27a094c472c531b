//! A log of several partitions: nothing is lost, nothing doubled, each user stays in order, and the number stays what it is.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::delivery::{Route, event, send};
use crate::support::far::{Act, Far};
use crate::support::{Workspace, run};

const PARTITIONS: u64 = 3;

fn partitioned(workspace: &Workspace) {
    workspace.append("tidegate.yaml", &format!("\nlog: {{partitions: {PARTITIONS}}}\n"));
}

fn purchase(n: u64) -> Value {
    event(&format!("m{n}"), &format!("user-{}", n % 20), json!({"n": n}))
}

#[test]
fn events_of_all_partitions_reach_the_tables_once_and_each_user_stays_in_one() {
    let workspace = Workspace::new();
    partitioned(&workspace);
    let batches: Vec<Vec<Value>> = (0..30).map(|batch| (batch * 10..batch * 10 + 10).map(purchase).collect()).collect();
    for round in 0..2 {
        let server = workspace.serve();
        for batch in &batches {
            // The second time everything is a duplicate, also after a restart.
            assert_eq!(server.batch(batch).status, 200, "round {round}");
        }
        let one = json!({"event": "Bought", "messageId": "one", "userId": "user-1", "properties": {"n": 1}});
        assert_eq!(server.post("/v1/track", one.to_string()).status, 200);
        server.stop();
        let warehouse = workspace.warehouse();
        assert_eq!(warehouse.rows("SELECT count(*), count(DISTINCT id) FROM bought"), ["301|301"]);
        assert_eq!(warehouse.count("tracks"), 301);
    }
    let status = workspace.status();
    let sync = &status["syncs"]["web-to-warehouse"];
    let ends: Vec<u64> = status["log"]["ends"].as_array().unwrap().iter().map(|end| end.as_u64().unwrap()).collect();
    assert_eq!((ends.len() as u64, ends.iter().sum(), &status["log"]["end"]), (PARTITIONS, 602, &json!(602)));
    assert_eq!((&sync["delivered"], &sync["lag"], &sync["cursor"]), (&json!(301), &json!(0), &Value::Null));
    let cursors: Vec<u64> = sync["cursors"].as_array().unwrap().iter().map(|cursor| cursor.as_u64().unwrap()).collect();
    assert!(cursors.len() == 3 && cursors.iter().all(|cursor| *cursor > 0), "{cursors:?}");
    assert_eq!(status["sources"]["web"]["duplicates"], 301);
    let ledger = workspace.warehouse().rows("SELECT sync FROM _tidegate_ledger ORDER BY sync");
    assert_eq!(ledger, ["web-to-warehouse", "web-to-warehouse/1", "web-to-warehouse/2"]);
}

#[test]
fn a_tool_gets_each_users_events_in_order_and_what_waits_is_kept() {
    let taken: Arc<Mutex<HashMap<String, Vec<u64>>>> = Arc::default();
    let well = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (shared, is_well) = (Arc::clone(&taken), Arc::clone(&well));
    let far = Far::new(move |received| {
        let body = received.json();
        let events = body.as_array().unwrap();
        let stuck = events.iter().any(|event| event["userId"] == "user-7");
        if stuck && !is_well.load(std::sync::atomic::Ordering::SeqCst) {
            return Act::status(503);
        }
        for event in events {
            let user = event["userId"].as_str().unwrap().to_owned();
            shared.lock().unwrap().entry(user).or_default().push(event["properties"]["n"].as_u64().unwrap());
        }
        Act::status(200)
    });
    let route = Route::with(&far, |manifest| manifest["order"] = json!("user"), "");
    route.setting("per_request", "1");
    partitioned(&route.workspace);
    let server = route.workspace.serve();
    let events: Vec<Value> = (0..200).map(purchase).collect();
    send(&server, &events);
    let sync = route.wait("the others are through", |sync| sync["delivered"] == 190);
    assert_eq!(sync["pending"], 10, "{sync}");
    server.kill();
    well.store(true, std::sync::atomic::Ordering::SeqCst);
    let server = route.workspace.serve();
    route.wait_for_end(200);
    server.stop();
    let taken = taken.lock().unwrap();
    for user in 0..20 {
        let own: Vec<u64> = (0..10).map(|n| n * 20 + user).collect();
        assert_eq!(taken[&format!("user-{user}")], own, "each once and in order");
    }
}

#[test]
fn another_number_of_partitions_is_refused_once_there_are_events() {
    let workspace = Workspace::new();
    let number = |number: &str| workspace.write("tidegate.yaml", &format!("log: {{partitions: {number}}}\n"));
    // Nothing was accepted: any number will do.
    for partitions in ["4", "2", "3"] {
        number(partitions);
        workspace.serve().stop();
    }
    let dirs = || -> BTreeSet<String> {
        let entries = std::fs::read_dir(workspace.data().join("log")).unwrap().flatten();
        entries.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name().into_string().unwrap()).collect()
    };
    assert_eq!(dirs(), ["partition-1", "partition-2"].map(str::to_owned).into());
    let server = workspace.serve();
    send(&server, &(0..30).map(purchase).collect::<Vec<_>>());
    server.kill();
    for partitions in ["1", "2", "4"] {
        number(partitions);
        let Err(said) = workspace.try_serve_with(&[]) else { panic!("{partitions} were taken") };
        assert!(said.contains(&format!("the log has 3 partitions, and tidegate.yaml says {partitions}")), "{said}");
        assert!(said.contains("log: {partitions: 3}"), "{said}");
    }
    number("3");
    workspace.serve().stop();
    assert_eq!(workspace.warehouse().count("bought"), 30, "and nothing was lost by asking");
    for (partitions, says) in [("0", "whole number from 1 to 64"), ("65", "whole number from 1 to 64"), ("x", "number")]
    {
        number(partitions);
        let checked = run(&["check", workspace.path().to_str().unwrap()]);
        let said = String::from_utf8_lossy(&checked.stderr).into_owned() + &String::from_utf8_lossy(&checked.stdout);
        assert!(!checked.status.success() && said.contains("log.partitions") && said.contains(says), "{said}");
    }
}

/// A build that knows one partition would leave the others unread.
#[test]
fn a_build_that_knows_one_partition_refuses_the_state() {
    let workspace = Workspace::new();
    let format = || {
        let state = crate::support::Warehouse::open(&workspace.data().join("state.db"));
        state.rows("SELECT value FROM meta WHERE key = 'format'")
    };
    workspace.serve().stop();
    assert_eq!(format(), ["10"]);
    partitioned(&workspace);
    workspace.serve().stop();
    assert_eq!(format(), ["110"], "and up to 10 is what it supports");
    // Nothing was accepted, so there may be one again; of the others nothing is left.
    workspace.write("tidegate.yaml", "");
    workspace.serve().stop();
    assert_eq!(format(), ["10"]);
    let state = crate::support::Warehouse::open(&workspace.data().join("state.db"));
    assert_eq!(state.rows("SELECT count(*) FROM meta WHERE key LIKE '%/%' OR key = 'partitions'"), ["0"]);
    assert_eq!(state.rows("SELECT count(*) FROM sqlite_schema WHERE name GLOB 'seen_*_*'"), ["0"]);
}

#[test]
fn damage_and_quarantine_name_the_partition() {
    let workspace = Workspace::new();
    partitioned(&workspace);
    workspace.write("syncs/web-to-warehouse.yaml", "source: web\ndestination: warehouse\n");
    let server = workspace.serve();
    send(&server, &(0..60).map(purchase).collect::<Vec<_>>());
    // Without any bounds of a user's: goes by its bytes.
    for n in 0..12 {
        assert_eq!(server.post("/v1/track", format!("{{\"event\": tru, \"n\": {n}}}")).status, 200);
    }
    server.stop();
    let quarantine = |more: &[&str]| {
        let output = run(&[&["quarantine", workspace.path().to_str().unwrap(), "--json"], more].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let entries = quarantine(&[]);
    let partitions: BTreeSet<u64> = entries.iter().map(|entry| entry["partition"].as_u64().unwrap()).collect();
    assert_eq!((entries.len(), partitions), (12, (0..PARTITIONS).collect()));
    let one = entries.iter().find(|entry| entry["partition"] == 2).unwrap();
    let at = format!("2/{}", one["offset"]);
    let purged = run(&["quarantine", "purge", workspace.path().to_str().unwrap(), "--offset", &at, "--yes"]);
    assert!(purged.status.success(), "{}", String::from_utf8_lossy(&purged.stderr));
    assert_eq!(quarantine(&[]).len(), 11);
    let bad = run(&["quarantine", "purge", workspace.path().to_str().unwrap(), "--offset", "2/x", "--yes"]);
    assert!(
        !bad.status.success() && String::from_utf8_lossy(&bad.stderr).contains("2/7"),
        "it says what a position is"
    );
    // A flipped bit in a partition that is not the first.
    let segment =
        std::fs::read_dir(workspace.data().join("log/partition-1")).unwrap().flatten().map(|entry| entry.path());
    let segment = segment.filter(|path| path.extension().is_some_and(|extension| extension == "log")).min().unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(6).position(|window| window == b"Bought").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let checked = run(&["check", workspace.path().to_str().unwrap(), "--deep", "--json"]);
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(!checked.status.success() && said.contains("partition-1"), "{said}");
}

/// The state is made anew from all partitions.
#[test]
fn a_lost_state_comes_again_from_all_partitions() {
    let workspace = Workspace::new();
    partitioned(&workspace);
    let events: Vec<Value> = (0..60).map(purchase).collect();
    let server = workspace.serve();
    send(&server, &events);
    server.stop();
    std::fs::remove_file(workspace.data().join("state.db")).unwrap();
    let server = workspace.serve();
    send(&server, &events);
    let said = server.stop();
    assert!(said.contains("partition 2 of the log"), "{said}");
    assert_eq!(workspace.warehouse().rows("SELECT count(*), count(DISTINCT id) FROM bought"), ["60|60"]);
    assert_eq!(workspace.status()["sources"]["web"]["duplicates"], 60);
}

#[test]
fn a_partition_whose_log_is_gone_is_an_error_and_the_others_go_on() {
    let workspace = Workspace::new();
    partitioned(&workspace);
    let server = workspace.serve();
    send(&server, &(0..60).map(purchase).collect::<Vec<_>>());
    server.stop();
    std::fs::remove_dir_all(workspace.data().join("log/partition-1")).unwrap();
    let server = workspace.serve();
    send(&server, &(60..120).map(purchase).collect::<Vec<_>>());
    let said = server.stop();
    assert!(said.contains("partition 1 of the log: the log ends at offset 0"), "{said}");
    assert!(!said.contains("partition 2 of the log"), "{said}");
    assert_eq!(workspace.warehouse().rows("SELECT count(*), count(DISTINCT id) FROM bought"), ["120|120"]);
}
