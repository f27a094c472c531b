use data::{EVERYTHING, EVERYTHING_BYTES};
use proptest::prelude::*;
use tidegate_event::value::{JsonNumber, JsonObject, Value};

use super::LIMITS;
use crate::avro::{AvroEncoder, AvroSchema};
use crate::limits::MessageLimits;

/// A schema with one of each type, and a message that another implementation (fastavro) wrote by it.
mod data {
    pub(super) const EVERYTHING: &str = r#"{"type": "record", "name": "Everything", "namespace": "shop", "fields": [
        {"name": "nothing", "type": "null"}, {"name": "yes", "type": "boolean"}, {"name": "small", "type": "int"},
        {"name": "large", "type": "long"}, {"name": "single", "type": "float"}, {"name": "double", "type": "double"},
        {"name": "raw", "type": "bytes"}, {"name": "text", "type": "string"},
        {"name": "list", "type": {"type": "array", "items": "long"}},
        {"name": "map", "type": {"type": "map", "values": ["null", "string"]}},
        {"name": "color", "type": {"type": "enum", "name": "Color", "symbols": ["RED", "BLUE"]}},
        {"name": "four", "type": {"type": "fixed", "name": "Four", "size": 4}}, {"name": "maybe", "type": ["null", "long"]},
        {"name": "money", "type": {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 2}},
        {"name": "cash", "type": {"type": "fixed", "name": "Cash", "size": 8, "logicalType": "decimal", "precision": 10, "scale": 3}},
        {"name": "id", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "clock", "type": {"type": "int", "logicalType": "time-millis"}},
        {"name": "clock_us", "type": {"type": "long", "logicalType": "time-micros"}},
        {"name": "at_ms", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "at_us", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "local_us", "type": {"type": "long", "logicalType": "local-timestamp-micros"}},
        {"name": "other", "type": ["null", {"type": "record", "name": "Node", "fields": [
            {"name": "value", "type": "int"}, {"name": "next", "type": ["null", "Node"]}]}]},
        {"name": "again", "type": ["null", "shop.Color"]}]}"#;
    pub(super) const EVERYTHING_BYTES: &str = "01ffffffff0ffeffffffffffffffff01cdcccc3d9c7500883ce4377e0400ff0c68c3a96c6c6f06020182808080808080200004026100026202026300026162636402ffffffffffffffffff0112ff54ab567314e0f52e00000000000003ed4866383164346661652d376465632d313164302d613736352d3030613063393165366266368cb502aab2992b02f6a1abfef96201808981828389850602020204000200";
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn schema(text: &str) -> AvroSchema {
    AvroSchema::parse(text, []).unwrap()
}

fn read(text: &str, bytes: &[u8]) -> Result<String, String> {
    schema(text).read(bytes, &LIMITS).map(|value| value.to_string())
}

#[test]
fn every_type_is_read_exactly_as_another_implementation_wrote_it() {
    let want: Value = r#"{"nothing":null,"yes":true,"small":-2147483648,"large":9223372036854775807,"single":0.1,"double":1e300,
        "raw":"AP8=","text":"héllo","list":[1,-1,9007199254740993],"map":{"a":null,"b":"c"},"color":"BLUE","four":"YWJjZA==",
        "maybe":-9223372036854775808,"money":-123456789012345678.90,"cash":1.005,"id":"f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        "day":"2024-02-29","clock":"12:34:56.789","clock_us":"00:00:00.000001","at_ms":"2023-11-14T22:13:20.123Z",
        "at_us":"1969-12-31T23:59:59.999999Z","local_us":"2023-11-14T22:13:20.123456",
        "other":{"value":1,"next":{"value":2,"next":null}},"again":"RED"}"#
        .parse()
        .unwrap();
    let bytes = unhex(EVERYTHING_BYTES);
    assert_eq!(schema(EVERYTHING).read(&bytes, &LIMITS).unwrap(), want);
    assert_eq!(AvroEncoder::new(EVERYTHING).unwrap().encode(&want).unwrap(), bytes);
}

#[test]
fn a_message_that_is_cut_anywhere_or_goes_on_does_not_fit() {
    let bytes = unhex(EVERYTHING_BYTES);
    let schema = schema(EVERYTHING);
    for end in 0..bytes.len() {
        assert!(schema.read(&bytes[..end], &LIMITS).is_err(), "{end}");
    }
    let error = schema.read(&[&bytes[..], b"x"].concat(), &LIMITS).unwrap_err();
    assert!(error.ends_with("1 bytes are left behind it"), "{error}");
}

#[test]
fn what_a_message_claims_to_have_takes_no_memory() {
    let many = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let error = |schema: &str, bytes: &[u8]| read(schema, bytes).unwrap_err();
    assert!(error("\"bytes\"", &many).contains("should follow"));
    assert!(error("\"string\"", &many).contains("should follow"));
    assert!(error("\"bytes\"", &[1]).contains("a length is -1"));
    assert!(error(r#"{"type":"array","items":"long"}"#, &many).contains("does not end"));
    // Items without a byte.
    let nothings = error(r#"{"type":"array","items":"null"}"#, &many);
    assert!(nothings.contains("more than 10010 items"), "{nothings}");
    let empty = r#"{"type":"map","values":{"type":"record","name":"E","fields":[]}}"#;
    let twice = error(empty, &[4, 0, 0, 0]);
    assert!(twice.contains("twice"), "{twice}");
    // A type that holds itself.
    let own = r#"{"type":"record","name":"A","fields":[{"name":"a","type":"A"}]}"#;
    assert!(error(own, b"").contains("64 levels deep"));
    // Types that hold two of the next.
    let mut doubled = r#""null""#.to_owned();
    for at in 0..40 {
        doubled = format!(
            r#"{{"type":"record","name":"R{at}","fields":[{{"name":"a","type":{doubled}}},{{"name":"b","type":"{}"}}]}}"#,
            if at == 0 { "null".to_owned() } else { format!("R{}", at - 1) }
        );
    }
    assert!(error(&doubled, b"").contains("more than 10000 keys"));
    let listed = r#"{"type":"record","name":"L","fields":[{"name":"next","type":["null","L"]}]}"#;
    assert!(error(listed, &[2; 1000]).contains("64 levels deep"));
}

#[test]
fn blocks_may_say_how_many_bytes_they_have() {
    let longs = r#"{"type":"array","items":"long"}"#;
    assert_eq!(read(longs, &[3, 4, 2, 4, 2, 6, 0]).unwrap(), "[1,2,3]");
    assert_eq!(read(longs, &[0]).unwrap(), "[]");
}

#[test]
fn a_time_that_no_calendar_shows_stays_a_number() {
    let millis = r#"{"type":"long","logicalType":"timestamp-millis"}"#;
    let most = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    assert_eq!(read(millis, &most).unwrap(), "9223372036854775807");
    assert_eq!(read(r#"{"type":"int","logicalType":"date"}"#, &[0]).unwrap(), r#""1970-01-01""#);
    assert_eq!(read(r#"{"type":"int","logicalType":"time-millis"}"#, &[1]).unwrap(), "-1");
    let duration = r#"{"type":"fixed","name":"D","size":12,"logicalType":"duration"}"#;
    assert_eq!(read(duration, &[1, 0, 0, 0, 2, 0, 0, 0, 0xbc, 0xb, 0, 0]).unwrap(), r#""P1M2DT3.004S""#);
    let own_scale = r#"{"type":"bytes","logicalType":"big-decimal"}"#;
    assert_eq!(read(own_scale, &[8, 4, 0x30, 0x39, 4]).unwrap(), "123.45");
}

#[test]
fn names_are_found_in_namespaces_and_in_other_schemas() {
    let money = r#"{"type":"record","name":"Money","namespace":"pay","fields":[{"name":"cents","type":"long"}]}"#;
    let order = r#"{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"price","type":"pay.Money"}]}"#;
    let parsed = AvroSchema::parse(order, [money]).unwrap();
    assert_eq!(parsed.read(&[10], &LIMITS).unwrap().to_string(), r#"{"price":{"cents":5}}"#);
    assert!(AvroSchema::parse(order, []).unwrap_err().contains("pay.Money"));
    assert!(AvroSchema::parse(money, [money]).unwrap_err().contains("twice"));
}

#[test]
fn what_is_no_schema_says_why_and_harms_nobody() {
    let deep = format!("{}\"int\"{}", r#"{"type":"array","items":"#.repeat(200), "}".repeat(200));
    let wide = format!("[{}\"int\"]", "\"int\",".repeat(30_000));
    for (text, why) in [
        ("", "not JSON"),
        ("5", "is no type"),
        ("{}", "does not say its `type`"),
        (r#"{"type":"record"}"#, "no name"),
        (r#"{"type":"record","name":"A"}"#, "no `fields`"),
        (r#"{"type":"record","name":"A","fields":[{"name":"a"}]}"#, "no `type`"),
        (r#"{"type":"record","name":"A","fields":[{"name":"a","type":"int"},{"name":"a","type":"int"}]}"#, "twice"),
        (r#"{"type":"fixed","name":"A","size":-1}"#, "no size"),
        (r#"{"type":"fixed","name":"A","size":99999999999}"#, "no size"),
        (r#"[["int"]]"#, "holds a union"),
        (r#"{"type":"map"}"#, "no `values`"),
        (r#""Nobody""#, "not known"),
        (r#"{"type":"enum","name":"A","symbols":[1]}"#, "no text"),
        (deep.as_str(), "nested too deeply"),
        (wide.as_str(), "more than 20000 types"),
    ] {
        let error = AvroSchema::parse(text, []).unwrap_err();
        assert!(error.contains(why), "{}: {error}", &text[..text.len().min(80)]);
    }
    // A logical type that does not fit is none.
    let odd = r#"{"type":"bytes","logicalType":"decimal","precision":2,"scale":3}"#;
    assert_eq!(read(odd, &[2, 5]).unwrap(), r#""BQ==""#);
}

#[test]
fn what_a_schema_has_no_room_for_is_named_by_its_field() {
    let order = r#"{"type":"record","name":"O","fields":[
        {"name":"id","type":"long"},
        {"name":"user","type":{"type":"record","name":"U","fields":[{"name":"name","type":["null","string"]}]}},
        {"name":"tags","type":{"type":"array","items":"string"},"default":[]},
        {"name":"more","type":"string","default":"{}"}]}"#;
    let encoder = AvroEncoder::new(order).unwrap();
    let of = |text: &str| encoder.encode(&text.parse().unwrap()).map_err(|error| error.to_string());
    let written = of(r#"{"id":1,"user":{},"more":{"a":1.10}}"#).unwrap();
    assert_eq!(schema(order).read(&written, &LIMITS).unwrap()["more"], r#"{"a":1.10}"#);
    for (text, want) in [
        (r#"{"id":1.5,"user":{}}"#, "the field id is a number, and must be a whole number of 64 bits"),
        (r#"{"user":{}}"#, "the field id is missing, and the schema has neither a default nor null for it"),
        (r#"{"id":1,"user":{"name":5}}"#, "the field user.name is a number, and must be a text"),
        (r#"{"id":1,"user":{"age":5}}"#, "the field user.age has no place in the schema"),
        (r#"{"id":1,"user":{},"tags":["a",null]}"#, "the field tags.1 is null, and must be a text"),
        ("[]", "is a list, and must be an object"),
    ] {
        assert_eq!(of(text).unwrap_err(), want);
    }
}

#[test]
fn a_default_of_bytes_is_a_text_with_a_character_for_each_of_them() {
    let text = r#"{"type":"record","name":"R","fields":[{"name":"id","type":"long"},
        {"name":"raw","type":"bytes","default":"\u00ff\u0000a"},
        {"name":"four","type":{"type":"fixed","name":"Four","size":4},"default":"\u0001\u0002\u00fe\u00ff"},
        {"name":"money","type":{"type":"bytes","logicalType":"decimal","precision":4,"scale":2},"default":"\u0001"},
        {"name":"maybe","type":["bytes","null"],"default":"\u0080"},
        {"name":"word","type":["string","bytes"],"default":"abcd"},
        {"name":"list","type":{"type":"array","items":"bytes"},"default":["\u00fe"]},
        {"name":"inner","type":{"type":"record","name":"I","fields":[{"name":"four","type":"Four"},
            {"name":"b","type":"bytes","default":"\u00ff"}]},"default":{"four":"abcd"}}]}"#;
    let written = AvroEncoder::new(text).unwrap().encode(&r#"{"id":1}"#.parse().unwrap()).unwrap();
    let want: Value =
        r#"{"id":1,"raw":"/wBh","four":"AQL+/w==","money":0.01,"maybe":"gA==","word":"abcd","list":["/g=="],
        "inner":{"four":"YWJjZA==","b":"/w=="}}"#
            .parse()
            .unwrap();
    assert_eq!(schema(text).read(&written, &LIMITS).unwrap(), want);
    for (kind, default) in [(r#""bytes""#, r"\u0100"), (r#"{"type":"fixed","name":"F","size":2}"#, "abc")] {
        let text = format!(
            r#"{{"type":"record","name":"R","fields":[{{"name":"raw","type":{kind},"default":"{default}"}}]}}"#
        );
        let error = AvroEncoder::new(&text).unwrap_err();
        assert!(error.starts_with("the default of its field \"raw\" is wrong"), "{error}");
    }
}

#[test]
fn a_number_with_more_digits_than_a_decimal_has_is_not_written() {
    for kind in [r#""type":"bytes""#, r#""type":"fixed","name":"D","size":4"#] {
        let schema_text = format!(r#"{{{kind},"logicalType":"decimal","precision":4,"scale":2}}"#);
        let encoder = AvroEncoder::new(&schema_text).unwrap();
        let of = |text: &str| encoder.encode(&text.parse().unwrap());
        assert_eq!(schema(&schema_text).read(&of("-99.99").unwrap(), &LIMITS).unwrap().to_string(), "-99.99");
        assert!(of("100.00").is_err(), "{schema_text}");
    }
}

/// A schema, and values that fit it.
fn typed() -> impl Strategy<Value = (String, Value)> {
    let number = |digits: String| Value::Number(JsonNumber::from_digits(digits));
    let leaf = prop_oneof![
        Just(("\"null\"".to_owned(), Value::Null)),
        any::<bool>().prop_map(|truth| ("\"boolean\"".to_owned(), truth.into())),
        any::<i32>().prop_map(|number| ("\"int\"".to_owned(), number.into())),
        any::<i64>().prop_map(|number| ("\"long\"".to_owned(), number.into())),
        any::<i64>().prop_map(|number| ("[\"null\",\"long\"]".to_owned(), number.into())),
        any::<f32>().prop_map(|number| ("\"float\"".to_owned(), crate::numbers::float(number))),
        any::<f64>().prop_map(|number| ("\"double\"".to_owned(), crate::numbers::double(number))),
        ".{0,9}".prop_map(|text| ("\"string\"".to_owned(), text.into())),
        "-?[1-9][0-9]{0,30}\\.[0-9]{4}".prop_map(move |digits| {
            let schema = r#"{"type":"bytes","logicalType":"decimal","precision":40,"scale":4}"#;
            (schema.to_owned(), number(digits))
        }),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|(schema, value)| {
                (format!(r#"{{"type":"array","items":{schema}}}"#), vec![value.clone(), value].into())
            }),
            ("[a-z]{1,5}", inner.clone()).prop_map(|(key, (schema, value))| {
                let object: JsonObject = [(key, value)].into_iter().collect();
                (format!(r#"{{"type":"map","values":{schema}}}"#), object.into())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_it_was((text, value) in typed()) {
        let bytes = AvroEncoder::new(&text).unwrap().encode(&value).unwrap();
        prop_assert_eq!(schema(&text).read(&bytes, &LIMITS).unwrap(), value);
    }

    #[test]
    fn no_bytes_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let limits = MessageLimits { depth_max: 256, ..LIMITS };
        let _ = schema(EVERYTHING).read(&bytes, &limits);
        let recursive = r#"{"type":"record","name":"L","fields":[{"name":"n","type":{"type":"array","items":"L"}}]}"#;
        let _ = schema(recursive).read(&bytes, &limits);
    }

    #[test]
    fn no_text_breaks_the_parser(text in "\\PC{0,80}", kind in "(record|enum|fixed|array|map|bytes)", name in ".{0,5}") {
        let _ = AvroSchema::parse(&text, []);
        let name = Value::from(name).to_string();
        let _ = AvroSchema::parse(&format!(r#"{{"type":"{kind}","name":{name},"items":{name},"size":3,"fields":[{name}]}}"#), []);
    }
}
