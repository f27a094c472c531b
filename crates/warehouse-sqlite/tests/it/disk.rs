//! A disk that is full.

use serde_json::json;
use tidegate_event::destination::Failure;
use tidegate_warehouse_suite::disk::SmallDisk;
use tidegate_warehouse_suite::events::{batch, track};
use tidegate_warehouse_suite::{Rig as _, Subject, skipped};

use super::Sqlite;

/// From nothing free to enough: it is full at every stage once, and in the end each event is there once.
#[test]
pub fn a_full_disk_is_waited_for_and_nothing_is_lost_or_doubled() {
    let disk = match SmallDisk::new() {
        Ok(disk) => disk,
        Err(lack) => {
            return skipped("conformance::sqlite::a_full_disk", &format!("no small disk can be mounted: {lack}"));
        }
    };
    let rig = Sqlite { _folder: tempfile::tempdir().unwrap(), path: disk.path().join("warehouse.db") };
    let mut subject = Subject::open(&rig);
    let wide = |from: u64| {
        let made = |n: u64| track(n, &format!("m{n}"), "E", json!({ "n": n, "text": "x".repeat(200) }));
        batch((from..from + 20).map(made).collect())
    };
    let (mut at, mut full) = (0, 0);
    for pages in 0..24 {
        let filler = disk.fill(pages * 8192);
        match subject.try_deliver(wide(at)) {
            Ok(delivery) => {
                assert_eq!((delivery.delivered, delivery.duplicates), (20, 0));
                at += 20;
            }
            Err(failure) => {
                assert!(matches!(failure, Failure::Retry { .. }), "{failure}");
                full += 1;
            }
        }
        std::fs::remove_file(filler).unwrap();
    }
    assert!(full > 3 && at > 0, "full {full} times, {at} events came through");
    subject.deliver(wide(at));
    let seen = rig.seen(None);
    let wanted = usize::try_from(at).unwrap() + 20;
    assert_eq!((seen["tracks"].rows.len(), seen["e"].rows.len()), (wanted, wanted));
}
