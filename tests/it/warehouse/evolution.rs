//! Columns appear, widen and overflow; what was written before reads as if it had been written after.

use super::*;

#[test]
fn a_track_becomes_two_rows_with_the_documented_columns() {
    let file = File::new();
    let mut client = file.client();
    let fields = json!({
        "event": "Order Completed", "userId": "u1", "anonymousId": "a1", "writeKey": "secret", "_metadata": {"x": 1},
        "sentAt": "2024-05-06T07:08:09.500Z", "originalTimestamp": "2024-05-06T09:08:08+02:00",
        "properties": {"orderID": "o1", "total": 12.5, "items": [1, 2], "gift": true, "shipping": {"zip": "00501"},
            "placedAt": "2024-05-06T07:00:00.000Z", "note": null, "extra": {}},
        "context": {"ip": "::1", "page": {"URL": "/"}, "app": {}}, "integrations": {"All": true}, "channel": "web",
        "traits": {"plan": "pro"}, "version": 2, "empty": {},
    });
    let delivery = client.deliver(&batch(vec![event(Kind::Track, 0, "m1", fields)])).unwrap();
    assert_eq!(delivery, Delivery { delivered: 1, ..Delivery::default() });
    let common = json!({
        "id": "TEXT", "anonymous_id": "TEXT", "user_id": "TEXT", "timestamp": "TIMESTAMP TEXT",
        "received_at": "TIMESTAMP TEXT", "sent_at": "TIMESTAMP TEXT", "original_timestamp": "TEXT",
        "event": "TEXT", "event_text": "TEXT", "context_ip": "TEXT", "context_page_url": "TEXT", "context_app": "JSON TEXT",
        "message_integrations_all": "BOOLEAN", "message_channel": "TEXT", "message_traits_plan": "TEXT",
        "message_version": "INTEGER",
    });
    let mut wide = common.clone();
    for (column, kind) in [
        ("order_id", "TEXT"),
        ("total", "DECIMAL"),
        ("items", "JSON TEXT"),
        ("gift", "BOOLEAN"),
        ("shipping_zip", "TEXT"),
        ("placed_at", "TIMESTAMP TEXT"),
        ("extra", "JSON TEXT"),
    ] {
        wide[column] = kind.into();
    }
    assert_eq!(json!(file.columns("tracks")), common);
    assert_eq!(json!(file.columns("order_completed")), wide);
    for (column, expected) in [
        ("id", text("m1")),
        ("event", text("order_completed")),
        ("event_text", text("Order Completed")),
        ("timestamp", text("2024-05-06T07:08:09.000001Z")),
        ("original_timestamp", text("2024-05-06T09:08:08+02:00")),
        ("total", Stored::Real(12.5)),
        ("items", text("[1,2]")),
        ("gift", Stored::Integer(1)),
        ("shipping_zip", text("00501")),
        ("context_app", text("{}")),
        ("message_version", Stored::Integer(2)),
    ] {
        assert_eq!(file.cell("order_completed", column, "m1"), expected, "{column}");
    }
    file.assert_sound();
}

#[test]
fn the_other_kinds_have_their_own_columns() {
    let file = File::new();
    let mut client = file.client();
    let events = vec![
        event(
            Kind::Identify,
            0,
            "i",
            json!({"userId": 7, "traits": {"email": "a@b", "id": 3}, "properties": {"x": 1}}),
        ),
        event(Kind::Group, 1, "g", json!({"groupId": "g1", "traits": {"size": 3}})),
        event(
            Kind::Page,
            2,
            "p",
            json!({"name": "Home", "category": "c", "properties": {"url": "/", "name": "Other"}}),
        ),
        event(Kind::Screen, 3, "s", json!({"name": "Main"})),
        event(Kind::Alias, 4, "a", json!({"previousId": "old", "userId": "new"})),
        event(Kind::Page, 5, "odd", json!({"properties": "none", "context": [1]})),
    ];
    assert_eq!(client.deliver(&batch(events)).unwrap().delivered, 6);
    for (table, column, id, expected) in [
        ("identifies", "user_id", "i", text("7")),
        ("identifies", "email", "i", text("a@b")),
        ("identifies", "_id", "i", Stored::Integer(3)),
        ("identifies", "message_properties_x", "i", Stored::Integer(1)),
        ("groups", "group_id", "g", text("g1")),
        ("groups", "size", "g", Stored::Integer(3)),
        ("pages", "name", "p", text("Home")),
        ("pages", "_name", "p", text("Other")),
        ("pages", "category", "p", text("c")),
        ("screens", "name", "s", text("Main")),
        ("aliases", "previous_id", "a", text("old")),
        ("pages", "message_properties", "odd", text("none")),
        ("pages", "message_context", "odd", text("[1]")),
    ] {
        assert_eq!(file.cell(table, column, id), expected, "{table}.{column}");
    }
}

#[test]
fn a_type_that_flips_from_row_to_row_ends_as_text_and_keeps_every_value() {
    let file = File::new();
    let mut client = file.client();
    let values =
        ["5", "{\"deep\": 1}", "[1, 2]", "\"five\"", "true", "2.50", "9223372036854775808", "1e400", "-0", "{}"];
    let mut notices = Vec::new();
    for (at, value) in values.iter().enumerate() {
        let made = track(at as u64, &format!("m{at}"), "E", json!({ "v": parsed(value) }));
        notices.extend(client.deliver(&batch(vec![made])).unwrap().notices);
    }
    assert_eq!(notices, ["column v of table e widened from INTEGER to TEXT"]);
    for (at, expected) in
        ["5", "", "[1,2]", "five", "true", "2.5", "9223372036854775808", "1e400", "0", "{}"].into_iter().enumerate()
    {
        if at != 1 {
            assert_eq!(file.cell("e", "v", &format!("m{at}")), text(expected), "{}", values[at]);
        }
    }
    assert_eq!(file.cell("e", "v_deep", "m1"), Stored::Integer(1));
    file.assert_sound();
}

#[test]
fn numbers_keep_every_digit_or_become_text() {
    let file = File::new();
    let mut client = file.client();
    let numbers = [
        ("9007199254740991", Stored::Integer(9_007_199_254_740_991), "INTEGER"),
        ("9007199254740993", Stored::Integer(9_007_199_254_740_993), "INTEGER"),
        ("-9007199254740993", Stored::Integer(-9_007_199_254_740_993), "INTEGER"),
        ("9223372036854775807", Stored::Integer(i64::MAX), "INTEGER"),
        ("9223372036854775808", text("9223372036854775808"), "TEXT"),
        ("1.0", Stored::Integer(1), "INTEGER"),
        ("-0.0", Stored::Integer(0), "INTEGER"),
        ("0.1", Stored::Real(0.1), "DECIMAL"),
        ("1e20", Stored::Real(1e20), "DECIMAL"),
        ("0.1000000000000000055", text("0.1000000000000000055"), "TEXT"),
        ("1e400", text("1e400"), "TEXT"),
        ("\"007\"", text("007"), "TEXT"),
    ];
    let properties = numbers.iter().enumerate().map(|(at, (json, ..))| (format!("n{at}"), parsed(json)));
    let made = track(0, "m", "E", Value::Object(properties.collect()));
    client.deliver(&batch(vec![made])).unwrap();
    let declared = file.columns("e");
    for (at, (json, stored, kind)) in numbers.iter().enumerate() {
        let column = format!("n{at}");
        assert_eq!((&file.cell("e", &column, "m"), declared[&column].as_str()), (stored, *kind), "{json}");
    }
}

#[test]
fn an_integer_column_survives_widening_to_decimal_and_to_text() {
    let file = File::new();
    let mut client = file.client();
    let big = 9_007_199_254_740_993_i64;
    client.deliver(&batch(vec![track(0, "a", "E", json!({ "v": big }))])).unwrap();
    client.deliver(&batch(vec![track(1, "b", "E", json!({ "v": 0.5 }))])).unwrap();
    assert_eq!(file.columns("e")["v"], "DECIMAL");
    assert_eq!(file.cell("e", "v", "a"), Stored::Integer(big));
    client.deliver(&batch(vec![track(2, "c", "E", json!({ "v": "007" }))])).unwrap();
    assert_eq!(file.columns("e")["v"], "TEXT");
    let found = ["a", "b", "c"].map(|id| file.cell("e", "v", id));
    assert_eq!(found, [text("9007199254740993"), text("0.5"), text("007")]);
    file.assert_sound();
}

#[test]
fn a_column_widens_under_an_index_a_view_and_an_open_reader() {
    let file = File::new();
    let mut client = file.client();
    let first = (0..500).map(|n| track(n, &format!("m{n}"), "E", json!({ "v": n, "w": n % 2 == 0 }))).collect();
    client.deliver(&batch(first)).unwrap();
    let reader = file.reader();
    reader
        .execute_batch(
            "CREATE INDEX by_v ON e (v); CREATE INDEX some ON e (w) WHERE v > 50; CREATE INDEX twice ON e (v * 2, w);
             CREATE VIEW seen AS SELECT id, v FROM e; BEGIN; SELECT count(*) FROM e;",
        )
        .unwrap();
    let count = |sql: &str| reader.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM seen WHERE v = 7"), 1);
    let later = track(500, "x", "E", json!({ "v": "seven", "w": "no" }));
    let delivery = client.deliver(&batch(vec![later])).unwrap();
    assert_eq!(delivery.notices.len(), 2);
    assert_eq!(count("SELECT count(*) FROM seen"), 500, "the reader still sees its snapshot");
    reader.execute_batch("COMMIT").unwrap();
    assert_eq!(count("SELECT count(*) FROM e INDEXED BY by_v WHERE v = '7'"), 1);
    assert_eq!(count("SELECT count(*) FROM e WHERE w = 'true'"), 250);
    assert_eq!(count("SELECT count(*) FROM seen"), 501);
    file.assert_sound();
}

#[test]
fn beyond_the_column_cap_values_go_to_the_rows_overflow() {
    let file = File::new();
    let mut client = file.client_of("sync", None, Limits { columns_max: 100, tables_max: 10 });
    let properties = (0..2500).map(|n| (format!("p{n:04}"), Value::from(n))).collect();
    let delivery = client.deliver(&batch(vec![track(0, "m", "E", Value::Object(properties))])).unwrap();
    assert_eq!(delivery.notices, ["table e has 100 columns and gets no more: further fields go to _overflow"]);
    assert_eq!(file.columns("e").len(), 101);
    let overflow = file.overflow("e", "m");
    assert_eq!(overflow["properties"].as_object().unwrap().len(), 2500 - (100 - 9));
    assert_eq!(overflow["properties"]["p2499"], 2499);
    let again = client.deliver(&batch(vec![track(1, "n", "E", json!({"p0000": 1, "new": "x"}))])).unwrap();
    assert_eq!(again.notices, [] as [&str; 0], "a notice comes once");
    assert_eq!(file.overflow("e", "n"), json!({"properties": {"new": "x"}}));
    assert_eq!(file.cell("e", "p0000", "n"), Stored::Integer(1));
    let mut reopened = file.client_of("sync", None, Limits { columns_max: 100, tables_max: 10 });
    reopened.deliver(&batch(vec![track(2, "o", "E", json!({"more": 1}))])).unwrap();
    assert_eq!(file.columns("e").len(), 101);
}

#[test]
fn the_widest_table_that_may_be_is_written_whole() {
    let file = File::new();
    let mut client = file.client_of("sync", None, Limits { columns_max: 1900, tables_max: 10 });
    let properties = (0..2500).map(|n| (format!("p{n:04}"), Value::from(n))).collect();
    client.deliver(&batch(vec![track(0, "m", "E", Value::Object(properties))])).unwrap();
    assert_eq!(file.columns("e").len(), 1901);
    assert_eq!(file.cell("e", "p1890", "m"), Stored::Integer(1890));
}

#[test]
fn beyond_the_table_cap_events_share_the_overflow_table() {
    let file = File::new();
    let limits = Limits { columns_max: 100, tables_max: 50 };
    let mut client = file.client_of("sync", None, limits);
    let made = (0..1200).map(|n| track(n, &format!("m{n}"), &format!("Event {n}"), json!({ "n": n }))).collect();
    let delivery = client.deliver(&batch(made)).unwrap();
    assert_eq!(delivery.notices, ["50 event names have tables: events of further names go to table _overflow"]);
    assert_eq!((file.count("tracks"), file.count("_overflow")), (1200, 1150));
    assert_eq!(file.cell("_overflow", "properties", "m1199"), text("{\"n\":1199}"));
    assert_eq!(file.cell("_overflow", "event_text", "m1199"), text("Event 1199"));
    assert_eq!(file.cell("_overflow", "event", "m1199"), text("event_1199"));
    let mut reopened = file.client_of("sync", None, limits);
    reopened
        .deliver(&batch(vec![track(1200, "x", "Another", json!({})), track(1201, "y", "Event 3", json!({}))]))
        .unwrap();
    assert_eq!((file.count("_overflow"), file.count("event_3")), (1151, 2));
    assert!(file.columns("another").is_empty());
}
