//! Names and values from people who mean harm.

use serde_json::{Value, json};

use crate::events::{batch, track};
use crate::{Rig, Subject};

pub fn names_that_look_like_sql_are_only_names<R: Rig>(rig: &R) {
    let long = "k".repeat(1 << 16);
    let (a, b) = ("x".repeat(70) + "a", "x".repeat(70) + "b");
    let keys = [
        "\"); DROP TABLE tracks; --",
        "quote'\"`[]",
        "$$; DROP SCHEMA public CASCADE; $$",
        "back\\slash\\",
        "{brace}?:name",
        "nul\0byte",
        "🎉",
        "🎈",
        "مرحبا",
        "\u{202e}rtl",
        "select",
        "order",
        "__proto__",
        "constructor",
        "",
        "rowid",
        "ctid",
        "xmin",
        "tab\there",
        long.as_str(),
        a.as_str(),
        b.as_str(),
    ];
    let properties = keys.iter().enumerate().map(|(at, key)| ((*key).to_owned(), Value::from(at))).collect();
    let names = [
        "\"; DROP TABLE tracks; --",
        "'; DELETE FROM tracks; --",
        "tracks",
        "sqlite_schema",
        "_tidegate_ledger",
        "🎉",
        "",
        "Order",
        "__proto__",
    ];
    let mut events = names
        .iter()
        .enumerate()
        .map(|(at, name)| track(at as u64, &format!("m{at}"), name, json!({ "n": at })))
        .collect::<Vec<_>>();
    events.push(track(names.len() as u64, "keys", "E", Value::Object(properties)));
    let delivery = Subject::open(rig).deliver(batch(events));
    assert_eq!((delivery.delivered, delivery.rejected.len()), (names.len() as u64 + 1, 0), "{:?}", delivery.rejected);
    let seen = rig.seen(None);
    assert_eq!(seen["tracks"].rows.len(), names.len() + 1);
    for table in
        ["_drop_table_tracks", "_delete_from_tracks", "_tracks", "_sqlite_schema", "__tidegate_ledger", "_order"]
    {
        assert_eq!(seen[table].rows.len(), 1, "{table}");
    }
    // Every key has a column of its own, and its number in it.
    let row = &seen["e"].rows["keys"];
    for (at, key) in keys.iter().enumerate() {
        let holders = row.values().filter(|cell| **cell == at.to_string()).count();
        assert_eq!(holders, 1, "{:?}", key.chars().take(20).collect::<String>());
    }
    assert!(row.keys().all(|column| column.len() <= 63));
}

pub fn values_come_back_byte_for_byte<R: Rig>(rig: &R) {
    let values = [
        "'); DROP TABLE tracks; --",
        "\u{202e}\u{feff}",
        "🎉 مرحبا 漢字",
        "007",
        "1e5",
        " 1 ",
        "NULL",
        "null",
        "\\N",
        "\\.",
        "\n\\.\n",
        "a\tb\rc\nd\u{8}\u{c}\u{b}",
        "\u{1a}\u{1}\u{7f}\u{85}\u{2028}",
        "\\",
        "\\x00",
        "\\u0000",
        "$$",
        "\"",
        "\"\"",
        "a,b;c|d",
        "",
        "=cmd()",
        "{\"a\":1}",
        "${HOME} {{secret}} %s %n :v ?",
    ];
    let events = values.iter().enumerate().map(|(at, v)| track(at as u64, &format!("m{at}"), "E", json!({ "v": v })));
    let mut events: Vec<_> = events.collect();
    let huge = "é".repeat(300_000);
    let json = json!({ "v": "x", "list": values, "huge": huge, "id'\"": "\\" });
    events.push(track(values.len() as u64, "id'\t\"\\", "E", json));
    Subject::open(rig).deliver(batch(events));
    let seen = rig.seen(None);
    for (at, value) in values.iter().enumerate() {
        assert_eq!(seen["e"].cell(&format!("m{at}"), "v"), Some(*value));
    }
    let odd = "id'\t\"\\";
    assert_eq!(seen["e"].cell(odd, "list"), Some(&*json!(values).to_string()));
    assert_eq!(seen["e"].cell(odd, "huge").map(str::len), Some(600_000));
    assert_eq!(seen["tracks"].cell(odd, "id"), Some(odd));
}

/// Some warehouses' text cannot hold it: then the value is in the overflow of its row.
pub fn the_character_nul_is_kept<R: Rig>(rig: &R) {
    let fields = json!({ "v": "a\0b\0", "list": ["\0"], "w": "plain" });
    let mut subject = Subject::open(rig);
    let named = track(1, "n", "Nul\0Name", json!({ "v": "c" }));
    let delivery = subject.deliver(batch(vec![track(0, "m", "E", fields), named]));
    assert_eq!((delivery.delivered, delivery.rejected.len()), (2, 0));
    let seen = rig.seen(None);
    let found = match seen["e"].cell("m", "v") {
        Some(text) => text.to_owned(),
        None => seen["e"].overflow("m")["properties"]["v"].as_str().unwrap().to_owned(),
    };
    assert_eq!(found, "a\0b\0");
    assert_eq!(seen["e"].cell("m", "list"), Some("[\"\\u0000\"]"));
    assert_eq!(seen["e"].cell("m", "w"), Some("plain"));
    let name = match seen["tracks"].cell("n", "event_text") {
        Some(text) => text.to_owned(),
        None => seen["tracks"].overflow("n")["event"].as_str().unwrap().to_owned(),
    };
    assert_eq!(name, "Nul\0Name");
}

pub fn a_column_whose_first_value_does_not_fit_becomes_no_narrower<R: Rig>(rig: &R) {
    let mut subject = Subject::open(rig);
    for (at, value) in [json!("a\0b"), json!(5), json!("hello")].into_iter().enumerate() {
        let delivery = subject.deliver(batch(vec![track(at as u64, &format!("m{at}"), "E", json!({ "v": value }))]));
        assert_eq!(delivery.notices, [""; 0]);
    }
    let seen = rig.seen(None);
    assert_eq!((seen["e"].cell("m1", "v"), seen["e"].cell("m2", "v")), (Some("5"), Some("hello")));
}

pub fn two_paths_for_one_column_are_both_kept<R: Rig>(rig: &R) {
    let rows = [
        (json!({"orderId": 1, "order_id": 2}), "2", json!({"orderId": 1})),
        (json!({"orderId": 1, "Order Id": 2}), "2", json!({"orderId": 1})),
        (json!({"order": {"id": 1}, "order_id": 2}), "2", json!({"order": {"id": 1}})),
        (json!({"order": {"id": 1}, "orderId": 2}), "1", json!({"orderId": 2})),
        (
            json!({"order": {"id": 1, "Id": null}, "OrderId": {}, "ORDER_ID": [3]}),
            "1",
            json!({"OrderId": {}, "ORDER_ID": [3]}),
        ),
    ];
    let events =
        rows.iter().enumerate().map(|(at, (fields, ..))| track(at as u64, &format!("m{at}"), "E", fields.clone()));
    Subject::open(rig).deliver(batch(events.collect()));
    let seen = rig.seen(None);
    for (at, (properties, kept, lost)) in rows.iter().enumerate() {
        let id = format!("m{at}");
        assert_eq!(seen["e"].cell(&id, "order_id"), Some(*kept), "{properties}");
        assert_eq!(seen["e"].overflow(&id), json!({ "properties": lost }), "{properties}");
    }
    assert!(seen["tracks"].rows.values().all(|row| !row.contains_key("_overflow")));
}
