//! Batches that come twice, overlapping, cut elsewhere or after a crash leave each event once.

use serde_json::json;
use tidegate_event::destination::Batch;

use crate::events::{batch, numbered, track};
use crate::{Rig, Subject};

fn rows<R: Rig>(rig: &R) -> (usize, usize) {
    let seen = rig.seen(None);
    (seen["tracks"].rows.len(), seen["e"].rows.len())
}

pub fn the_same_batch_twice_is_there_once<R: Rig>(rig: &R) {
    let mut subject = Subject::open(rig);
    assert_eq!(subject.durable_to(), None);
    subject.deliver(numbered(0..10));
    let again = subject.deliver(numbered(0..10));
    assert_eq!((again.delivered, again.duplicates), (10, 10));
    assert_eq!(rows(rig), (10, 10));
    assert_eq!(subject.durable_to(), Some(10));
}

pub fn overlapping_batches_after_a_reopening_leave_each_event_once<R: Rig>(rig: &R) {
    Subject::open(rig).deliver(numbered(0..10));
    let mut subject = Subject::open(rig);
    assert_eq!(subject.durable_to(), Some(10));
    let delivery = subject.deliver(numbered(5..20));
    assert_eq!((delivery.delivered, delivery.duplicates), (15, 5));
    subject.deliver(numbered(0..3));
    assert_eq!(subject.durable_to(), Some(20), "the ledger never goes back");
    assert_eq!(rows(rig), (20, 20));
}

pub fn a_backfill_of_the_same_range_changes_nothing<R: Rig>(rig: &R) {
    let mut subject = Subject::open(rig);
    for start in (0..40).step_by(10) {
        subject.deliver(numbered(start..start + 10));
    }
    let before = rig.seen(None);
    drop(subject);
    let mut subject = Subject::open(rig);
    for _ in 0..2 {
        for start in (0..40).step_by(7) {
            subject.deliver(numbered(start..(start + 7).min(40)));
        }
    }
    assert_eq!(rig.seen(None), before);
}

pub fn an_id_that_comes_again_keeps_its_first_row<R: Rig>(rig: &R) {
    if !R::KEEPS_FIRST {
        return;
    }
    let mut subject = Subject::open(rig);
    subject.deliver(batch(vec![track(0, "m", "E", json!({ "v": "first" })), track(1, "n", "E", json!({ "v": "n" }))]));
    let twice = vec![track(2, "m", "E", json!({ "v": "again" })), track(3, "o", "E", json!({ "v": "o" }))];
    let delivery = subject.deliver(batch(twice));
    assert_eq!((delivery.delivered, delivery.duplicates), (2, 1));
    // And within one batch.
    let both = vec![track(4, "p", "E", json!({ "v": "first" })), track(5, "p", "E", json!({ "v": "again" }))];
    subject.deliver(batch(both));
    let seen = rig.seen(None);
    assert_eq!((seen["e"].cell("m", "v"), seen["e"].cell("p", "v")), (Some("first"), Some("first")));
    assert_eq!(rows(rig), (4, 4));
}

pub fn two_syncs_keep_their_own_ledgers<R: Rig>(rig: &R) {
    let mut one = Subject::of(rig, "one", Some("a"));
    let mut two = Subject::of(rig, "two", Some("b"));
    one.deliver(numbered(0..10));
    two.deliver(numbered(3..15));
    one.deliver(batch(vec![track(10, "x", "E", json!({ "fresh": 1, "n": "text" }))]));
    two.deliver(batch(vec![track(15, "y", "E", json!({ "fresh": true, "n": 3 }))]));
    assert_eq!((one.durable_to(), two.durable_to()), (Some(11), Some(16)));
    assert_eq!((rig.seen(Some("a"))["e"].rows.len(), rig.seen(Some("b"))["e"].rows.len()), (11, 13));
    assert_eq!(Subject::of(rig, "three", Some("a")).durable_to(), None);
}

pub fn an_empty_batch_moves_the_ledger_and_a_gap_is_told<R: Rig>(rig: &R) {
    let mut subject = Subject::open(rig);
    subject.deliver(Batch { range: 0..7, ..Batch::default() });
    assert_eq!(subject.durable_to(), Some(7));
    let delivery = subject.deliver(Batch { range: 9..12, ..Batch::default() });
    assert_eq!(delivery.notices, ["offsets 7 to 9 of the log never reached this warehouse"]);
    drop(subject);
    assert_eq!(Subject::open(rig).durable_to(), Some(12));
}

/// A batch that makes a table, adds columns and widens one, dropped at its first pause, its second, and so on, until it
/// comes through; each time somebody starts anew with batches cut elsewhere.
pub fn cut_off_at_any_pause_nothing_is_lost_and_nothing_doubled<R: Rig>(rig: &R) {
    let events = |from: u64, to: u64| {
        let made = (from..to).map(|n| {
            let name = if n % 3 == 0 { "F" } else { "E" };
            let value = if n % 10 == 9 { json!("text") } else { json!(n) };
            track(n, &format!("m{n}"), name, json!({ "v": value, (format!("c{}", n / 10)): 1 }))
        });
        batch(made.collect())
    };
    let (mut at, mut pauses) = (0, 0);
    loop {
        let through = Subject::open(rig).deliver_cut(events(at, at + 10), pauses);
        if through {
            break;
        }
        let mut subject = Subject::open(rig);
        let durable = subject.durable_to().unwrap_or(0);
        assert!(durable == at || durable == at + 10, "{durable} after {at}");
        subject.deliver(events(durable, at + 13));
        at += 13;
        // Every pause at first, then further apart: a long delivery has many alike.
        pauses += 1 + pauses / 4;
    }
    let mut subject = Subject::open(rig);
    subject.deliver(events(at, at + 12));
    let total = at + 12;
    println!("came through after {pauses} pauses");
    let seen = rig.seen(None);
    let ids: std::collections::BTreeSet<String> = (0..total).map(|n| format!("m{n}")).collect();
    let of = |table: &str| seen[table].rows.keys().cloned().collect::<std::collections::BTreeSet<_>>();
    assert_eq!(of("tracks"), ids);
    assert_eq!(&of("e") | &of("f"), ids);
    assert_eq!(of("e").len() + of("f").len(), ids.len());
}

/// What a batch that is cut off at these of its pauses leaves of a ledger that it moves: `begun` makes one with three events in
/// the old place, `place` says where it is.
pub fn a_move_of_the_ledger_is_cut_off<R: Rig>(
    new: impl Fn() -> R,
    pauses: impl Iterator<Item = usize>,
    begun: impl Fn(&R),
    (place, moved): (impl Fn(&R) -> String, &str),
) {
    for pauses in pauses {
        let rig = new();
        begun(&rig);
        let mut subject = Subject::open(&rig);
        let is_over = subject.deliver_cut(numbered(3..6), pauses);
        drop(subject);
        let mut subject = Subject::open(&rig);
        subject.deliver(numbered(3..8));
        assert_eq!((subject.durable_to(), &*place(&rig)), (Some(8), moved), "{pauses}");
        assert_eq!(rig.seen(None)["tracks"].rows.len(), 8, "{pauses}");
        if is_over {
            break;
        }
    }
}
