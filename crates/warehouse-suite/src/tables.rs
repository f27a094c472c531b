//! Which tables and columns there are.

use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_event::destination::Batch;
use tidegate_event::{Event, EventKind};
use tidegate_warehouse::declared::Declared;
use tidegate_warehouse::evolve::Type::{Boolean, Decimal, Integer, Json, Text, Timestamp};
use tidegate_warehouse::table::Limits;

use crate::events::{batch, event, numbered, track, violation};
use crate::{Act, Rig, Subject};

pub fn a_track_becomes_two_rows_with_the_documented_columns<R: Rig>(rig: &R) {
    let fields = json!({
        "event": "Order Completed", "userId": "u1", "anonymousId": "a1", "writeKey": "secret", "_metadata": {"x": 1},
        "sentAt": "2024-05-06T07:08:09.500Z", "originalTimestamp": "2024-05-06T09:08:08+02:00",
        "properties": {"orderID": "o1", "total": 12.5, "items": [1, 2], "gift": true, "shipping": {"zip": "00501"},
            "placedAt": "2024-05-06T07:00:00.000Z", "note": null, "extra": {}},
        "context": {"ip": "::1", "page": {"URL": "/"}, "app": {}}, "integrations": {"All": true}, "channel": "web",
        "traits": {"plan": "pro"}, "version": 2, "empty": {},
    });
    let delivery = Subject::open(rig).deliver(batch(vec![event(EventKind::Track, 0, "m1", fields)]));
    assert_eq!((delivery.delivered, delivery.duplicates, delivery.rejected.len()), (1, 0, 0));
    let common = [
        ("id", Text),
        ("anonymous_id", Text),
        ("user_id", Text),
        ("timestamp", Timestamp),
        ("received_at", Timestamp),
        ("sent_at", Timestamp),
        ("original_timestamp", Timestamp),
        ("event", Text),
        ("event_text", Text),
        ("_overflow", Json),
        ("context_ip", Text),
        ("context_page_url", Text),
        ("context_app", Json),
        ("message_integrations_all", Boolean),
        ("message_channel", Text),
        ("message_traits_plan", Text),
        ("message_version", Integer),
    ];
    let own = [
        ("order_id", Text),
        ("total", Decimal),
        ("items", Json),
        ("gift", Boolean),
        ("shipping_zip", Text),
        ("placed_at", Timestamp),
        ("extra", Json),
    ];
    let seen = rig.seen(None);
    let columns = |list: &[(&str, _)]| list.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
    assert_eq!(seen["tracks"].columns, columns(&common));
    assert_eq!(seen["order_completed"].columns, columns(&[&common[..], &own[..]].concat()));
    for (column, expected) in [
        ("id", "m1"),
        ("event", "order_completed"),
        ("event_text", "Order Completed"),
        ("timestamp", "2024-05-06T07:08:09.000001Z"),
        ("sent_at", "2024-05-06T07:08:09.500000Z"),
        ("original_timestamp", "2024-05-06T07:08:08.000000Z"),
        ("total", "12.5"),
        ("items", "[1,2]"),
        ("gift", "true"),
        ("shipping_zip", "00501"),
        ("placed_at", "2024-05-06T07:00:00.000000Z"),
        ("context_app", "{}"),
        ("message_version", "2"),
    ] {
        assert_eq!(seen["order_completed"].cell("m1", column), Some(expected), "{column}");
    }
}

pub fn the_other_kinds_have_their_own_columns<R: Rig>(rig: &R) {
    let events = vec![
        event(
            EventKind::Identify,
            0,
            "i",
            json!({"userId": 7, "traits": {"email": "a@b", "id": 3}, "properties": {"x": 1}}),
        ),
        event(EventKind::Group, 1, "g", json!({"groupId": "g1", "traits": {"size": 3}})),
        event(
            EventKind::Page,
            2,
            "p",
            json!({"name": "Home", "category": "c", "properties": {"url": "/", "name": "Other"}}),
        ),
        event(EventKind::Screen, 3, "s", json!({"name": "Main"})),
        event(EventKind::Alias, 4, "a", json!({"previousId": "old", "userId": "new"})),
        event(EventKind::Page, 5, "odd", json!({"properties": "none", "context": [1]})),
    ];
    assert_eq!(Subject::open(rig).deliver(batch(events)).delivered, 6);
    let seen = rig.seen(None);
    for (table, column, id, expected) in [
        ("identifies", "user_id", "i", "7"),
        ("identifies", "email", "i", "a@b"),
        ("identifies", "_id", "i", "3"),
        ("identifies", "message_properties_x", "i", "1"),
        ("groups", "group_id", "g", "g1"),
        ("groups", "size", "g", "3"),
        ("pages", "name", "p", "Home"),
        ("pages", "_name", "p", "Other"),
        ("pages", "category", "p", "c"),
        ("screens", "name", "s", "Main"),
        ("aliases", "previous_id", "a", "old"),
        ("pages", "message_properties", "odd", "none"),
        ("pages", "message_context", "odd", "[1]"),
    ] {
        assert_eq!(seen[table].cell(id, column), Some(expected), "{table}.{column}");
    }
}

pub fn a_late_column_is_null_before_it<R: Rig>(rig: &R) {
    let mut subject = Subject::open(rig);
    subject.deliver(numbered(0..3));
    assert!(!rig.seen(None)["e"].columns.contains_key("late"));
    subject.deliver(batch(vec![track(3, "m3", "E", json!({"n": 3, "late": "x"}))]));
    subject.deliver(batch(vec![track(4, "m4", "E", json!({"later": 1.5}))]));
    let seen = rig.seen(None);
    assert_eq!((seen["e"].columns["late"], seen["e"].columns["later"]), (Text, Decimal));
    let late: Vec<_> = ["m0", "m2", "m3", "m4"].iter().map(|id| seen["e"].cell(id, "late")).collect();
    assert_eq!(late, [None, None, Some("x"), None]);
    assert_eq!(seen["e"].cell("m4", "later"), Some("1.5"));
}

pub fn a_thousand_columns_and_then_overflow<R: Rig>(rig: &R) {
    let limits = Limits::default();
    let properties = (0..2500).map(|n| (format!("p{n:04}"), Value::from(n))).collect();
    let mut subject = Subject::open(rig);
    let delivery = subject.deliver(batch(vec![track(0, "m", "E", Value::Object(properties))]));
    let notices: Vec<_> = delivery.notices.iter().filter(|notice| notice.contains("gets no more")).collect();
    assert_eq!(notices, ["table e has 1000 columns and gets no more: further fields go to _overflow"]);
    let seen = rig.seen(None);
    assert_eq!(seen["e"].columns.len(), limits.columns_max + 1);
    assert_eq!(seen["e"].cell("m", "p0990"), Some("990"));
    let overflow = seen["e"].overflow("m");
    assert_eq!(overflow["properties"].as_object().unwrap().len(), 2500 - (limits.columns_max - 9));
    assert_eq!(overflow["properties"]["p2499"], 2499);
    let again = subject.deliver(batch(vec![track(1, "n", "E", json!({"p0000": 1, "new": "x"}))]));
    assert!(again.notices.is_empty(), "a notice comes once: {:?}", again.notices);
    drop(subject);
    Subject::open(rig).deliver(batch(vec![track(2, "o", "E", json!({"more": 1}))]));
    let seen = rig.seen(None);
    assert_eq!(seen["e"].columns.len(), limits.columns_max + 1);
    assert_eq!(seen["e"].overflow("n"), json!({"properties": {"new": "x"}}));
    assert_eq!(seen["e"].overflow("o"), json!({"properties": {"more": 1}}));
}

pub fn further_event_names_share_the_overflow_table<R: Rig>(rig: &R) {
    let limits = Limits { columns_max: 100, tables_max: 5, ..Limits::default() };
    let mut subject = Subject::with(rig, "sync", None, limits, Declared::default());
    let made = (0..20).map(|n| track(n, &format!("m{n}"), &format!("Event {n}"), json!({ "n": n }))).collect();
    let delivery = subject.deliver(batch(made));
    assert_eq!(delivery.notices, ["5 event names have tables: events of further names go to table _overflow"]);
    drop(subject);
    let mut subject = Subject::with(rig, "sync", None, limits, Declared::default());
    subject.deliver(batch(vec![track(20, "x", "Another", json!({})), track(21, "y", "Event 3", json!({}))]));
    let seen = rig.seen(None);
    assert_eq!((seen["tracks"].rows.len(), seen["_overflow"].rows.len(), seen["event_3"].rows.len()), (22, 16, 2));
    assert_eq!(seen["_overflow"].cell("m19", "properties"), Some("{\"n\":19}"));
    assert_eq!(seen["_overflow"].cell("m19", "event_text"), Some("Event 19"));
    assert_eq!(seen["_overflow"].cell("m19", "event"), Some("event_19"));
    assert!(!seen.contains_key("another"));
}

/// One identify of `user` at second `at`, received in the order of the log.
fn identify(offset: u64, at: u64, user: &str, traits: serde_json::Value) -> Arc<Event> {
    let time = format!("2024-05-06T07:08:{at:02}.000000Z");
    let fields = json!({ "userId": user, "timestamp": time, "traits": traits });
    event(EventKind::Identify, offset, &format!("m{offset}"), fields)
}

pub fn the_latest_traits_of_users_and_accounts_are_views<R: Rig>(rig: &R) {
    let mut subject = Subject::open(rig);
    subject.deliver(batch(vec![
        identify(0, 3, "u1", json!({ "email": "new@x", "age": 7 })),
        identify(1, 1, "u1", json!({ "email": "old@x", "plan": "pro" })),
        identify(2, 2, "u2", json!({ "email": null, "age": 8 })),
        identify(3, 4, "", json!({ "email": "nobody" })),
        event(EventKind::Group, 4, "g", json!({ "groupId": "g1", "traits": { "size": 3, "name": "Ann's" } })),
    ]));
    let Some(rows) = rig.read("users", &["user_id", "email", "age", "plan"]) else { return };
    assert_eq!(
        rows,
        ["u1|new@x|7|pro", "u2|-|8|-"],
        "an older event that comes later does not win, anonymous ones are no users"
    );
    assert_eq!(rig.read("accounts", &["group_id", "size", "name"]).unwrap(), ["g1|3|Ann's"]);
    // A null, another column and one that widens, in the same opening and in the next.
    let later = [
        identify(5, 7, "u2", json!({ "city": "Kyiv", "age": "eight" })),
        identify(6, 8, "u1", json!({ "email": null, "age": null })),
    ];
    subject.deliver(batch(later.to_vec()));
    let users = ["user_id", "email", "age", "plan", "city"];
    assert_eq!(rig.read("users", &users).unwrap(), ["u1|new@x|7|pro|-", "u2|-|eight|-|Kyiv"]);
    drop(subject);
    let mut subject = Subject::open(rig);
    let delivery = subject.deliver(batch(vec![identify(7, 9, "u1", json!({ "plan": 5, "email": 6, "new": true }))]));
    let is_widening = |notice: &String| notice.contains("widened");
    assert!(delivery.notices.iter().all(is_widening), "a view is in nobody's way: {:?}", delivery.notices);
    let rows = rig.read("users", &["user_id", "email", "plan", "age"]).unwrap();
    assert_eq!(rows, ["u1|6|5|7", "u2|-|-|eight"]);
}

pub fn of_traits_of_the_same_time_those_received_later_win<R: Rig>(rig: &R) {
    let mut subject = Subject::open(rig);
    // The ids sort the other way round.
    let of = |offset: u64, id: &str, plan: &str| {
        let received = format!("2024-05-06T07:08:1{offset}.000000Z");
        let fields = json!({ "userId": "u", "receivedAt": received, "traits": { "plan": plan } });
        event(EventKind::Identify, offset, id, fields)
    };
    subject.deliver(batch(vec![of(0, "z", "first"), of(1, "a", "second")]));
    if let Some(rows) = rig.read("users", &["user_id", "plan"]) {
        assert_eq!(rows, ["u|second"]);
    }
}

pub fn an_event_called_like_a_view_gives_way_to_it<R: Rig>(rig: &R) {
    let mut subject = Subject::open(rig);
    subject.deliver(batch(vec![track(0, "t", "Users", json!({ "n": 1 })), identify(1, 1, "u", json!({ "n": 2 }))]));
    let Some(rows) = rig.read("_users", &["id", "event", "n"]) else { return };
    assert_eq!(rows, ["t|_users|1"]);
    assert_eq!(rig.read("users", &["user_id", "n"]).unwrap(), ["u|2"]);
    // Whoever opens it again knows that the table is its own, whatever comes first.
    for (at, name) in [(2, "Users"), (3, "Accounts"), (4, "Accounts")] {
        drop(subject);
        subject = Subject::open(rig);
        let delivery = subject.deliver(batch(vec![track(at, &format!("t{at}"), name, json!({ "n": at }))]));
        assert_eq!(delivery.notices, [""; 0]);
    }
    assert_eq!(rig.read("_users", &["id", "n"]).unwrap(), ["t|1", "t2|2"]);
    assert_eq!(rig.read("_accounts", &["id", "n"]).unwrap(), ["t3|3", "t4|4"]);
}

pub fn a_view_of_the_latest_traits_gives_way_to_who_has_its_name<R: Rig>(rig: &R) {
    let without = Limits { profiles: false, ..Limits::default() };
    let mut subject = Subject::with(rig, "sync", None, without, Declared::default());
    subject.deliver(batch(vec![track(0, "t", "Users", json!({ "n": 1 })), identify(1, 1, "u", json!({ "x": 1 }))]));
    drop(subject);
    if !rig.act(&Act::MakeTable("accounts")) || rig.read("users", &["id"]).is_none() {
        return;
    }
    let mut subject = Subject::open(rig);
    let delivery = subject.deliver(batch(vec![
        identify(2, 2, "u", json!({ "x": 2 })),
        event(EventKind::Group, 3, "g", json!({ "groupId": "g1", "traits": { "size": 3 } })),
        track(4, "t4", "Users", json!({ "n": 2 })),
    ]));
    let told = |name: &str| {
        let start = format!("{name} is there already and is not the view of the latest traits of ");
        delivery.notices.iter().filter(|notice| notice.starts_with(&start)).count()
    };
    assert_eq!((told("users"), told("accounts"), delivery.notices.len()), (1, 1, 2), "{:?}", delivery.notices);
    assert_eq!(subject.deliver(batch(vec![identify(5, 5, "u", json!({ "x": 3 }))])).notices, [""; 0], "told once");
    assert_eq!(rig.read("users", &["id", "n"]).unwrap(), ["t|1", "t4|2"], "an event's table stays what it is");
    assert_eq!(rig.read("accounts", &["name"]).unwrap(), [""; 0]);
    assert_eq!(rig.read("identifies", &["id", "x"]).unwrap(), ["m1|1", "m2|2", "m5|3"]);
}

pub fn violations_are_rows_and_come_once<R: Rig>(rig: &R) {
    let record = violation(4, &json!({"type": "track"}), &["/properties/x is not declared"]);
    let mut subject = Subject::open(rig);
    for start in [4, 4] {
        let violations = vec![Arc::new(record.clone())];
        subject.deliver(Batch { range: start..5, events: Vec::new(), violations });
    }
    let seen = rig.seen(None);
    assert_eq!(seen["event_violations"].columns["payload"], Json);
    for (column, expected) in [
        ("received_at", Some("2024-05-06T07:08:10.000001Z")),
        ("payload", Some("{\"type\":\"track\"}")),
        ("event_name", None),
        ("event_type", Some("track")),
        ("schema_version", Some("3")),
        ("has_undeclared_fields", Some("true")),
        ("has_schema_violated", Some("false")),
        ("violations", Some("[\"/properties/x is not declared\"]")),
    ] {
        assert_eq!(seen["event_violations"].cell("m4", column), expected, "{column}");
    }
}

pub fn schemas_keep_apart<R: Rig>(rig: &R) {
    Subject::of(rig, "one", None).deliver(numbered(0..3));
    Subject::of(rig, "two", Some("shop")).deliver(numbered(0..5));
    Subject::of(rig, "three", Some("content")).deliver(batch(vec![track(0, "m0", "E", json!({"n": "text"}))]));
    let rows = |schema| rig.seen(schema)["e"].rows.len();
    assert_eq!((rows(None), rows(Some("shop")), rows(Some("content"))), (3, 5, 1));
    assert_eq!(
        (rig.seen(Some("shop"))["e"].columns["n"], rig.seen(Some("content"))["e"].columns["n"]),
        (Integer, Text)
    );
}
