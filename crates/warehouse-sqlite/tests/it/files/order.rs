//! Tables depend on which events arrived, not on their order or batching; and no value is missing from them.

use proptest::prelude::*;
use tidegate_warehouse::evolve::Scalar;
use tidegate_warehouse::name;
use tidegate_warehouse_sqlite::encode::FIT;
use tidegate_warehouse_suite::order::INSTANTS;

use super::*;

fn any_scalar() -> impl Strategy<Value = Value> {
    let numbers = [
        "0",
        "-0",
        "1",
        "1.0",
        "2.50",
        "1e2",
        "-7",
        "007.5e1",
        "9007199254740991",
        "9007199254740993",
        "-9007199254740993",
        "9223372036854775807",
        "9223372036854775808",
        "1e20",
        "1e22",
        "1e308",
        "1e400",
        "1.5e-9",
        "1e-300",
        "0.1000000000000000055",
        "0.1",
        "123456789012345678901234567890",
    ];
    let strings = ["", "007", "1", "1.0", "true", "2024-05-06", "a\0b", "'); --", "{}", "\u{feff}é"];
    prop_oneof![
        1 => Just(Value::Null),
        2 => any::<bool>().prop_map(Value::Bool),
        6 => proptest::sample::select(numbers.to_vec()).prop_map(|text| parsed(text.trim_start_matches("00"))),
        2 => any::<f64>().prop_map(|real| serde_json::Number::from_f64(real).map_or(Value::Null, Value::Number)),
        3 => proptest::sample::select(strings.to_vec()).prop_map(Value::from),
        3 => proptest::sample::select(INSTANTS.to_vec()).prop_map(Value::from),
        1 => Just(json!([])),
        1 => Just(json!([1, "a", {"b": null}])),
        1 => Just(json!({})),
    ]
}

fn any_fields() -> impl Strategy<Value = Value> {
    let keys = ["a", "A", "a_b", "aB", "a b", "id", "_id", "order", "context_a", "_overflow", "🎉", ""];
    let key = || proptest::sample::select(keys.to_vec()).prop_map(str::to_owned);
    let fields = proptest::collection::btree_map(key(), any_scalar(), 0..4)
        .prop_map(|fields| Value::Object(fields.into_iter().collect()));
    proptest::collection::btree_map(key(), prop_oneof![4 => any_scalar(), 1 => fields], 0..5)
        .prop_map(|fields| Value::Object(fields.into_iter().collect()))
}

/// Kind and fields; ids and offsets are given by place.
fn any_event() -> impl Strategy<Value = (EventKind, Value)> {
    let name = proptest::sample::select(vec!["Order Done", "orderDone", "tracks", "🎉", ""]);
    let extra = prop_oneof![3 => Just(None), 1 => any_scalar().prop_map(Some)];
    (proptest::sample::select(&EventKind::ALL[..]), name, any_fields(), any_fields(), extra).prop_map(
        |(kind, name, own, context, extra)| {
            let mut fields = json!({ "event": name, "properties": own, "traits": own, "context": context });
            if let Some(extra) = extra {
                fields["userId"] = extra.clone();
                fields["sentAt"] = extra.clone();
                fields["version"] = extra;
            }
            (kind, fields)
        },
    )
}

/// Writes the events in this order, cut into batches of this many.
fn written(events: &[(usize, (EventKind, Value))], cut: usize) -> (File, FileTables) {
    let file = File::new();
    let mut client = file.client();
    let made = events
        .iter()
        .enumerate()
        .map(|(offset, (id, (kind, fields)))| event(*kind, offset as u64, &format!("m{id}"), fields.clone()))
        .collect::<Vec<_>>();
    for chunk in made.chunks(cut) {
        let delivery = client.deliver(&batch(chunk.to_vec())).unwrap();
        assert_eq!((delivery.delivered, delivery.duplicates), (chunk.len() as u64, 0));
        assert_eq!(delivery.rejected, []);
    }
    let tables = tables(&file.path);
    (file, tables)
}

/// The texts of all values below `value` with the column that each belongs to; a text as the event spells it.
fn leaves(value: &Value, path: &name::Path, taken: &dyn Fn(&str) -> bool, found: &mut Vec<(String, String)>) {
    match value {
        Value::Null => {}
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                leaves(value, &path.child(key), taken, found);
            }
        }
        Value::String(text) => found.push((path.column(taken).0, text.clone())),
        _ => found.push((path.column(taken).0, Scalar::of(&value.clone().into(), &FIT).unwrap().text().into_owned())),
    }
}

fn shown(cell: &Stored, declared: &str) -> String {
    match cell {
        Stored::Integer(truth) if declared == "BOOLEAN" => (*truth == 1).to_string(),
        Stored::Integer(integer) => integer.to_string(),
        Stored::Real(real) => tidegate_warehouse::evolve::real_text(*real),
        Stored::Text(text) => text.clone(),
        other => format!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn neither_order_nor_batching_shows_in_the_tables(
        (events, shuffled) in proptest::collection::vec(any_event(), 1..14)
            .prop_map(|events| events.into_iter().enumerate().collect::<Vec<_>>())
            .prop_flat_map(|events| (Just(events.clone()), Just(events).prop_shuffle())),
        cut in 1_usize..6,
    ) {
        let (file, expected) = written(&events, events.len());
        let (again, found) = written(&shuffled, cut);
        file.assert_sound();
        again.assert_sound();
        prop_assert_eq!(expected, found);
    }

    #[test]
    fn every_value_is_in_its_column_or_in_the_overflow_of_its_row(
        events in proptest::collection::vec(any_fields(), 1..8), cut in 1_usize..4,
    ) {
        let events = events
            .into_iter()
            .map(|own| (EventKind::Identify, json!({ "traits": own })))
            .enumerate()
            .collect::<Vec<_>>();
        let (file, _) = written(&events, cut);
        let declared = file.columns("identifies");
        let taken = |name: &str| {
            ["id", "_overflow"].contains(&name) || name.starts_with("context_") || name.starts_with("message_")
        };
        for (id, (_, fields)) in &events {
            let mut values = Vec::new();
            if fields["traits"] != json!({}) {
                leaves(&fields["traits"], &name::Path::root("traits", ""), &taken, &mut values);
            }
            let mut lost = Vec::new();
            if declared.contains_key("_overflow")
                && let Stored::Text(overflow) = file.cell("identifies", "_overflow", &format!("m{id}"))
            {
                leaves(&parsed(&overflow)["traits"], &name::Path::root("traits", ""), &taken, &mut lost);
            }
            for value in &lost {
                let at = values.iter().position(|other| other == value);
                prop_assert!(at.is_some(), "{value:?} is in the overflow of {fields}");
                values.remove(at.unwrap());
            }
            for (column, value) in values {
                let cell = file.cell("identifies", &column, &format!("m{id}"));
                prop_assert_eq!(shown(&cell, &declared[&column]), value, "column {} of {}", column, fields);
            }
        }
    }
}
