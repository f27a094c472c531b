//! What a value is, and what becomes of a column that sees several types.

use serde_json::{Value, json};
use tidegate_event::EventKind;
use tidegate_warehouse::declared::Declared;
use tidegate_warehouse::evolve::Type;
use tidegate_warehouse::table::Limits;

use crate::events::{batch, event, parsed, track};
use crate::{Rig, Subject};

/// One value of each type, as JSON, and its text in a column of its own type and of type text.
const SAMPLES: [(Type, &str, &str, &str); 6] = [
    (Type::Boolean, "true", "true", "true"),
    (Type::Integer, "9007199254740993", "9007199254740993", "9007199254740993"),
    (Type::Decimal, "-2.50", "-2.5", "-2.5"),
    (Type::Timestamp, "\"2024-05-06T07:08:09.120Z\"", "2024-05-06T07:08:09.120000Z", "2024-05-06T07:08:09.120Z"),
    (Type::Json, "[1,\"a\",{\"b\":null}]", "[1,\"a\",{\"b\":null}]", "[1,\"a\",{\"b\":null}]"),
    (Type::Text, "\"007\"", "007", "007"),
];

pub fn every_type_comes_back_as_it_came<R: Rig>(rig: &R) {
    let properties = SAMPLES.iter().map(|(kind, json, ..)| (format!("v{kind}").to_lowercase(), parsed(json)));
    let more = [
        ("smallest", "-9223372036854775808", Type::Integer),
        ("largest", "9223372036854775807", Type::Integer),
        ("no", "false", Type::Boolean),
        ("cents", "0.01", Type::Decimal),
        ("money", "12345678.12", Type::Decimal),
        ("first_instant", "\"1970-01-01T00:00:00.000Z\"", Type::Timestamp),
        ("leap_day", "\"2024-02-29T23:59:59.999Z\"", Type::Timestamp),
        ("empty_list", "[]", Type::Json),
        ("empty", "\"\"", Type::Text),
        ("no_offset", "\"2024-05-06T07:08:09.120\"", Type::Text),
        ("a_day", "\"2024-05-06\"", Type::Text),
        ("no_day", "\"2023-02-29T00:00:00.000Z\"", Type::Text),
    ];
    let fields = properties.chain(more.map(|(name, json, _)| (name.to_owned(), parsed(json)))).collect();
    Subject::open(rig).deliver(batch(vec![track(0, "m", "E", Value::Object(fields))]));
    let seen = rig.seen(None);
    for (kind, _, own, _) in SAMPLES {
        let column = format!("v{kind}").to_lowercase();
        assert_eq!((seen["e"].columns[&column], seen["e"].cell("m", &column)), (kind, Some(own)), "{column}");
    }
    for (column, json, kind) in more {
        let expected = match parsed(json) {
            Value::String(text) if kind == Type::Timestamp => text.replace("Z", "000Z"),
            Value::String(text) => text,
            other => other.to_string(),
        };
        assert_eq!((seen["e"].columns[column], seen["e"].cell("m", column)), (kind, Some(&*expected)), "{column}");
    }
}

/// An instant is one however it is spelled. What a column does not give back as it came is in the row's overflow, and the
/// column is the same whatever came first, also when it ends as text.
pub fn an_instant_is_one_however_it_is_spelled<R: Rig>(rig: &R) {
    let spelled = [
        ("2024-05-06T07:08:09.120Z", "2024-05-06T07:08:09.120Z", true),
        ("2024-05-06T07:08:09.123456Z", "2024-05-06T07:08:09.123456Z", true),
        ("2024-05-06T07:08:09Z", "2024-05-06T07:08:09.000Z", false),
        ("2024-05-06T07:08:09.120000Z", "2024-05-06T07:08:09.120Z", false),
        ("2024-05-06T07:08:09.123456+00:00", "2024-05-06T07:08:09.123456Z", false),
        ("2024-05-06T09:08:09.5+02:00", "2024-05-06T07:08:09.500Z", false),
        ("2024-05-06T07:08:09.123456789Z", "2024-05-06T07:08:09.123456Z", false),
        ("2024-05-06t07:08:09z", "2024-05-06T07:08:09.000Z", false),
    ];
    let mut subject = Subject::open(rig);
    let mut offset = 0;
    let mut deliver = |id: &str, properties: Value| {
        subject.deliver(batch(vec![track(offset, id, "E", properties)]));
        offset += 1;
    };
    deliver("first", json!({"text_first": "no instant"}));
    for (at, (text, ..)) in spelled.iter().enumerate() {
        deliver(&format!("m{at}"), json!({"at": text, "text_first": text, "text_last": text}));
    }
    deliver("last", json!({"text_last": "no instant"}));
    let seen = rig.seen(None);
    assert_eq!(seen["e"].columns["at"], Type::Timestamp);
    for (at, (text, column, is_whole)) in spelled.into_iter().enumerate() {
        let id = format!("m{at}");
        let instant: jiff::Timestamp = column.parse().unwrap();
        let micros = instant.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
        assert_eq!(seen["e"].cell(&id, "at"), Some(&*micros), "{text}");
        assert_eq!(seen["e"].cell(&id, "text_first"), Some(column), "{text}");
        assert_eq!(seen["e"].cell(&id, "text_last"), Some(column), "{text}");
        let kept = json!({"properties": {"at": text, "text_first": text, "text_last": text}});
        assert_eq!(seen["e"].overflow(&id), if is_whole { Value::Null } else { kept }, "{text}");
    }
}

/// What every event has: ids that are some, and instants that are instants.
pub fn base_columns_hold_ids_and_instants<R: Rig>(rig: &R) {
    let mut subject = Subject::open(rig);
    let python = json!({
        "userId": "", "anonymousId": "anon", "sentAt": "2024-05-06T07:08:09.136646+00:00",
        "originalTimestamp": "2024-05-06T09:08:08+02:00", "properties": {"userId": ""}, "event": "E",
    });
    let strange = json!({
        "userId": 9_007_199_254_740_993_u64, "anonymousId": "", "sentAt": "yesterday", "originalTimestamp": 1_714_979_289,
        "event": "E",
    });
    subject.deliver(batch(vec![event(EventKind::Track, 0, "python", python)]));
    subject.deliver(batch(vec![event(EventKind::Track, 1, "strange", strange)]));
    subject.deliver(batch(vec![event(EventKind::Group, 2, "group", json!({"groupId": "", "userId": "u"}))]));
    let none = json!({"previousId": {"a": 1}, "userId": " ", "anonymousId": true});
    subject.deliver(batch(vec![event(EventKind::Alias, 3, "alias", none.clone())]));
    let listed = json!({"previousId": ["a"], "userId": " u ", "anonymousId": 1.50});
    subject.deliver(batch(vec![event(EventKind::Alias, 4, "listed", listed)]));
    let seen = rig.seen(None);
    for table in ["e", "tracks"] {
        let seen = &seen[table];
        for (column, kind) in
            [("user_id", Type::Text), ("sent_at", Type::Timestamp), ("original_timestamp", Type::Timestamp)]
        {
            assert_eq!(seen.columns[column], kind, "{column} of {table}");
        }
        assert_eq!((seen.cell("python", "user_id"), seen.cell("python", "anonymous_id")), (None, Some("anon")));
        assert_eq!(seen.cell("python", "sent_at"), Some("2024-05-06T07:08:09.136646Z"));
        assert_eq!(seen.cell("python", "original_timestamp"), Some("2024-05-06T07:08:08.000000Z"));
        assert_eq!(seen.overflow("python"), Value::Null);
        assert_eq!(
            (seen.cell("strange", "user_id"), seen.cell("strange", "anonymous_id")),
            (Some("9007199254740993"), None)
        );
        assert_eq!(seen.cell("strange", "sent_at"), None, "no time is no instant");
        let read = seen.cell("strange", "original_timestamp");
        assert_eq!(
            read,
            Some("2024-05-06T07:08:09.000000Z"),
            "a time in another spelling is one, and is kept as it came"
        );
        let kept = json!({"sentAt": "yesterday", "originalTimestamp": 1_714_979_289});
        assert_eq!(seen.overflow("strange"), kept);
    }
    assert_eq!(seen["e"].cell("python", "_user_id"), Some(""), "a property keeps its empty text");
    let ids = |id: &str| ["previous_id", "user_id", "anonymous_id"].map(|column| seen["aliases"].cell(id, column));
    assert_eq!((ids("alias"), seen["aliases"].overflow("alias")), ([None, None, None], none));
    let kept = json!({"previousId": ["a"]});
    assert_eq!((ids("listed"), seen["aliases"].overflow("listed")), ([None, Some(" u "), Some("1.5")], kept));
    assert_eq!((seen["groups"].cell("group", "group_id"), seen["groups"].cell("group", "user_id")), (None, Some("u")));
}

/// Every pair of types in one table: each pair is a column, once in either order, in batches of their own.
pub fn two_types_join_in_either_order<R: Rig>(rig: &R) {
    let (mut first, mut second, mut pairs) = (serde_json::Map::new(), serde_json::Map::new(), Vec::new());
    for (a, a_json, ..) in SAMPLES {
        for (b, b_json, ..) in SAMPLES {
            let column = format!("p_{a}_{b}").to_lowercase();
            first.insert(column.clone(), parsed(a_json));
            second.insert(column.clone(), parsed(b_json));
            pairs.push((a, b, column));
        }
    }
    let mut subject = Subject::open(rig);
    subject.deliver(batch(vec![track(0, "first", "E", first.into())]));
    subject.deliver(batch(vec![track(1, "second", "E", second.into())]));
    let seen = rig.seen(None);
    let text = |kind: Type, joined: Type| {
        let (_, _, own, text) = SAMPLES.iter().find(|(of, ..)| *of == kind).unwrap();
        if joined == Type::Text { *text } else { *own }
    };
    for (a, b, column) in pairs {
        let joined = a.join(b);
        assert_eq!(seen["e"].columns[&column], joined, "{a} then {b}");
        assert_eq!(seen["e"].cell("first", &column), Some(text(a, joined)), "{a} before {b}");
        assert_eq!(seen["e"].cell("second", &column), Some(text(b, joined)), "{b} after {a}");
    }
}

pub fn numbers_keep_every_digit<R: Rig>(rig: &R) {
    let numbers = [
        ("9007199254740991", "9007199254740991"),
        ("-9007199254740993", "-9007199254740993"),
        ("9223372036854775807", "9223372036854775807"),
        ("9223372036854775808", "9223372036854775808"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("1.0", "1"),
        ("-0.0", "0"),
        ("2.50", "2.5"),
        ("0.1", "0.1"),
        ("0.30000000000000004", "0.30000000000000004"),
        ("0.1000000000000000055", "0.1000000000000000055"),
        ("1e20", "100000000000000000000"),
        ("1e22", "10000000000000000000000"),
        ("1.5e-9", "0.0000000015"),
        ("1e-300", "1e-300"),
        ("1e308", "1e308"),
        ("1e400", "1e400"),
        ("-1.25e-30", "-0.00000000000000000000000000000125"),
    ];
    let properties = numbers.iter().enumerate().map(|(at, (json, _))| (format!("n{at}"), parsed(json)));
    Subject::open(rig).deliver(batch(vec![track(0, "m", "E", Value::Object(properties.collect()))]));
    let seen = rig.seen(None);
    for (at, (json, expected)) in numbers.iter().enumerate() {
        assert_eq!(seen["e"].cell("m", &format!("n{at}")), Some(*expected), "{json}");
    }
}

pub fn a_type_that_flips_ends_as_text_and_keeps_every_value<R: Rig>(rig: &R) {
    let values =
        ["5", "{\"deep\": 1}", "[1, 2]", "\"five\"", "true", "2.50", "9223372036854775808", "1e400", "-0", "{}"];
    let mut subject = Subject::open(rig);
    let mut notices = Vec::new();
    for (at, value) in values.iter().enumerate() {
        let made = track(at as u64, &format!("m{at}"), "E", json!({ "v": parsed(value) }));
        notices.extend(subject.deliver(batch(vec![made])).notices);
    }
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(notices[0].starts_with("column v of table e widened from "), "{notices:?}");
    let seen = rig.seen(None);
    let expected = ["5", "", "[1,2]", "five", "true", "2.5", "9223372036854775808", "1e400", "0", "{}"];
    for (at, expected) in expected.into_iter().enumerate().filter(|(at, _)| *at != 1) {
        assert_eq!(seen["e"].cell(&format!("m{at}"), "v"), Some(expected), "{}", values[at]);
    }
    assert_eq!(seen["e"].cell("m1", "v_deep"), Some("1"));
}

pub fn types_declared_in_advance_win<R: Rig>(rig: &R) {
    let types = [("total", Type::Decimal), ("zip", Type::Text), ("never", Type::Boolean), ("count", Type::Integer)];
    let columns = types.iter().map(|(name, kind)| ((*name).into(), *kind)).collect();
    let declared = Declared { tables: [("e".into(), columns)].into() };
    let open = || Subject::with(rig, "sync", None, Limits::default(), declared.clone());
    let mut subject = open();
    subject.deliver(batch(vec![track(0, "a", "E", json!({"total": 5, "zip": true, "count": 1, "free": 1}))]));
    subject.deliver(batch(vec![track(1, "b", "E", json!({"total": "five", "zip": 501, "count": 1.5, "free": "x"}))]));
    drop(subject);
    let delivery = open().deliver(batch(vec![track(2, "c", "E", json!({"total": [1], "count": 7}))]));
    assert_eq!(
        delivery.notices,
        ["column total of table e is declared DECIMAL: values of other types go to _overflow"]
    );
    let seen = rig.seen(None);
    for (column, kind) in types {
        assert_eq!(seen["e"].columns[column], kind, "{column}");
    }
    assert_eq!(seen["e"].columns["free"], Type::Text, "what is not declared follows its values");
    for (id, column, expected) in [
        ("a", "total", Some("5")),
        ("a", "zip", Some("true")),
        ("b", "total", None),
        ("b", "zip", Some("501")),
        ("b", "count", None),
        ("c", "count", Some("7")),
    ] {
        assert_eq!(seen["e"].cell(id, column), expected, "{column} of {id}");
    }
    assert_eq!(seen["e"].overflow("a"), Value::Null);
    assert_eq!(seen["e"].overflow("b"), json!({"properties": {"total": "five", "count": 1.5}}));
    assert_eq!(seen["e"].overflow("c"), json!({"properties": {"total": [1]}}));
}
