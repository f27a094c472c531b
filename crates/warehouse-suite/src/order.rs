//! Tables depend on which events arrived, not on their order or batching.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tidegate_event::EventKind;

use crate::events::{batch, event, parsed};
use crate::{Rig, Subject, TablesSeen};

/// Instants in the spellings of several clients: one moment in some, and others beside it.
pub const INSTANTS: [&str; 10] = [
    "2024-05-06T07:08:09.123Z",
    "2024-05-06T07:08:09.123000Z",
    "2024-05-06T07:08:09.123000+00:00",
    "2024-05-06T09:08:09.123+02:00",
    "2024-05-06t07:08:09.123z",
    "2024-05-06T07:08:09Z",
    "2024-05-06T07:08:09-00:00",
    "2024-05-06T07:08:09.123456789Z",
    "2024-05-06T07:08:60Z",
    "2016-12-31T23:59:60Z",
];

fn any_value() -> impl Strategy<Value = Value> {
    let numbers =
        ["0", "1", "1.0", "2.50", "-7", "9007199254740993", "9223372036854775808", "1e20", "1e400", "1.5e-9", "0.1"];
    let strings = ["", "007", "true", "2024-05-06", "'); --", "{}", "\u{feff}é"];
    prop_oneof![
        1 => Just(Value::Null),
        2 => any::<bool>().prop_map(Value::Bool),
        5 => proptest::sample::select(numbers.to_vec()).prop_map(parsed),
        3 => proptest::sample::select(strings.to_vec()).prop_map(Value::from),
        3 => proptest::sample::select(INSTANTS.to_vec()).prop_map(Value::from),
        1 => Just(json!([1, "a", {"b": null}])),
        1 => Just(json!({})),
    ]
}

fn any_fields() -> impl Strategy<Value = Value> {
    let keys = ["a", "A", "a_b", "aB", "a b", "id", "order", "context_a", "🎉"];
    let flat = || {
        proptest::collection::hash_map(proptest::sample::select(keys.to_vec()), any_value(), 0..5)
            .prop_map(|fields| Value::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()))
    };
    (flat(), proptest::option::of(flat())).prop_map(|(mut outer, inner)| {
        if let Some(inner) = inner {
            outer["a"] = inner;
        }
        outer
    })
}

fn any_event() -> impl Strategy<Value = (EventKind, Value)> {
    prop_oneof![
        3 => (any_fields(), proptest::sample::select(vec!["E", "F", "e"])).prop_map(|(properties, name)| {
            (EventKind::Track, json!({ "event": name, "properties": properties }))
        }),
        1 => any_fields().prop_map(|traits| (EventKind::Identify, json!({ "traits": traits }))),
        1 => any_fields().prop_map(|context| (EventKind::Page, json!({ "context": context }))),
    ]
}

/// The tables that these events make, the id of each being its number; in batches of so many.
fn written<R: Rig>(events: &[(usize, (EventKind, Value))], cut: usize) -> TablesSeen {
    let rig = R::new().unwrap_or_else(|lack| panic!("{lack}"));
    let mut subject = Subject::open(&rig);
    let made: Vec<_> = events
        .iter()
        .enumerate()
        .map(|(offset, (id, (kind, fields)))| event(*kind, offset as u64, &format!("m{id}"), fields.clone()))
        .collect();
    for chunk in made.chunks(cut) {
        let delivery = subject.deliver(batch(chunk.to_vec()));
        assert_eq!((delivery.delivered, delivery.duplicates), (chunk.len() as u64, 0));
        assert_eq!(delivery.rejected, []);
    }
    rig.seen(None)
}

pub fn neither_order_nor_batching_shows_in_the_tables<R: Rig>(_: &R) {
    let mut runner =
        TestRunner::new(Config { cases: 8, max_shrink_iters: 32, failure_persistence: None, ..Config::default() });
    let events = proptest::collection::vec(any_event(), 1..14)
        .prop_map(|events| events.into_iter().enumerate().collect::<Vec<_>>())
        .prop_flat_map(|events| (Just(events.clone()), Just(events).prop_shuffle()));
    let outcome = runner.run(&(events, 1_usize..6), |((events, shuffled), cut)| {
        prop_assert_eq!(written::<R>(&events, events.len()), written::<R>(&shuffled, cut));
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}
