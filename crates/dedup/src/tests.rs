//! The index against a plain map, over restarts, losses and failures.

mod lost;
mod model;

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use super::*;

pub(super) const KEY: IdKey = IdKey([7; 16]);
pub(super) const HOUR_US: i64 = 3_600_000_000;

pub(super) fn settings(entries_max: u64) -> DedupSettings {
    DedupSettings { window_us: 24 * HOUR_US, entries_max }
}

pub(super) fn sighting(id: &str, received_at_us: i64) -> Sighting<'_> {
    Sighting { source: "web", message_id: id.as_bytes(), received_at_us }
}

/// Looks and keeps at once: the state has committed.
pub(super) fn mark(index: &mut DedupIndex, ids: &[(&str, i64)]) -> Vec<bool> {
    let start = index.known_to();
    mark_range(index, ids, &(start..start + ids.len() as u64))
}

pub(super) fn mark_range(index: &mut DedupIndex, ids: &[(&str, i64)], range: &Range<u64>) -> Vec<bool> {
    let sightings: Vec<_> = ids.iter().map(|(id, received_at_us)| sighting(id, *received_at_us)).collect();
    let looked = index.look(&sightings).unwrap();
    index.keep(&looked, range);
    if index.is_full() {
        index.freeze().unwrap();
    }
    looked.is_duplicate
}

/// Waits until the thread has nothing left to do.
pub(super) fn settled(index: &DedupIndex) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut now = index.shared.now.lock();
    while keeper::plan(&now.levels, &index.shared.settings, now.newest_us).is_some() {
        assert!(!index.shared.changed.wait_until(&mut now, deadline).timed_out(), "runs were not made and merged");
    }
}

pub(super) fn open(dir: &Path, entries_max: u64, refined_to: u64) -> DedupIndex {
    DedupIndex::open(dir, KEY, settings(entries_max), refined_to).unwrap()
}

#[test]
fn an_id_is_seen_once_within_the_window() {
    let dir = tempfile::tempdir().unwrap();
    let mut index = open(dir.path(), 1_000, 0);
    assert_eq!(mark(&mut index, &[("a", 0), ("b", 0), ("a", 1)]), [false, false, true]);
    assert_eq!(mark(&mut index, &[("a", 24 * HOUR_US), ("b", 24 * HOUR_US + 1)]), [true, false]);
    // The sighting that counts is the first one.
    assert_eq!(mark(&mut index, &[("a", 24 * HOUR_US + 1), ("b", 25 * HOUR_US)]), [false, true]);
}

#[test]
fn the_same_id_of_another_source_is_another() {
    let dir = tempfile::tempdir().unwrap();
    let mut index = open(dir.path(), 1_000, 0);
    let of = |source| Sighting { source, message_id: b"a", received_at_us: 0 };
    assert_eq!(index.look(&[of("web"), of("app"), of("web")]).unwrap().is_duplicate, [false, false, true]);
}

#[test]
fn too_many_ids_shorten_the_window() {
    let dir = tempfile::tempdir().unwrap();
    let mut index = open(dir.path(), 800, 0);
    let ids: Vec<String> = (0..5_000).map(|n| format!("id-{n}")).collect();
    for ids in ids.chunks(50) {
        let ids: Vec<_> = ids.iter().map(|id| (id.as_str(), 0)).collect();
        assert!(mark(&mut index, &ids).iter().all(|seen| !seen));
        settled(&index);
    }
    assert!(mark(&mut index, &[(ids[4_900].as_str(), 0)])[0], "the newest are known");
    assert!(!mark(&mut index, &[(ids[0].as_str(), 0)])[0], "the oldest are not");
    let deadline = Instant::now() + Duration::from_secs(30);
    while index.len() > 1_000 {
        assert!(Instant::now() < deadline, "{} ids are kept", index.len());
        std::thread::yield_now();
    }
}

#[test]
fn what_is_older_than_the_window_goes() {
    let dir = tempfile::tempdir().unwrap();
    let mut index = open(dir.path(), 800, 0);
    let ids: Vec<String> = (0..1_000).map(|n| format!("id-{n}")).collect();
    for (at, ids) in ids.chunks(100).enumerate() {
        let ids: Vec<_> = ids.iter().map(|id| (id.as_str(), at as i64 * 12 * HOUR_US)).collect();
        mark(&mut index, &ids);
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    while index.len() > 400 {
        assert!(Instant::now() < deadline, "{} ids are kept", index.len());
        std::thread::yield_now();
    }
}

#[test]
fn a_clock_that_was_ahead_and_was_set_right_makes_nothing_too_old() {
    let dir = tempfile::tempdir().unwrap();
    let mut index = open(dir.path(), 80_000, 0);
    index.tail_max = 50;
    let ids: Vec<String> = (0..2_000).map(|n| format!("id-{n}")).collect();
    let all = |at_us| ids.iter().map(move |id| (id.as_str(), at_us)).collect::<Vec<_>>();
    mark(&mut index, &[("ahead", 1_000 * 24 * HOUR_US)]);
    for some in all(HOUR_US).chunks(50) {
        mark(&mut index, some);
        settled(&index);
    }
    assert!(mark(&mut index, &all(2 * HOUR_US)).iter().all(|seen| *seen));
}

#[test]
fn one_time_of_long_ago_does_not_make_its_neighbours_older() {
    let dir = tempfile::tempdir().unwrap();
    let mut index = open(dir.path(), 80_000, 0);
    index.tail_max = 3;
    let now = 1_800_000_000_000_000;
    mark(&mut index, &[("1970", 7), ("a", now), ("b", now)]);
    settled(&index);
    assert_eq!(mark(&mut index, &[("a", now + HOUR_US), ("b", now + 23 * HOUR_US)]), [true, true]);
}

#[test]
fn what_is_known_can_be_made_durable_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut index = open(dir.path(), 1_000, 0);
    mark(&mut index, &[("a", 0)]);
    sync(dir.path()).unwrap();
    assert!(sync(&dir.path().join("none")).is_err());
}

#[test]
fn a_copy_that_was_held_beside_it_knows_what_it_knew() {
    let (dir, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert!(hold(&dir.path().join("none")).unwrap().is_empty());
    let mut index = open(dir.path(), 80_000, 0);
    index.tail_max = 50;
    let ids: Vec<String> = (0..230).map(|n| format!("id-{n}")).collect();
    for some in ids.chunks(10) {
        let some: Vec<_> = some.iter().map(|id| (id.as_str(), 0)).collect();
        mark(&mut index, &some);
    }
    settled(&index);
    let held = hold(dir.path()).unwrap();
    mark(&mut index, &[("later", 0)]);
    for file in &held {
        let mut bytes = vec![0; usize::try_from(file.length()).unwrap()];
        let mut at = 0;
        while at < bytes.len() {
            at += file.read_at(&mut bytes[at..], at as u64).unwrap();
        }
        std::fs::write(to.path().join(&file.name), bytes).unwrap();
    }
    let mut copy = open(to.path(), 80_000, 230);
    assert_eq!(copy.known_to(), 230);
    assert!(mark(&mut copy, &[("id-0", 1), ("id-120", 1), ("id-229", 1)]).iter().all(|seen| *seen));
    assert_eq!(mark(&mut copy, &[("later", 1)]), [false]);
}
