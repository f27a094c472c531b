//! Readers during writes, full disks, processes that die.

use super::open;
use std::fs;
use tidegate_warehouse::SyncPart;
use tidegate_warehouse_suite::OpenedWarehouse;

use serde_json::json;
use tidegate_event::destination::{Batch, Failure};
use tidegate_warehouse::table::Limits;

use super::Lake;
use super::rig::reader;
use tidegate_warehouse_suite::disk::SmallDisk;
use tidegate_warehouse_suite::events::{batch, track};
use tidegate_warehouse_suite::{Act, Rig, Subject, TablesSeen};

/// Ten tracks of two names; now and then a new column, and one that widens.
pub fn ten(from: u64) -> Batch {
    let made = (from..from + 10).map(|n| {
        let value = if n == 47 { json!("text") } else { json!(n) };
        let name = if n % 3 == 0 { "F" } else { "E" };
        track(n, &format!("m{n}"), name, json!({ "v": value, "n": 1, (format!("c{}", n / 40)): true }))
    });
    batch(made.collect())
}

fn lake() -> Option<Lake> {
    Lake::new().map_err(|lack| println!("skipped: {lack}")).ok()
}

/// What a reader finds, by one root.
fn agree(lake: &str) -> (u64, u64, u64) {
    let answer = reader::ask(&json!({ "do": "agree", "lake": lake, "schema": "events", "sum": "n" }));
    let of = |what: &str, table: &str| answer[what].get(table).and_then(serde_json::Value::as_u64).unwrap_or(0);
    let tracks = of("rows", "tracks");
    assert_eq!(tracks, of("rows", "e") + of("rows", "f"), "{answer}");
    assert_eq!(tracks, of("sums", "e") + of("sums", "f"), "{answer}");
    assert_eq!(tracks % 10, 0, "half a batch: {answer}");
    (answer["version"].as_u64().unwrap(), tracks, of("rows", "e"))
}

#[test]
fn a_reader_never_sees_half_a_batch() {
    let Some(lake) = lake() else { return };
    let settings = tidegate_warehouse_lake::LakeSettings { merge_files_min: 3, ..lake.lake_settings() };
    let writer = std::thread::spawn(move || {
        let mut subject = Subject::of(&Merging(settings), "sync", None);
        (0..40).for_each(|at| drop(subject.deliver(ten(at * 10))));
    });
    let (mut last, mut looks) = ((0, 0, 0), 0);
    while !writer.is_finished() {
        let now = agree(lake.path());
        assert!(now >= last, "{now:?} after {last:?}");
        (last, looks) = (now, looks + 1);
    }
    writer.join().unwrap();
    assert_eq!(agree(lake.path()).1, 400);
    println!("{looks} looks, {} commits", lake.root().version);
}

/// A lake with settings of its own, for [`Subject`].
pub struct Merging(pub tidegate_warehouse_lake::LakeSettings);

impl Rig for Merging {
    fn new() -> Result<Self, String> {
        Err("made by hand".to_owned())
    }

    fn open(&self, part: &SyncPart, _: Limits) -> OpenedWarehouse {
        open(&self.0.clone(), part)
    }

    fn seen(&self, _: Option<&str>) -> TablesSeen {
        TablesSeen::new()
    }

    fn act(&self, _: &Act) -> bool {
        false
    }
}

#[test]
fn a_full_disk_is_waited_for_and_nothing_is_lost_or_doubled() {
    let Some(_) = lake() else { return };
    let disk = match SmallDisk::new() {
        Ok(disk) => disk,
        Err(lack) => return println!("skipped: no small disk can be mounted: {lack}"),
    };
    let folder = disk.path().join("lake");
    let place = tidegate_warehouse_lake::ObjectPlace::Folder(folder.clone());
    let rig = Merging(tidegate_warehouse_lake::LakeSettings::new(place));
    let mut subject = Subject::of(&rig, "sync", None);
    let (mut at, mut full) = (0, 0);
    // From nothing free to enough: it is full at every stage once.
    for pages in 0..40 {
        let filler = disk.fill(pages * 4096);
        let failure = subject.try_deliver(ten(at)).map(|_| ());
        let before = if at == 0 { 0 } else { agree(folder.to_str().unwrap()).1 };
        if let Err(failure) = failure {
            assert!(matches!(failure, Failure::Retry { .. }), "{failure}");
            assert!(failure.to_string().contains("o space"), "{failure}");
            assert_eq!(before, at);
            full += 1;
        }
        fs::remove_file(filler).unwrap();
        subject.deliver(ten(at));
        at += 10;
        assert_eq!(agree(folder.to_str().unwrap()).1, at);
    }
    assert!((3..40).contains(&full), "full {full} times");
    assert_eq!(subject.durable_to(), Some(400));
    println!("full {full} times");
}

/// Dies where the environment says; run by the test below in a process of its own.
#[test]
#[ignore = "a part of another test"]
fn a_process_that_dies() {
    let _scenario = fail::FailScenario::setup();
    let folder = std::path::PathBuf::from(std::env::args().next_back().unwrap());
    let settings = tidegate_warehouse_lake::LakeSettings::new(tidegate_warehouse_lake::ObjectPlace::Folder(folder));
    // Without a merge in between, commits can be counted.
    let rig = Merging(tidegate_warehouse_lake::LakeSettings { merge_files_min: 0, ..settings });
    let mut subject = Subject::of(&rig, "sync", None);
    let mut at = subject.durable_to().unwrap_or(0);
    while at < 200 {
        subject.deliver(ten(at));
        at += 10;
    }
}

#[test]
fn a_process_that_dies_at_any_stage_leaves_whole_batches() {
    let Some(lake) = lake() else { return };
    let run = |points: &str| {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "crash::a_process_that_dies", "--skip", lake.path()])
            .env("FAILPOINTS", points)
            .output()
            .unwrap()
    };
    let mut commits = 0;
    for (point, more) in [("after_stage", 0), ("before_commit", 0), ("after_commit", 1)] {
        for nth in [0, 3] {
            let died = run(&format!("warehouse_{point}={nth}*off->return"));
            assert!(!died.status.success(), "{point}: {}", String::from_utf8_lossy(&died.stdout));
            commits += nth + more;
            let rows = if commits == 0 { 0 } else { agree(lake.path()).1 };
            assert_eq!(rows, commits * 10, "{point} {nth}");
        }
    }
    let through = run("");
    assert!(through.status.success(), "{}", String::from_utf8_lossy(&through.stdout));
    assert_eq!(agree(lake.path()).1, 200);
}
