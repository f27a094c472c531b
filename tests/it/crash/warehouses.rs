//! The process dies at any instant with each warehouse behind it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::send_until_gone;
use crate::conformance::{Act, Rig};
use crate::everywhere;
use crate::support::Workspace;
use crate::support::waiting::until;

/// A workspace whose events go to the rig's place, in loads so small that many are cut.
pub fn workspace<R: Rig>(rig: &R) -> Workspace {
    let workspace = Workspace::new();
    workspace.write("destinations/warehouse.yaml", &rig.yaml());
    workspace.append("syncs/web-to-warehouse.yaml", "\nbatch: {age_max: 20 ms, events_max: 500}\n");
    workspace
}

/// Everything answered is there, and nothing twice (which reading the tables would tell).
pub fn verify<R: Rig>(rig: &R, acked: &HashSet<String>) {
    let seen = rig.seen(None);
    for table in ["crash", "tracks"] {
        let rows = &seen[table].rows;
        let lost: Vec<_> = acked.iter().filter(|id| !rows.contains_key(*id)).take(5).collect();
        assert!(lost.is_empty(), "answered with 200 and not in {table}: {lost:?}");
    }
}

/// Has everything delivered that waits, however long that takes: a stop waits for some seconds only.
fn deliver_the_rest(workspace: &Workspace) {
    let server = workspace.serve();
    until("everything is delivered", || workspace.status()["syncs"]["web-to-warehouse"]["lag"] == 0);
    server.stop();
}

/// `CRASH_CYCLES` asks for more.
#[expect(clippy::disallowed_methods, reason = "a longer run is asked for from outside")]
fn cycles(usual: u64) -> u64 {
    std::env::var("CRASH_CYCLES").ok().and_then(|cycles| cycles.parse().ok()).unwrap_or(usual)
}

fn killed_under_load<R: Rig>(rig: &R, usual: u64, partitions: u16) {
    let workspace = workspace(rig);
    workspace.append("tidegate.yaml", &format!("\nlog: {{partitions: {partitions}}}\n"));
    let acked = Arc::new(Mutex::new(HashSet::new()));
    let (mut last, cycles) = (0, cycles(usual));
    for cycle in 0..cycles {
        let server = workspace.serve();
        let clients = send_until_gone(&server, &acked, cycle);
        // Each cycle dies at another point of its work: after so many answers, counted from outside.
        let goal = last + 5 + usize::try_from((cycle * 37) % 120).unwrap();
        until("enough events are answered", || acked.lock().unwrap().len() >= goal);
        server.kill();
        for client in clients {
            client.join().unwrap();
        }
        last = acked.lock().unwrap().len();
    }
    deliver_the_rest(&workspace);
    let acked = acked.lock().unwrap();
    println!("{cycles} cycles, {} events answered", acked.len());
    verify(rig, &acked);
    assert_eq!(workspace.status()["syncs"]["web-to-warehouse"]["lag"], 0);
    workspace.conserves();
}

/// Lets a fail point stop the process in the middle of its work, and starts again, five times.
pub fn died_at<R: Rig>(rig: &R, failpoint: &str) {
    let workspace = workspace(rig);
    let acked = Arc::new(Mutex::new(HashSet::new()));
    for cycle in 0..5 {
        let mut server = workspace.serve_with(&[failpoint]);
        let clients = send_until_gone(&server, &acked, cycle);
        server.wait();
        for client in clients {
            client.join().unwrap();
        }
    }
    deliver_the_rest(&workspace);
    verify(rig, &acked.lock().unwrap());
    workspace.conserves();
}

/// What an hour brings at 14 events a second.
const OUTAGE_EVENTS: u64 = 50_000;

/// The warehouse goes away while the server has it open; an hour's events are accepted meanwhile; it comes back, also to
/// a server that was started while it was away.
fn outage_waited_out<R: Rig>(rig: &R) {
    let workspace = workspace(rig);
    let server = workspace.serve();
    everywhere::send(&server, 300);
    everywhere::wait(&workspace, 1);
    let Some(back) = rig.away() else { return };
    everywhere::send(&server, OUTAGE_EVENTS);
    until("the sync fails", || workspace.status()["syncs"]["web-to-warehouse"]["failure"].is_string());
    server.kill();
    let server = workspace.serve();
    back();
    everywhere::wait(&workspace, 1);
    server.stop();
    let seen = rig.seen(None);
    let rows: usize = ["tracks", "identifies", "pages"].iter().map(|table| seen[*table].rows.len()).sum();
    assert_eq!(rows as u64, OUTAGE_EVENTS, "the first 300 came again and were known");
    workspace.conserves();
}

/// The process dies between the warehouse's commit and the cursor of a batch of which one event was refused: the refused
/// one is in quarantine, once, and its neighbours in the tables.
fn refused_and_killed<R: Rig>(rig: &R) {
    let workspace = workspace(rig);
    let event =
        |n: u32| json!({"type": "track", "event": "Crash", "messageId": format!("m{n}"), "properties": {"n": n}});
    let server = workspace.serve();
    assert_eq!(server.batch(&[event(0)]).status, 200);
    everywhere::wait(&workspace, 1);
    server.stop();
    if !rig.act(&Act::Refuse("crash", "n", 13)) {
        return;
    }
    let mut server = workspace.serve_with(&["sync_before_cursor=return"]);
    assert_eq!(server.batch(&[event(12), event(13), event(14)]).status, 200);
    server.wait();
    deliver_the_rest(&workspace);
    assert_eq!(workspace.quarantined(), ["row_refused"]);
    verify(rig, &["m0", "m12", "m14"].map(str::to_owned).into());
    workspace.conserves();
}

/// One test for each story.
macro_rules! stories {
    ($rig:ty, $cycles:expr) => {
        use super::{died_at, killed_under_load, outage_waited_out, refused_and_killed};
        use crate::conformance::run;

        #[test]
        fn killed_again_and_again_under_load_nothing_is_lost_and_nothing_doubled() {
            run::<$rig>(concat!(module_path!(), "::killed"), |rig| killed_under_load(rig, $cycles, 1));
        }

        #[test]
        fn killed_with_a_log_of_several_partitions() {
            run::<$rig>(concat!(module_path!(), "::partitions"), |rig| killed_under_load(rig, $cycles / 5, 3));
        }

        #[test]
        fn killed_before_the_warehouse_commits() {
            run::<$rig>(concat!(module_path!(), "::before"), |rig| {
                died_at(rig, "warehouse_before_commit=3*off->return")
            });
        }

        #[test]
        fn killed_after_the_warehouse_committed() {
            run::<$rig>(concat!(module_path!(), "::after"), |rig| died_at(rig, "warehouse_after_commit=3*off->return"));
        }

        #[test]
        fn what_is_refused_is_kept_whatever_dies() {
            run::<$rig>(concat!(module_path!(), "::refused"), refused_and_killed);
        }

        #[test]
        fn an_outage_of_an_hour_is_waited_out() {
            run::<$rig>(concat!(module_path!(), "::outage"), outage_waited_out);
        }

        #[test]
        fn killed_between_the_warehouse_and_the_cursor() {
            run::<$rig>(concat!(module_path!(), "::cursor"), |rig| died_at(rig, "sync_before_cursor=3*off->return"));
        }
    };
}

mod sqlite {
    stories!(crate::conformance::sqlite::Sqlite, 100);
}

mod postgres {
    stories!(crate::conformance::postgres::Postgres, 25);
}

mod clickhouse {
    stories!(crate::conformance::clickhouse::ClickHouse, 10);
}

mod lake {
    stories!(crate::conformance::lake::Lake, 25);
}
