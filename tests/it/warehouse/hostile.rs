//! Names and values from people who mean harm.

use super::*;

#[test]
fn names_that_look_like_sql_are_only_names() {
    let file = File::new();
    let mut client = file.client();
    let long = "k".repeat(1 << 20);
    let (a, b) = ("x".repeat(70) + "a", "x".repeat(70) + "b");
    let keys = [
        "\"); DROP TABLE tracks; --",
        "quote'\"`[]",
        "nul\0byte",
        "🎉",
        "🎈",
        "مرحبا",
        "\u{202e}rtl",
        "select",
        "__proto__",
        "",
        "rowid",
        "ctid",
        "tab\there",
        long.as_str(),
        a.as_str(),
        b.as_str(),
    ];
    let properties = keys.iter().enumerate().map(|(at, key)| ((*key).to_owned(), Value::from(at))).collect();
    let names = ["\"; DROP TABLE tracks; --", "tracks", "sqlite_schema", "_tidegate_ledger", "🎉", "", "\0", "Order"];
    let mut events = names
        .iter()
        .enumerate()
        .map(|(at, name)| track(at as u64, &format!("m{at}"), name, json!({ "n": at })))
        .collect::<Vec<_>>();
    events.push(track(8, "m8", "E", Value::Object(properties)));
    assert_eq!(client.deliver(&batch(events)).unwrap().delivered, 9);
    assert_eq!(file.count("tracks"), 9);
    for table in ["_drop_table_tracks", "_tracks", "_sqlite_schema", "__tidegate_ledger", "_order"] {
        assert_eq!(file.count(table), 1, "{table}");
    }
    // Every key has a column of its own, and its number in it.
    let found = tables(&file.path);
    let (_, rows) = &found["e"];
    let row = &rows["m8"];
    for (at, key) in keys.iter().enumerate() {
        let holders = row.values().filter(|cell| **cell == format!("Integer({at})")).count();
        assert_eq!(holders, 1, "{:?}", key.get(..20));
    }
    assert!(row.keys().all(|column| column.len() <= 63));
    file.assert_sound();
}

#[test]
fn values_are_bound_and_come_back_byte_for_byte() {
    let file = File::new();
    let mut client = file.client();
    let values =
        ["'); DROP TABLE tracks; --", "a\0b\0", "\u{202e}\u{feff}", "🎉", "007", "1e5", " 1 ", "NULL", "\"", ""];
    let events =
        values.iter().enumerate().map(|(at, value)| track(at as u64, &format!("m{at}"), "E", json!({ "v": value })));
    client.deliver(&batch(events.collect())).unwrap();
    for (at, value) in values.iter().enumerate() {
        assert_eq!(file.cell("e", "v", &format!("m{at}")), text(value));
    }
    let id = "id'\0\"";
    client.deliver(&batch(vec![track(10, id, "E", json!({ "v": 1 }))])).unwrap();
    assert_eq!(file.cell("e", "v", id), text("1"));
}

#[test]
fn two_paths_of_one_event_for_one_column_are_both_kept() {
    let file = File::new();
    let mut client = file.client();
    let rows = [
        (json!({"orderId": 1, "order_id": 2}), 2, json!({"orderId": 1})),
        (json!({"orderId": 1, "Order Id": 2}), 2, json!({"orderId": 1})),
        (json!({"order": {"id": 1}, "order_id": 2}), 2, json!({"order": {"id": 1}})),
        (json!({"order": {"id": 1}, "orderId": 2}), 1, json!({"orderId": 2})),
        (
            json!({"order": {"id": 1, "Id": null}, "OrderId": {}, "ORDER_ID": [3]}),
            1,
            json!({"OrderId": {}, "ORDER_ID": [3]}),
        ),
    ];
    let events = rows
        .iter()
        .enumerate()
        .map(|(at, (properties, ..))| track(at as u64, &format!("m{at}"), "E", properties.clone()))
        .collect();
    client.deliver(&batch(events)).unwrap();
    for (at, (properties, kept, lost)) in rows.iter().enumerate() {
        let id = format!("m{at}");
        assert_eq!(file.cell("e", "order_id", &id), Stored::Integer(*kept), "{properties}");
        assert_eq!(file.overflow("e", &id), json!({ "properties": lost }), "{properties}");
    }
    assert_eq!(file.columns("e")["order_id"], "INTEGER", "what was not kept does not widen");
    assert!(!file.columns("tracks").contains_key("_overflow"));
}

#[test]
fn a_deep_event_with_long_keys_costs_no_more_than_its_bytes() {
    let file = File::new();
    let mut client = file.client();
    let leaves = (0..20_000).map(|n| (format!("k{n}"), Value::from(n))).collect();
    let mut deep = Value::Object(leaves);
    for _ in 0..100 {
        deep = json!({ ("x".repeat(5000)): deep });
    }
    let made = track(0, "m", "E", json!({ "deep": deep }));
    client.deliver(&batch(vec![made])).unwrap();
    assert!(file.overflow("e", "m").to_string().len() < 1_000_000);
    assert_eq!(file.columns("e").len(), 1001);
}
