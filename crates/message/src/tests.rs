use proptest::prelude::*;
use tidegate_event::value::{JsonNumber, JsonObject, Value};

use super::*;

mod avro;
mod protobuf;
mod schemas;

const LIMITS: MessageLimits = MessageLimits { parts_max: 100, bytes_max: 1 << 20, depth_max: 64, keys_max: 10_000 };

fn place(text: &str) -> MessagePlace {
    MessagePlace::parse(text).unwrap()
}

fn fields<'f>(fields: impl IntoIterator<Item = (MappedField, &'f [&'f str])>) -> EventMapping {
    EventMapping::of(fields.into_iter().map(|(field, places)| (field, places.iter().map(|text| place(text)).collect())))
}

/// What a message becomes: of each part the event with its id, or the reason.
fn mapped(mapping: &MessageMapping, (kind, headers): (&str, &[(&str, &str)]), bytes: &[u8]) -> Vec<MappedEvent> {
    let headers: Vec<(String, String)> = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let meta = JsonObject::new();
    let (headers, meta) = (&headers, &meta);
    let message = UpstreamMessage { bytes, content_type: kind, headers, meta, is_http: true, position: "" };
    mapping.map(&message, &LIMITS).unwrap()
}

fn by_type() -> MessageMapping {
    let base = fields([(MappedField::Event, &["/type"][..]), (MappedField::UserId, &["/user/id", "/owner"][..])]);
    MessageMapping { base, delivery_id: vec![place("header:x-id"), place("/id")], ..MessageMapping::default() }
}

fn texts(events: &[MappedEvent]) -> Vec<String> {
    let text = |event: &MappedEvent| match &event.unmappable {
        None => String::from_utf8(event.bytes.clone()).unwrap(),
        Some(reason) => format!("{reason}: {}", String::from_utf8_lossy(&event.bytes)),
    };
    events.iter().map(text).collect()
}

#[test]
fn every_digit_of_a_message_is_in_its_event() {
    let body = br#"{"type":"paid","user":{"id":12345678901234567890123},"n":[1.10,-0,1e+400]}"#;
    let events = mapped(&by_type(), ("application/json", &[]), body);
    let want = r#"{"event":"paid","properties":{"n":[1.10,-0,1e+400],"type":"paid","user":{"id":12345678901234567890123}},"type":"track","userId":"12345678901234567890123"}"#;
    assert_eq!(texts(&events), [want]);
    assert_eq!(events[0].id, "", "nothing tells it from others");
}

#[test]
fn the_first_place_that_has_something_counts_and_blank_is_nothing() {
    for (body, user) in [
        (r#"{"type":"a","user":{"id":"u"},"owner":"o"}"#, Some("u")),
        (r#"{"type":"a","user":{"id":" "},"owner":"o"}"#, Some("o")),
        (r#"{"type":"a","user":{"id":null},"owner":7}"#, Some("7")),
        (r#"{"type":"a","user":{"id":{}},"owner":[]}"#, None),
    ] {
        let event: Value = texts(&mapped(&by_type(), ("", &[]), body.as_bytes()))[0].parse().unwrap();
        assert_eq!(event.get("userId").and_then(Value::as_str), user, "{body}");
    }
}

#[test]
fn a_part_that_cannot_be_mapped_costs_no_neighbour_and_keeps_its_bytes() {
    let array = br#"[{"type":"a"}, {"type":7, "x":}, {"no":1}, 5]"#;
    let events = mapped(&by_type(), ("application/json", &[("x-id", "d")]), array);
    let ids: Vec<&str> = events.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids, ["d:0", "d:1", "d:2", "d:3"]);
    assert!(events.iter().all(|event| event.delivery_id == "d"));
    let whys: Vec<Option<&str>> = events.iter().map(|event| event.unmappable.as_deref()).collect();
    let none = Some("it has no text for `event` at /type");
    assert_eq!(whys, [None, Some("it is not JSON at byte 15"), none, none]);
    assert_eq!(events[1].bytes, br#"{"type":7, "x":}"#);
    let lines = b"{\"type\":\"a\"}\r\n\n{\"type\":\n{\"type\":\"b\"}";
    let events = mapped(&by_type(), ("application/x-ndjson", &[]), lines);
    let whys: Vec<bool> = events.iter().map(|event| event.unmappable.is_some()).collect();
    assert_eq!(whys, [false, true, false]);
    for nothing in [&b""[..], b"[]", b"[1", b"[1] 2", b"[1,,2"] {
        let events = mapped(&by_type(), ("", &[]), nothing);
        assert_eq!((events.len(), &*events[0].bytes), (1, nothing));
        assert!(events[0].unmappable.is_some(), "{nothing:?}");
    }
}

#[test]
fn more_parts_than_are_taken_are_refused() {
    let meta = JsonObject::new();
    let ones = format!("[{}1]", "1,".repeat(100));
    let of =
        |bytes| UpstreamMessage { bytes, content_type: "", headers: &[], meta: &meta, is_http: true, position: "" };
    assert_eq!(by_type().map(&of(ones.as_bytes()), &LIMITS), Err(TooManyParts(100)));
    let lines = "1\n".repeat(101);
    let mapping = MessageMapping { format: MessageFormat::JsonLines, ..by_type() };
    assert_eq!(mapping.map(&of(lines.as_bytes()), &LIMITS), Err(TooManyParts(100)));
    assert_eq!(mapping.map(&of(&lines.as_bytes()[2..]), &LIMITS).unwrap().len(), 100);
}

#[test]
fn a_form_is_its_fields_or_its_payload() {
    let kind = "application/x-www-form-urlencoded; charset=utf-8";
    let of = |body: &str| texts(&mapped(&by_type(), (kind, &[]), body.as_bytes()))[0].clone();
    let want = r#"{"event":"a b","properties":{"list":["1","2"],"type":"a b"},"type":"track"}"#;
    assert_eq!(of("type=a+b&list=1&list=2"), want);
    let want = r#"{"event":"x","properties":{"n":1.10,"type":"x"},"type":"track"}"#;
    assert_eq!(of("payload=%7B%22type%22%3A%22x%22%2C%22n%22%3A1.10%7D"), want);
    assert!(of("type=%ff").starts_with("its field \"type\" is not UTF-8"));
    assert!(of("payload=%7B%22type%22%3A%22x%22%7D&type=y").contains(r#""event":"y""#), "not the only field");
}

#[test]
fn cloud_events_are_the_same_in_an_envelope_and_in_headers() {
    let base = fields([(MappedField::Event, &["/type"][..]), (MappedField::Timestamp, &["/time"][..])]);
    let mapping = MessageMapping { base, ..MessageMapping::default() };
    let envelope = r#"{"specversion":"1.0","id":"7","source":"/orders","type":"paid","time":"2026-01-01T00:00:00Z","datacontenttype":"application/json","data":{"n":1.10}}"#;
    let structured = mapped(&mapping, ("application/cloudevents+json", &[]), envelope.as_bytes());
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "7"),
        ("ce-source", "/orders"),
        ("ce-type", "p%61id"),
        ("ce-time", "2026-01-01T00:00:00Z"),
    ];
    let binary = mapped(&mapping, ("application/json", &headers), br#"{"n":1.10}"#);
    assert_eq!(structured, binary);
    assert_eq!(structured[0].id, "/orders/7");
    let batch = format!("[{envelope},{{\"id\":\"1\"}}]");
    let batch = mapped(&mapping, ("application/cloudevents-batch+json", &[]), batch.as_bytes());
    assert_eq!((batch[0].id.as_str(), batch[1].id.as_str()), ("/orders/7", ""));
    assert!(batch[1].unmappable.is_some());
    let bytes = mapped(&mapping, ("image/png", &headers), b"\x89PNG");
    assert!(texts(&bytes)[0].contains(r#""data_base64":"iVBORw==""#), "{}", texts(&bytes)[0]);
}

#[test]
fn events_pass_as_they_are_only_where_that_is_said() {
    let body = br#"{ "type": "identify", "traits": {"n": 1.10} }"#;
    let passing = MessageMapping { pass_events: true, ..by_type() };
    let passed = mapped(&passing, ("", &[("x-id", "d")]), body);
    assert_eq!((&*passed[0].bytes, passed[0].id.as_str()), (&body[..], "d"));
    assert!(texts(&mapped(&by_type(), ("", &[]), body))[0].contains(r#""event":"identify""#));
    assert!(texts(&mapped(&passing, ("", &[]), br#"{"type":"order"}"#))[0].contains(r#""event":"order""#));
    let form = mapped(&passing, ("application/x-www-form-urlencoded", &[]), b"payload=%7B%22type%22%3A%22page%22%7D");
    assert_eq!(texts(&form), [r#"{"type":"page"}"#]);
    let cloud = br#"{"specversion":"1.0","id":"7","source":"/s","type":"page"}"#;
    assert!(texts(&mapped(&passing, ("application/cloudevents+json", &[]), cloud))[0].contains(r#""event":"page""#));
}

#[test]
fn the_first_rule_that_fits_maps_and_the_base_fills_what_it_does_not_say() {
    let mut created = fields([(MappedField::Type, &["identify"][..]), (MappedField::Traits, &["/user"][..])]);
    created.matches = vec![(place("/type"), "user.created".to_owned()), (place("header:x-live"), "true".to_owned())];
    let mapping = MessageMapping { rules: vec![created], base_takes_rest: true, ..by_type() };
    let of = |mapping: &MessageMapping, live: &str| {
        let body = br#"{"type":"user.created","user":{"id":7}}"#;
        texts(&mapped(mapping, ("", &[("x-live", live)]), body))[0].clone()
    };
    assert_eq!(of(&mapping, "true"), r#"{"traits":{"id":7},"type":"identify","userId":"7"}"#);
    assert!(of(&mapping, "false").contains(r#""event":"user.created""#));
    let alone = MessageMapping { base_takes_rest: false, ..mapping };
    assert!(of(&alone, "false").starts_with("no mapping is for it"));
    let joined = MessagePlace::Joined {
        places: vec![place("header:x-live"), place("/no"), place("/type")],
        between: ".".into(),
    };
    let base = EventMapping::of([(MappedField::Event, vec![joined])]);
    let joining = MessageMapping { base, ..MessageMapping::default() };
    assert!(of(&joining, "a").contains(r#""event":"a.user.created""#));
}

#[test]
fn text_that_is_no_place_says_why() {
    assert_eq!(MessagePlace::parse("/a~2"), Err(WrongPlace::Escape));
    assert_eq!(MessagePlace::parse("/a~"), Err(WrongPlace::Escape));
    assert_eq!(MessagePlace::parse("header:"), Err(WrongPlace::HeaderName));
    assert_eq!(MessagePlace::parse("header:X y"), Err(WrongPlace::HeaderName));
    assert_eq!(MessagePlace::parse("track"), Ok(MessagePlace::Constant("track".into())));
    assert_eq!(place("/a~1b/~01//0").to_string(), "/a~1b/~01//0");
}

/// JSON values, numbers in every spelling.
fn values() -> impl Strategy<Value = Value> {
    let number = "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number.prop_map(|digits| Value::Number(JsonNumber::from_digits(digits))),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(".{0,4}", inner, 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Every pointer into a value, with what it leads to.
fn pointers(value: &Value, so_far: &str, found: &mut Vec<(String, Value)>) {
    found.push((so_far.to_owned(), value.clone()));
    match value {
        Value::Object(object) => {
            for (name, inner) in object {
                let name = name.as_str().replace('~', "~0").replace('/', "~1");
                pointers(inner, &format!("{so_far}/{name}"), found);
            }
        }
        Value::Array(items) => {
            for (at, inner) in items.iter().enumerate() {
                pointers(inner, &format!("{so_far}/{at}"), found);
            }
        }
        _ => {}
    }
}

proptest! {
    #[test]
    fn a_pointer_leads_to_what_stands_there(value in values()) {
        let mut all = Vec::new();
        pointers(&value, "", &mut all);
        let body = Value::Object([("v", value)].into_iter().collect()).to_string();
        for (pointer, want) in all {
            let written = format!("/v{pointer}");
            let base = fields([(MappedField::Event, &["e"][..]), (MappedField::Timestamp, &[written.as_str()][..])]);
            let mapping = MessageMapping { base, ..MessageMapping::default() };
            let event: Value = texts(&mapped(&mapping, ("", &[]), body.as_bytes()))[0].parse().unwrap();
            prop_assert_eq!(event.get("timestamp").unwrap_or(&Value::Null), &want, "{}", written);
            prop_assert_eq!(place(&written).to_string(), written);
        }
    }

    #[test]
    fn a_message_becomes_the_same_events_whenever_it_comes_and_its_whole_is_in_them(value in values(), id in "[a-z]{1,9}") {
        let base = fields([(MappedField::Event, &["e"][..])]);
        let mapping = MessageMapping { base, format: MessageFormat::Json, ..by_type() };
        let body = value.to_string();
        let once = mapped(&mapping, ("", &[("x-id", id.as_str())]), body.as_bytes());
        let again = mapped(&mapping, ("", &[("x-id", id.as_str())]), body.as_bytes());
        prop_assert_eq!(&once, &again);
        prop_assert_eq!(&once[0].id, &id);
        let event: Value = texts(&once)[0].parse().unwrap();
        let properties = event.get("properties").unwrap();
        let whole = if value.is_object() { properties } else { properties.get("body").unwrap() };
        prop_assert_eq!(whole, &value);
    }

    #[test]
    fn whatever_bytes_come_nothing_is_lost(bytes in prop::collection::vec(any::<u8>(), 0..60), kind in "(application/json|text/plain|application/x-www-form-urlencoded|application/x-ndjson|application/cloudevents\\+json)?") {
        for event in mapped(&by_type(), (kind.as_str(), &[]), &bytes) {
            let is_event = event.unmappable.is_none();
            prop_assert!(!is_event || tidegate_event::json::parse(&event.bytes, 256).is_ok());
        }
    }
}
