//! The driver over a warehouse in memory that fails at each call, in each way: nothing is lost and nothing comes twice.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate_event::destination::{Batch, Delivery, Destination, Failure};
use tidegate_event::{Event, EventId, EventKind, Position, ViolationRecord};

mod store;

use store::{Fault, Store, Way};

fn track(offset: u64, properties: &Value) -> Arc<Event> {
    let fields = json!({ "type": "track", "messageId": format!("m{offset}"), "event": "E", "properties": properties,
        "timestamp": "2024-05-06T07:08:09.000001Z", "receivedAt": "2024-05-06T07:08:10.000000Z" });
    Arc::new(Event {
        source: "web".into(),
        id: EventId::new(Position::new(0, offset), 0),
        kind: EventKind::Track,
        received_at_us: 1_714_979_290_000_000,
        body: fields.as_object().unwrap().clone().into(),
    })
}

fn violation(offset: u64) -> Arc<ViolationRecord> {
    Arc::new(ViolationRecord {
        source: "web".into(),
        position: Position::new(0, offset),
        message_id: format!("m{offset}"),
        received_at_us: 1_714_979_290_000_000,
        payload: "{}".to_owned(),
        event_name: None,
        event_type: EventKind::Track,
        schema_version: "1".to_owned(),
        has_undeclared_schema: false,
        has_undeclared_fields: true,
        has_schema_violated: false,
        violations: vec!["no".to_owned()],
    })
}

/// Events whose columns come up and widen on the way, every third with a violation.
fn batch(range: Range<u64>) -> Batch {
    let event =
        |n| track(n, &json!({ "n": if n % 7 == 6 { json!("text") } else { json!(n) }, (format!("c{}", n / 5)): 1 }));
    let violations = range.clone().filter(|n| n % 3 == 0).map(violation).collect();
    Batch { range: range.clone(), events: range.map(event).collect(), violations }
}

fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return done;
        }
    }
}

/// Delivers as a sync does: what is refused is left out, and what may pass is tried again.
fn delivered(driver: &mut Box<dyn Destination>, mut batch: Batch) -> (Delivery, BTreeSet<u64>) {
    let mut refused = BTreeSet::new();
    for _ in 0..20 {
        match now(driver.deliver(Arc::new(batch.clone()))) {
            Ok(delivery) => return (delivery, refused),
            Err(Failure::Refused { rejected }) => {
                refused.extend(rejected.iter().map(|rejected| batch.events[rejected.index].id.position.offset));
                batch = batch.without(&rejected);
            }
            Err(Failure::Retry { .. }) => {}
            Err(failure) => panic!("{failure}"),
        }
    }
    panic!("twenty tries and no delivery")
}

fn ids(range: Range<u64>, without: &BTreeSet<u64>) -> BTreeSet<String> {
    range.filter(|n| !without.contains(n)).map(|n| format!("m{n}")).collect()
}

/// Each of these events is there once, in both tables, and each violation.
fn assert_whole(store: &Arc<Mutex<Store>>, range: Range<u64>, without: &BTreeSet<u64>, what: &str) {
    let store = store.lock().unwrap();
    let there = |table: &str| store.rows(table).keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(there("tracks"), ids(range.clone(), without), "{what}");
    assert_eq!(there("e"), ids(range.clone(), without), "{what}");
    let violations: BTreeSet<_> = range.clone().filter(|n| n % 3 == 0).map(|n| format!("m{n}")).collect();
    assert_eq!(there("event_violations"), violations, "{what}");
    assert!(store.tables.values().all(|rows| rows.values().all(|times| *times == 1)), "{what}: {:?}", store.tables);
    assert_eq!(store.ledger, Some(range.end), "{what}");
}

const WAYS: [Way; 4] = [Way::Transaction, Way::UndoableTransaction, Way::Idempotent, Way::Whole];

#[test]
fn a_failure_at_any_call_loses_nothing_and_doubles_nothing() {
    for way in WAYS {
        for fault in [Fault::Passing, Fault::Schema, Fault::Session, Fault::AnswerLost] {
            let mut calls = 0;
            loop {
                let (mut driver, store) = store::open(way);
                delivered(&mut driver, batch(0..9));
                store.lock().unwrap().fault = Some((calls, fault));
                delivered(&mut driver, batch(9..30));
                let is_over = store.lock().unwrap().fault.take().is_some();
                // Cut elsewhere, and once more.
                delivered(&mut driver, batch(20..41));
                assert_whole(&store, 0..41, &BTreeSet::new(), &format!("{way:?} {fault:?} at call {calls}"));
                if is_over {
                    break;
                }
                calls += 1;
            }
            assert!(calls > 5, "{way:?}: {calls}");
        }
    }
}

#[test]
fn a_delivery_that_is_dropped_at_any_call_loses_nothing_and_doubles_nothing() {
    for way in WAYS {
        for pauses in 0.. {
            let (mut driver, store) = store::open(way);
            delivered(&mut driver, batch(0..9));
            let is_over = {
                let mut delivery = driver.deliver(Arc::new(batch(9..30)));
                let mut poll = || delivery.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
                (0..=pauses).any(|_| poll())
            };
            let session = store.lock().unwrap().sessions;
            delivered(&mut driver, batch(9..35));
            assert_eq!(store.lock().unwrap().sessions > session, !is_over, "{way:?}: a dropped call ends its session");
            assert_whole(&store, 0..35, &BTreeSet::new(), &format!("{way:?} dropped at pause {pauses}"));
            if is_over {
                break;
            }
        }
    }
}

proptest! {
    #[test]
    fn refused_events_stand_alone_and_their_neighbours_are_there_once(
        poison in proptest::collection::btree_set(0_u64..60, 0..6),
        way in proptest::sample::select(WAYS.to_vec()),
        fault in proptest::option::of((0_usize..80, proptest::sample::select(vec![Fault::Passing, Fault::Schema, Fault::AnswerLost]))),
    ) {
        let (mut driver, store) = store::open(way);
        store.lock().unwrap().poison = poison.iter().map(|n| format!("m{n}")).collect();
        let mut refused = BTreeSet::new();
        for (at, range) in [0..25, 25..60].into_iter().enumerate() {
            if at == 1 {
                store.lock().unwrap().fault = fault;
            }
            refused.extend(delivered(&mut driver, batch(range)).1);
        }
        prop_assert_eq!(&refused, &poison);
        assert_whole(&store, 0..60, &poison, &format!("{way:?} {fault:?}"));
    }

    #[test]
    fn batches_cut_anywhere_and_again_count_what_was_there(cuts in proptest::collection::vec((0_u64..50, 1_u64..20), 1..8)) {
        for way in WAYS {
            let (mut driver, store) = store::open(way);
            let mut end = 0;
            for (start, len) in &cuts {
                let start = (*start).min(end);
                let delivery = delivered(&mut driver, batch(start..start + len)).0;
                prop_assert_eq!(delivery.delivered, *len);
                prop_assert_eq!(delivery.duplicates, end.min(start + len).saturating_sub(start), "{:?}", way);
                end = end.max(start + len);
            }
            assert_whole(&store, 0..end, &BTreeSet::new(), &format!("{way:?}"));
        }
    }
}

/// The whole batch comes again after a refusal; what was there because of the first try is no duplicate.
#[test]
fn neighbours_of_a_refused_event_are_no_duplicates_when_they_come_again() {
    for way in WAYS {
        let (mut driver, store) = store::open(way);
        delivered(&mut driver, batch(0..5));
        store.lock().unwrap().poison = BTreeSet::from(["m7".to_owned()]);
        let (delivery, refused) = delivered(&mut driver, batch(3..12));
        assert_eq!((delivery.delivered, delivery.duplicates), (8, 2), "{way:?}");
        assert_eq!(refused, BTreeSet::from([7]), "{way:?}");
    }
}

#[test]
fn a_row_of_a_violation_that_is_refused_is_a_failure_and_no_event_is_blamed() {
    for way in WAYS {
        let (mut driver, store) = store::open(way);
        store.lock().unwrap().poison = BTreeSet::from(["violation of m3".to_owned()]);
        let failure = now(driver.deliver(Arc::new(batch(0..5)))).unwrap_err();
        assert!(matches!(failure, Failure::Retry { .. }), "{way:?}: {failure}");
        assert_eq!(store.lock().unwrap().ledger, None);
    }
}

#[test]
fn a_change_that_is_refused_waits_and_the_others_are_made() {
    for way in WAYS {
        let (mut driver, store) = store::open(way);
        delivered(&mut driver, batch(0..3));
        store.lock().unwrap().shut = BTreeSet::from(["c1".to_owned()]);
        let (delivery, _) = delivered(&mut driver, batch(3..12));
        let notices: BTreeMap<bool, Vec<&String>> =
            delivery.notices.iter().fold(BTreeMap::new(), |mut notices, notice| {
                notices.entry(notice.contains("column c1 of table e cannot be changed yet")).or_default().push(notice);
                notices
            });
        assert_eq!(notices.get(&true).map(Vec::len), Some(1), "{way:?}: {:?}", delivery.notices);
        let widened = "column n of table e widened from INTEGER to TEXT".to_owned();
        assert!(delivery.notices.contains(&widened), "{way:?}: {:?}", delivery.notices);
        let columns = store.lock().unwrap().columns("e");
        assert!(columns.contains("c0") && columns.contains("c2") && !columns.contains("c1"), "{way:?}: {columns:?}");
        assert_whole(&store, 0..12, &BTreeSet::new(), &format!("{way:?}"));
        assert_eq!(delivered(&mut driver, batch(12..14)).0.notices, [""; 0], "it is told once");
    }
}

#[test]
fn a_gap_is_told_and_an_empty_batch_moves_the_ledger() {
    for way in WAYS {
        let (mut driver, store) = store::open(way);
        now(driver.deliver(Arc::new(Batch { range: 0..7, ..Batch::default() }))).unwrap();
        assert_eq!(now(driver.durable_to()).unwrap(), Some(7));
        let gap = now(driver.deliver(Arc::new(Batch { range: 9..12, ..Batch::default() }))).unwrap();
        assert_eq!(gap.notices, ["offsets 7 to 9 of the log never reached this warehouse"]);
        assert_eq!(store.lock().unwrap().ledger, Some(12));
    }
}

#[test]
fn what_never_passes_is_given_up_after_the_tries_of_the_loader() {
    for (fault, tries) in [(Fault::Schema, 3), (Fault::Passing, 1)] {
        let (mut driver, store) = store::open(Way::Transaction);
        store.lock().unwrap().always = Some(fault);
        assert!(matches!(now(driver.deliver(Arc::new(batch(0..3)))), Err(Failure::Retry { .. })));
        assert_eq!(store.lock().unwrap().sessions, tries, "{fault:?}");
    }
}

/// Delivers until pause number `pauses` and drops it there; whether it had come to an end.
fn cut(driver: &mut Box<dyn Destination>, batch: Batch, pauses: usize) -> bool {
    let mut delivery = driver.deliver(Arc::new(batch));
    (0..=pauses).any(|_| delivery.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready())
}

#[test]
fn a_part_that_may_be_there_is_told() {
    for way in WAYS {
        let mut pauses = 0;
        loop {
            let (mut driver, store) = store::open(way);
            assert!(!driver.holds_part(), "{way:?}");
            let is_over = cut(&mut driver, batch(0..30), pauses);
            let is_there = store.lock().unwrap().tables.values().any(|rows| !rows.is_empty());
            if is_over {
                assert!(!driver.holds_part(), "{way:?}: a batch that is whole is no part");
                break;
            }
            // Who undoes what is cut off never has a part, and nobody has one before rows are written.
            let may_be = way == Way::Idempotent && pauses > 0;
            assert!(driver.holds_part() <= may_be, "{way:?} {pauses}");
            assert!(driver.holds_part() >= (may_be && is_there), "{way:?} {pauses}");
            delivered(&mut driver, batch(0..30));
            assert!(!driver.holds_part(), "{way:?} {pauses}");
            assert_whole(&store, 0..30, &BTreeSet::new(), &format!("{way:?} {pauses}"));
            pauses += 1;
        }
    }
}

#[test]
fn a_part_stays_one_while_what_is_refused_of_it_is_left_out() {
    let (mut driver, store) = store::open(Way::Idempotent);
    store.lock().unwrap().poison.insert("m5".to_owned());
    let Err(Failure::Refused { rejected }) = now(driver.deliver(Arc::new(batch(0..9)))) else { panic!("it was taken") };
    assert!(driver.holds_part());
    now(driver.deliver(Arc::new(batch(0..9).without(&rejected)))).unwrap();
    assert!(!driver.holds_part());
}
