//! Merging small files, and deleting what nobody needs.

use std::time::Duration;

use tidegate_warehouse_lake as lake;

use super::Lake;
use super::crash::{Merging, ten};
use super::others::tidy;
use tidegate_warehouse_suite::{Rig, Subject};

fn lake() -> Option<Lake> {
    Lake::new().map_err(|lack| println!("skipped: {lack}")).ok()
}

fn never() -> Duration {
    Duration::from_secs(1 << 30)
}

/// As an operator would never set it: nothing is deleted or merged but by hand.
fn by_hand(lake: &Lake) -> lake::LakeSettings {
    lake::LakeSettings { merge_files_min: 0, keep: never(), orphan_age: never(), ..lake.lake_settings() }
}

#[test]
fn merging_changes_no_row_and_keeps_files_for_those_who_still_read_them() {
    let Some(lake) = lake() else { return };
    let mut subject = Subject::of(&Merging(by_hand(&lake)), "sync", None);
    (0..12).for_each(|at| drop(subject.deliver(ten(at * 10))));
    let (before, files) = (lake.seen(None), lake.files());
    let data = |files: &[String]| files.iter().filter(|path| path.ends_with(".parquet")).cloned().collect::<Vec<_>>();
    let merging = lake::LakeSettings { merge_files_min: 4, ..by_hand(&lake) };
    let tidied = tidy(&merging);
    assert!(tidied.merged >= 20 && tidied.deleted == 0, "{tidied:?}");
    assert_eq!(lake.seen(None), before);
    let root = lake.root();
    assert!(root.tables.iter().all(|table| table.files < 4), "{:?}", root.tables);
    assert_eq!(root.durable_to("sync"), Some(120), "merging moves no ledger");
    let after = lake.files();
    assert!(files.iter().all(|path| after.contains(path)), "a reader of the last root finds all its files");
    assert_eq!(tidy(&merging), lake::Tidied::default(), "there is nothing left to do");
    // The writer knew nothing of it.
    subject.deliver(ten(120));
    assert_eq!(lake.seen(None)["tracks"].rows.len(), 130);
    // Nobody reads old roots any more.
    let seen = lake.seen(None);
    let tidied = tidy(&lake::LakeSettings { keep: Duration::ZERO, ..by_hand(&lake) });
    assert!(tidied.deleted > 20, "{tidied:?}");
    let live: u64 = lake.root().tables.iter().map(|table| table.files).sum();
    assert_eq!(data(&lake.files()).len() as u64, live);
    assert_eq!(lake.seen(None), seen);
}

#[test]
fn files_of_a_crash_are_deleted_when_they_are_old_and_what_is_not_the_lakes_never() {
    let Some(lake) = lake() else { return };
    let mut subject = Subject::of(&Merging(by_hand(&lake)), "sync", None);
    subject.deliver(ten(0));
    let orphan = "events/e/received__day=2024-05-06/00000000000000000007-0123456789abcdef.parquet";
    let foreign = [
        "events/e/export.parquet",
        "events/notes.txt",
        "events/e/00000000000000000007.parquet",
        "other/00000000000000000007-0123456789abcdef.parquet",
    ];
    let begun = format!("{orphan}#1");
    for path in foreign.into_iter().chain([orphan, &begun]) {
        let path = lake.folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    }
    let has = |path: &str| lake.folder.path().join(path).exists();
    assert_eq!(
        tidy(&lake::LakeSettings { keep: Duration::ZERO, ..by_hand(&lake) }).deleted,
        0,
        "a batch may be under way"
    );
    assert!(has(orphan) && has(&begun));
    assert_eq!(tidy(&lake::LakeSettings { orphan_age: Duration::ZERO, ..by_hand(&lake) }).deleted, 2);
    assert!(!has(orphan) && !has(&begun) && foreign.into_iter().all(has));
    assert_eq!(lake.seen(None)["tracks"].rows.len(), 10);
}

#[test]
fn merging_while_two_syncs_load_loses_and_doubles_nothing() {
    let Some(lake) = lake() else { return };
    let merging = lake::LakeSettings { merge_files_min: 2, ..lake.lake_settings() };
    let write = |sync: &'static str, schema: Option<&'static str>| {
        let rig = Merging(merging.clone());
        std::thread::spawn(move || {
            let mut subject = Subject::of(&rig, sync, schema);
            (0..15).for_each(|at| drop(subject.deliver(ten(at * 10))));
        })
    };
    let writers = [write("a", None), write("b", Some("shop"))];
    let mut merged = 0;
    while !writers.iter().all(|writer| writer.is_finished()) {
        merged += tidy(&merging).merged;
    }
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    merged += tidy(&merging).merged;
    for schema in [None, Some("shop")] {
        let seen = lake.seen(schema);
        assert_eq!(seen["tracks"].rows.len(), 150);
        assert_eq!(seen["e"].rows.len() + seen["f"].rows.len(), 150);
        assert_eq!(seen["e"].cell("m47", "v"), Some("text"));
        assert_eq!(seen["e"].cell("m4", "v"), Some("4"));
    }
    assert!(lake.root().tables.iter().all(|table| table.files <= 15));
    println!("{merged} files merged");
}
