//! Several writers at once; what a lake lets its reader see.

use std::sync::Arc;

use serde_json::json;
use tidegate_event::EventKind;
use tidegate_warehouse::evolve::Type;
use tidegate_warehouse_lake::{self as lake, Partition};

use super::crash::{Merging, ten};
use super::rig::reader;
use super::{Lake, seen_by};
use tidegate_warehouse_suite::events::{batch, event, numbered, track};
use tidegate_warehouse_suite::{Rig, Subject};

fn lake() -> Option<Lake> {
    Lake::new().map_err(|lack| println!("skipped: {lack}")).ok()
}

/// Both write to the same tables, make columns at the same time and disagree on their types.
#[test]
fn two_syncs_that_commit_at_once_lose_nothing() {
    let Some(lake) = lake() else { return };
    let settings = lake.lake_settings();
    let write = |sync: &'static str| {
        let rig = Merging(settings.clone());
        std::thread::spawn(move || {
            let mut subject = Subject::of(&rig, sync, None);
            for at in 0..25_u64 {
                let made = (at * 4..at * 4 + 4).map(|n| {
                    let value = if sync == "a" { json!(n) } else { json!(format!("{n}")) };
                    let own = format!("c{}", n / 20);
                    track(n, &format!("{sync}{n}"), "E", json!({ "v": value, (own): n % 2 == 0, "n": 0.5 }))
                });
                subject.deliver(batch(made.collect()));
            }
        })
    };
    let writers = ["a", "b"].map(write);
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    let seen = lake.seen(None);
    assert_eq!((seen["tracks"].rows.len(), seen["e"].rows.len()), (200, 200));
    assert_eq!(seen["e"].columns["v"], Type::Text);
    for sync in ["a", "b"] {
        assert_eq!(lake.root().durable_to(sync), Some(100));
        for n in 0..100 {
            assert_eq!(seen["e"].cell(&format!("{sync}{n}"), "v"), Some(&*n.to_string()));
        }
    }
}

#[test]
fn one_sync_run_twice_at_once_stores_each_event_once() {
    let Some(lake) = lake() else { return };
    let settings = lake.lake_settings();
    let start = Arc::new(std::sync::Barrier::new(2));
    let write = |cut: usize| {
        let (rig, start) = (Merging(settings.clone()), Arc::clone(&start));
        std::thread::spawn(move || {
            let mut subject = Subject::of(&rig, "sync", None);
            start.wait();
            for at in (0..120).step_by(cut) {
                let end = (at + cut as u64).min(120);
                subject.deliver(numbered(at..end));
            }
        })
    };
    let writers = [7, 5].map(write);
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    let seen = lake.seen(None);
    assert_eq!((seen["tracks"].rows.len(), seen["e"].rows.len()), (120, 120));
    assert_eq!(lake.root().durable_to("sync"), Some(120));
}

/// A timestamp column that becomes text has the texts that came, whatever file they are in by then.
#[test]
fn instants_become_the_texts_that_they_were() {
    let Some(lake) = lake() else { return };
    let rig = Merging(lake::LakeSettings { merge_files_min: 2, ..lake.lake_settings() });
    let mut subject = Subject::of(&rig, "sync", None);
    let texts = [
        "2024-05-06T07:08:09.120Z",
        "2024-05-06T07:08:09.120001Z",
        "2024-05-06T07:08:09.000Z",
        "0001-01-01T00:00:00.000Z",
        "9999-12-30T23:59:59.999999Z",
        "1969-12-31T23:59:59.999Z",
    ];
    for (at, text) in texts.iter().enumerate() {
        let fields = json!({ "traits": { "at": text } });
        subject.deliver(batch(vec![event(EventKind::Identify, at as u64, &format!("m{at}"), fields)]));
        if at == 3 {
            assert!(tidy(&rig.0).merged >= 2);
        }
    }
    subject.deliver(batch(vec![event(EventKind::Identify, 9, "last", json!({ "traits": { "at": "soon" } }))]));
    let seen = lake.seen(None);
    assert_eq!(seen["identifies"].columns["at"], Type::Text);
    for (at, text) in texts.iter().enumerate() {
        assert_eq!(seen["identifies"].cell(&format!("m{at}"), "at"), Some(*text));
    }
}

pub fn tidy(settings: &lake::LakeSettings) -> lake::Tidied {
    let part = tidegate_warehouse::SyncPart { sync: "sync".to_owned(), ..tidegate_warehouse::SyncPart::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(settings.clone().check(&part).unwrap().tidy()).unwrap()
}

#[test]
fn partitions_may_change_and_every_script_is_a_table() {
    let Some(lake) = lake() else { return };
    for (at, partition) in [Partition::Day, Partition::Hour, Partition::None].into_iter().enumerate() {
        let rig = Merging(lake::LakeSettings { partition, ..lake.lake_settings() });
        let at = at as u64;
        let named = track(at, &format!("m{at}"), "مرحبا", json!({ "date": "x", "received__day": at }));
        Subject::of(&rig, "sync", None).deliver(batch(vec![named]));
    }
    let seen = lake.seen(None);
    assert_eq!(seen["مرحبا"].rows.len(), 3);
    assert_eq!(seen["مرحبا"].cell("m2", "date").or(seen["مرحبا"].cell("m2", "_date")), Some("x"));
    let folders: Vec<_> = lake.files().into_iter().filter(|path| path.starts_with("events/tracks/")).collect();
    assert_eq!(folders.len(), 3, "{folders:?}");
    for folder in ["received__day=2024-05-06/", "received__hour=2024-05-06-07/"] {
        assert_eq!(folders.iter().filter(|path| path.contains(folder)).count(), 1, "{folders:?}");
    }
    drop(seen);
    assert_eq!(tidy(&lake.lake_settings()).merged, 0);
}

/// The file of views is itself never of half a batch, for it finds the files through the root.
#[test]
fn views_show_what_the_root_shows() {
    let Some(lake) = lake() else { return };
    let mut subject = Subject::of(&lake, "sync", None);
    let mut other = Subject::of(&lake, "other", Some("shop"));
    subject.deliver(ten(0));
    other.deliver(numbered(0..3));
    let ask = |tables: &[&str]| {
        let answer = reader::ask(&json!({ "do": "views", "lake": lake.path(), "tables": tables }));
        tables.iter().map(|table| answer["rows"][*table].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(ask(&["tracks", "e", "f", "\"shop\".\"e\""]), [10, 6, 4, 3]);
    subject.deliver(batch(vec![event(EventKind::Page, 10, "p", json!({ "properties": { "q": "'\"" } }))]));
    subject.deliver(ten(20));
    assert_eq!(ask(&["tracks", "pages", "shop.tracks"]), [20, 1, 3]);
}

/// What the router calls a table's types is what both engines say, and a first reader of nothing sees nothing.
#[test]
fn a_lake_that_is_empty_has_no_tables() {
    let Some(lake) = lake() else { return };
    let mut subject = Subject::of(&lake, "sync", None);
    assert_eq!(subject.durable_to(), None);
    assert!(seen_by("duckdb", lake.path(), "events").is_empty());
    assert_eq!(lake.files(), Vec::<String>::new(), "who only asks leaves nothing");
}
