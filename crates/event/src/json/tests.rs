use super::*;
use crate::value::Value;
use proptest::prelude::*;

fn whole(bytes: &[u8]) -> Result<SeenValue, JsonError> {
    let seen = scan(bytes, 0)?;
    let end = space(bytes, seen.end);
    if end == bytes.len() { Ok(seen) } else { Err(JsonError::Malformed(end)) }
}

#[test]
fn takes_what_the_grammar_takes_and_nothing_else() {
    for good in [
        "{}",
        "[]",
        " [ 1 , -0 , 0.5e-9 , 1E400 ] ",
        r#"{"a":{"b":[true,false,null,"x\u0000\ud83d\ude00"]}}"#,
        "123456789012345678901234567890",
        r#""""#,
        r#"{"":{}}"#,
        "[[],[[]],{}]",
    ] {
        assert!(whole(good.as_bytes()).is_ok(), "{good}");
        assert!(parse(good.as_bytes(), 64).is_ok(), "{good}");
    }
    for bad in [
        "",
        " ",
        "{",
        "[1,]",
        "{,}",
        r#"{"a"}"#,
        r#"{"a":}"#,
        "01",
        "1.",
        ".5",
        "+1",
        "NaN",
        "Infinity",
        "-",
        "1e",
        "tru",
        "truee",
        r#""\x""#,
        "\"\n\"",
        r#""\ud800""#,
        r#""\udc00\ud800""#,
        r#""\u12""#,
        "[1 2]",
        "{}{}",
        "{'a':1}",
        "[1}",
        "{\"a\":1]",
        "\"",
        "//",
        "1a",
    ] {
        assert!(whole(bad.as_bytes()).is_err(), "{bad}");
        assert!(parse(bad.as_bytes(), 64).is_err(), "{bad}");
    }
}

#[test]
fn a_repeated_key_is_named_and_digits_survive() {
    assert!(matches!(parse(br#"{"a":{"b":1,"b":2}}"#, 64), Err(JsonError::DuplicateKey(_))));
    let text = r#"{"a":0.1000000000000000055,"b":-0,"c":1e999,"d":18446744073709551616}"#;
    assert_eq!(serde_json::to_string(&parse(text.as_bytes(), 64).unwrap()).unwrap(), text);
    let magic = r#"{"$serde_json::private::Number":"1"}"#;
    assert!(parse(magic.as_bytes(), 64).unwrap().is_object());
}

proptest! {
    #[test]
    fn a_string_ends_where_reading_byte_by_byte_ends_it(
        before in proptest::collection::vec(any::<u8>(), 0..12),
        plain in "[ -~\u{7f}-\u{10ffff}&&[^\"\\\\]]{0,24}",
        then in proptest::collection::vec(prop_oneof![Just(b'"'), Just(b'\\'), Just(0x1f), any::<u8>()], 0..12),
    ) {
        let bytes = [&before[..], plain.as_bytes(), &then].concat();
        for at in 0..=bytes.len() + 1 {
            let by_byte = (at..bytes.len()).find(|at| STOPS[bytes[*at] as usize]);
            prop_assert_eq!(plain_end(&bytes, at), by_byte.unwrap_or(bytes.len().max(at)));
        }
    }
}

#[test]
fn depth_is_counted_without_a_stack() {
    let deep = 300_000;
    let text = "[".repeat(deep) + &"]".repeat(deep);
    assert_eq!(whole(text.as_bytes()).unwrap().depth, deep);
    assert!(matches!(parse(text.as_bytes(), 64), Err(JsonError::TooDeep(_))));
    let mixed = r#"{"a":["#.repeat(200) + &"]}".repeat(200);
    assert_eq!(whole(mixed.as_bytes()).unwrap(), SeenValue { end: mixed.len(), depth: 400, keys: 200 });
    let wrong = r#"{"a":["#.repeat(200) + &"]}".repeat(198) + "}]}]";
    assert!(whole(wrong.as_bytes()).is_err());
}

#[test]
fn a_malformed_element_can_be_stepped_over() {
    let text = br#"{"a":NaN,"s":"},]\"{","x":[1,{]}}, {"b":1}]"#;
    assert!(scan(text, 0).is_err());
    let end = skip_malformed(br#"{"a":NaN,"s":"},]\"{"}, {"b":1}]"#, 0);
    assert_eq!(end, Some(22));
    assert_eq!(skip_malformed(b"{\"a\":NaN", 0), None);
    assert_eq!(skip_malformed(b"\"\\", 0), None);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn agrees_with_serde_json(value in any_json()) {
        let text = serde_json::to_string(&value).unwrap();
        prop_assert_eq!(parse(text.as_bytes(), 64).unwrap(), value);
        prop_assert_eq!(whole(text.as_bytes()).unwrap().end, text.len());
    }

    #[test]
    fn scan_and_parse_give_the_same_verdict(text in r#"[\[\]{}:,"\\u0-9a-ftrn\.eE+\- ]{0,24}"#) {
        let scanned = whole(text.as_bytes()).is_ok();
        let parsed = parse(text.as_bytes(), 64);
        prop_assert_eq!(scanned, !matches!(parsed, Err(ref error) if !matches!(error, JsonError::DuplicateKey(_))), "{:?}", parsed);
        let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
        prop_assert_eq!(scanned, theirs);
    }
}
