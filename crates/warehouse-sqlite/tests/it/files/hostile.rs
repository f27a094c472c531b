//! Names and values from people who mean harm.

use super::*;

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
