//! Columns appear, widen and overflow; what was written before reads as if it had been written after.

use super::*;

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
fn the_widest_table_that_may_be_is_written_whole() {
    let file = File::new();
    let mut client = file.client_of("sync", None, Limits { columns_max: 1900, tables_max: 10, ..Limits::default() });
    let properties = (0..2500).map(|n| (format!("p{n:04}"), Value::from(n))).collect();
    client.deliver(&batch(vec![track(0, "m", "E", Value::Object(properties))])).unwrap();
    assert_eq!(file.columns("e").len(), 1901);
    assert_eq!(file.cell("e", "p1890", "m"), Stored::Integer(1890));
}
