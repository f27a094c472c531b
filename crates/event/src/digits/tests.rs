use crate::json;
use crate::value::JsonNumber;
use proptest::prelude::*;

use super::*;

mod body;

/// Numbers that one language or another changes, and some that none does.
const NUMBERS: [&str; 42] = [
    "0",
    "1",
    "-0",
    "0.1",
    "1.0",
    "19.90",
    "1e2",
    "1E+2",
    "0e+1",
    "0E999999999999999999999",
    "1e-2",
    "1E22",
    "1e23",
    "123.456e78",
    "108278026719946.62",
    "108278026719946.63",
    "0.30000000000000004",
    "52.520006599999998",
    "0.1000000000000000055",
    "3.14159265358979323846264338327950288",
    "1700000000000000",
    "9007199254740991",
    "9007199254740992",
    "9007199254740993",
    "-9007199254740993",
    "9007199254740995",
    "12345678901234567",
    "12345678901234568",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "123456789012345678901234567890",
    "123456789012345678901234567890.123456789",
    "1.7976931348623157e309",
    "1e400",
    "-1e400",
    "1E400000000000000000000",
    "1E-400",
    "5e-324",
    "2e-324",
    "0.00000000000000000000000000000000000001234567890123456789",
];

fn number(text: &str) -> Value {
    Value::Number(JsonNumber::from_digits(text))
}

fn parsed(text: &str) -> Value {
    json::parse(text.as_bytes(), 64).unwrap()
}

/// What JavaScript makes of a value, as its SDK writes it.
fn as_doubles(value: &Value) -> Value {
    match value {
        Value::Number(digits) => {
            let double: f64 = digits.as_str().parse().unwrap();
            number(&match double {
                f64::INFINITY => "Infinity".to_owned(),
                f64::NEG_INFINITY => "-Infinity".to_owned(),
                0.0 => "0".to_owned(),
                plain if (1e-6..1e21).contains(&plain.abs()) => plain.to_string(),
                odd => format!("{odd:e}"),
            })
        }
        Value::Array(items) => items.iter().map(as_doubles).collect(),
        Value::Object(entries) => {
            Value::Object(entries.iter().map(|(key, value)| (key.clone(), as_doubles(value))).collect())
        }
        other => other.clone(),
    }
}

/// What Python makes of a value, as its SDK writes it.
fn as_python(value: &Value) -> Value {
    match value {
        Value::Number(digits) if !digits.as_str().contains(['.', 'e', 'E']) => {
            number(if digits.as_str() == "-0" { "0" } else { digits.as_str() })
        }
        Value::Number(_) => match as_doubles(value) {
            Value::Number(digits) if !digits.as_str().contains(['.', 'e', 'y']) => number(&format!("{digits}.0")),
            other => other,
        },
        Value::Array(items) => items.iter().map(as_python).collect(),
        Value::Object(entries) => {
            Value::Object(entries.iter().map(|(key, value)| (key.clone(), as_python(value))).collect())
        }
        other => other.clone(),
    }
}

fn with_nulls(value: &Value) -> Value {
    match value {
        Value::Number(digits) if digits.as_str().ends_with("Infinity") => Value::Null,
        Value::Array(items) => items.iter().map(with_nulls).collect(),
        Value::Object(entries) => {
            Value::Object(entries.iter().map(|(key, value)| (key.clone(), with_nulls(value))).collect())
        }
        other => other.clone(),
    }
}

/// The text `output` that a guest made of `input`, with its digits.
fn after_text(output: &str, input: &Value, numbers: Numbers) -> String {
    let mut texts = [output.to_owned()];
    restore(&mut texts, input.as_object().unwrap(), &[], numbers);
    let [text] = texts;
    text
}

fn after(output: &Value, input: &Value, numbers: Numbers) -> Value {
    parsed(&after_text(&output.to_string(), input, numbers))
}

/// The same through JavaScript: `edit` works on doubles.
fn edited(input: &Value, edit: impl FnOnce(&mut Value)) -> Value {
    let mut seen = as_doubles(input);
    edit(&mut seen);
    after(&seen, input, Numbers::Doubles)
}

#[test]
fn a_lossy_number_is_one_that_a_double_does_not_give_back() {
    let lossy = |numbers| NUMBERS.into_iter().filter(|text| is_lossy(text, numbers)).collect::<Vec<_>>();
    let mut expected = vec![
        "108278026719946.62",
        "108278026719946.63",
        "52.520006599999998",
        "0.1000000000000000055",
        "3.14159265358979323846264338327950288",
        "9007199254740993",
        "-9007199254740993",
        "9007199254740995",
        "12345678901234567",
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "123456789012345678901234567890",
        "123456789012345678901234567890.123456789",
        "1.7976931348623157e309",
        "1e400",
        "-1e400",
        "1E400000000000000000000",
        "1E-400",
        "2e-324",
        "0.00000000000000000000000000000000000001234567890123456789",
    ];
    assert_eq!(lossy(Numbers::Doubles), expected);
    expected.retain(|text| text.contains(['.', 'e', 'E']));
    assert_eq!(lossy(Numbers::ExactIntegers), expected);
    assert!(lossy(Numbers::Exact).is_empty());
}

#[test]
fn what_was_not_touched_keeps_every_digit_and_what_was_is_as_the_guest_wrote_it() {
    let input =
        parsed(r#"{"p":{"id":9007199254740993,"big":1e400,"price":19.90,"deep":[1,{"x":0.1000000000000000055}]}}"#);
    let out = edited(&input, |event| event["p"]["touched"] = json!(true));
    assert_eq!(
        out.to_string(),
        r#"{"p":{"big":1e400,"deep":[1,{"x":0.1000000000000000055}],"id":9007199254740993,"price":19.90,"touched":true}}"#
    );
    let out =
        edited(&input, |event| event["p"] = json!({"id": 9007199254740994_u64, "big": 5, "price": 19.9, "x": 0.1}));
    assert_eq!(out.to_string(), r#"{"p":{"big":5,"id":9007199254740994,"price":19.90,"x":0.1}}"#);
}

#[test]
fn a_moved_value_is_found_again_when_there_is_no_doubt() {
    let input = parsed(
        r#"{"p":{"id":9007199254740993,"big":-1e400,"short":0.1000000000000000055,
            "from":{"city":"Köln","lat":50.9412780000000000001,"far":1e999}}}"#,
    );
    let out = edited(&input, |event| {
        let mut p = std::mem::take(&mut event["p"]);
        let moved = [("order_id", "id"), ("copy", "big"), ("x", "short"), ("to", "from")];
        event["q"] =
            Value::Object(moved.map(|(to, from)| (to.to_owned(), std::mem::take(&mut p[from]))).into_iter().collect());
        event.as_object_mut().unwrap().remove("p");
    });
    // Seventeen digits are nobody's choice; 0.1 may be.
    assert_eq!(
        out.to_string(),
        r#"{"q":{"copy":-1e400,"order_id":9007199254740993,"to":{"city":"Köln","far":1e999,"lat":50.9412780000000000001},"x":0.1}}"#
    );
    // Two numbers of the event look the same to the guest: either may have been moved.
    for other in ["9007199254740992", "9007199254740992.9"] {
        let input = parsed(&format!(r#"{{"a":9007199254740993,"b":{other}}}"#));
        let out = edited(&input, |event| event["c"] = event["a"].clone());
        assert_eq!(out.to_string(), format!(r#"{{"a":9007199254740993,"b":{other},"c":9007199254740992}}"#));
    }
}

#[test]
fn lists_are_followed_as_their_items_shift() {
    let input = parsed(
        r#"{"items":[{"n":"a","id":9007199254740993},{"n":"b","id":9007199254740992},{"n":"c","price":0.1000000000000000055}],
            "ids":[12345678901234567,5,9007199254740995]}"#,
    );
    let out = edited(&input, |event| {
        event["items"].as_array_mut().unwrap().remove(0);
        event["items"].as_array_mut().unwrap().make_mut().reverse();
        event["ids"].as_array_mut().unwrap().remove(1);
    });
    assert_eq!(
        out.to_string(),
        r#"{"ids":[12345678901234567,9007199254740995],"items":[{"n":"c","price":0.1000000000000000055},{"id":9007199254740992,"n":"b"}]}"#
    );
    let input = parsed(r#"{"items":[{"n":"a","id":9007199254740993,"w":1e400},{"n":"b","id":9007199254740997.1}]}"#);
    let out = edited(&input, |event| {
        event["items"].as_array_mut().unwrap().make_mut().iter_mut().for_each(|item| item["new"] = json!(1))
    });
    assert_eq!(
        out.to_string(),
        r#"{"items":[{"id":9007199254740993,"n":"a","new":1,"w":1e400},{"id":9007199254740997.1,"n":"b","new":1}]}"#
    );
    // The same double twice: turned round, the guest saw [2, 2] and wrote [2, 2].
    let input = parsed(r#"{"ids":[9007199254740993,9007199254740992]}"#);
    assert_eq!(edited(&input, |_| ()), input);
    let out = edited(&input, |event| event["ids"] = json!([9007199254740992_u64]));
    assert_eq!(out.to_string(), r#"{"ids":[9007199254740992]}"#);
}

#[test]
fn infinity_is_taken_only_for_a_number_of_the_event() {
    let huge = parsed(r#"{"a":1e400,"s":"Infinity \" Infinity"}"#);
    let took = |text: &str, numbers| after_text(text, &huge, numbers);
    assert_eq!(took(r#"{"s":"\\Infinity","a":Infinity}"#, Numbers::Doubles), r#"{"a":1e400,"s":"\\Infinity"}"#);
    // Of another sign, in a second place that does not say so, or no number at all: the caller will refuse the text.
    for text in
        [r#"{"a":-Infinity}"#, r#"{"a":Infinity,"b":-Infinity}"#, r#"{"a":NaN}"#, r#"{"a":Infinit}"#, "Infinity"]
    {
        assert_eq!(took(text, Numbers::Doubles), text);
    }
    let nothing = r#"{"a":null}"#;
    assert_eq!(took(nothing, Numbers::Unknown), r#"{"a":1e400}"#);
    for numbers in [Numbers::Doubles, Numbers::ExactIntegers] {
        assert_eq!(took(nothing, numbers), nothing, "the guest meant it");
    }
}

#[test]
fn python_hands_on_every_number_of_the_corpus() {
    let numbers = include_str!("../../../../tests/it/cases/digits/numbers.json");
    let event = parsed(&format!(r#"{{"lossy":1e400,"all":{numbers},"deep":[{{"x":-0,"y":[-0,1e999]}}]}}"#));
    let mut expected = event.clone();
    expected["touched"] = json!(1);
    let mut python = as_python(&event);
    python["touched"] = json!(1);
    assert_eq!(after(&python, &event, Numbers::ExactIntegers), expected);
    let mut doubles = as_doubles(&event);
    doubles["touched"] = json!(1);
    assert_eq!(after(&doubles, &event, Numbers::Doubles), expected);
}

#[test]
fn a_guest_that_keeps_digits_may_count() {
    let input = parsed(r#"{"id":9007199254740993,"f":9007199254740993.5}"#);
    for numbers in [Numbers::Exact, Numbers::ExactIntegers] {
        let out = after(&json!({"id": 9007199254740992_u64, "f": 1}), &input, numbers);
        assert_eq!(out["id"].to_string(), "9007199254740992");
    }
    let out = after(&parsed(r#"{"id":9007199254740993,"f":9007199254740994.0}"#), &input, Numbers::ExactIntegers);
    assert_eq!(out, input);
    // More digits than a double has come from elsewhere.
    let input = parsed(r#"{"id":123456789012345678}"#);
    let out = after(&parsed(r#"{"id":123456789012345679}"#), &input, Numbers::Unknown);
    assert_eq!(out.to_string(), r#"{"id":123456789012345679}"#);
}

#[test]
fn numbers_of_settings_and_tables_keep_their_digits_too() {
    let given = [parsed(r#"{"account":9007199254740993,"rate":0.1000000000000000055}"#)];
    let after = |output: &str, input: &str| {
        let mut texts = [output.to_owned()];
        restore(&mut texts, parsed(input).as_object().unwrap(), &given, Numbers::Doubles);
        texts[0].clone()
    };
    assert_eq!(after(r#"{"to":9007199254740992}"#, "{}"), r#"{"to":9007199254740993}"#);
    // The event has such a number itself.
    let same = r#"{"id":9007199254740992}"#;
    assert_eq!(after(same, same), same);
    assert_eq!(after(r#"{"to":9007199254740992}"#, same), r#"{"to":9007199254740992}"#);
}

#[test]
fn a_value_that_is_set_gets_the_digits_of_its_place_or_of_the_event() {
    let event = parsed(r#"{"a":{"id":9007199254740993,"x":1e400,"y":1},"b":12345678901234567}"#);
    let made = |text: &str, old: Option<&Value>, numbers| {
        set(text, old, event.as_object().unwrap().values(), numbers, 8).map(|value| value.to_string())
    };
    let whole = made(r#"{"id":9007199254740992,"x":Infinity,"y":2}"#, event.get("a"), Numbers::Doubles);
    assert_eq!(whole.unwrap(), r#"{"id":9007199254740993,"x":1e400,"y":2}"#);
    assert_eq!(made("12345678901234568", None, Numbers::Doubles).unwrap(), "12345678901234567");
    assert_eq!(made("12345678901234568", None, Numbers::ExactIntegers).unwrap(), "12345678901234568");
    assert_eq!(made("Infinity", None, Numbers::Doubles).unwrap(), "1e400");
    assert_eq!(made("-Infinity", None, Numbers::Doubles), Err(JsonError::Malformed(1)));
    assert_eq!(made("Infinity", None, Numbers::Exact), Err(JsonError::Malformed(0)));
}

#[test]
fn texts_made_to_be_compared_for_ever_end_soon() {
    // Lists in lists, each with one more item: no level is like its old one.
    let nested = |item: &str| {
        let inner = format!("[{}]", vec!["[1,2,9007199254740993]"; 200].join(","));
        (0..60).fold(inner, |inner, _| format!("[{item},{inner}]"))
    };
    let input = parsed(&format!(r#"{{"a":{}}}"#, nested("1,2")));
    let output = as_doubles(&parsed(&format!(r#"{{"a":{}}}"#, nested("3,2,1")))).to_string();
    let mut walk = DigitsWalk::new(Numbers::Doubles, input.as_object().unwrap().values().collect());
    walk.begin(output.len());
    let mut value = parsed(&output);
    walk.entries(value.as_object_mut().unwrap(), input.as_object().unwrap());
    assert_eq!(as_doubles(&value), parsed(&output));
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => prop::sample::select(NUMBERS.to_vec()).prop_map(number),
        2 => any::<f64>().prop_filter("finite", |double| double.is_finite()).prop_map(Value::from),
        2 => "-?[1-9][0-9]{0,24}(\\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?".prop_map(|text| number(&text)),
        1 => Just(Value::Null),
        1 => "[a-cI]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-e]", inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn any_event() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[a-e]", any_value(), 1..6).prop_map(|map| Value::Object(map.into_iter().collect()))
}

proptest! {
    #[test]
    fn the_identity_with_one_more_field_changes_nothing(event in any_event()) {
        let lossy = has_lossy(&event, Numbers::Doubles);
        let mut expected = event.clone();
        expected["touched"] = json!("x");
        let touched = |seen: &mut Value| seen["touched"] = json!("x");
        // Without a lossy number every value is carried, if not its spelling.
        let out = edited(&event, touched);
        prop_assert_eq!(&out, if lossy { &expected } else { &out });
        prop_assert_eq!(as_doubles(&out), as_doubles(&expected));
        let mut python = as_python(&event);
        touched(&mut python);
        let out = after(&python, &event, Numbers::ExactIntegers);
        prop_assert_eq!(&out, if has_lossy(&event, Numbers::ExactIntegers) { &expected } else { &out });
        let mut nulls = with_nulls(&as_doubles(&event));
        touched(&mut nulls);
        let out = after(&nulls, &event, Numbers::Unknown);
        prop_assert_eq!(&out, if lossy { &expected } else { &out });
    }

    #[test]
    fn whatever_a_guest_writes_stays_what_it_wrote_to_the_guest(input in any_event(), output in any_event()) {
        let output = as_doubles(&output);
        let text = output.to_string();
        prop_assert_eq!(&after_text(&text, &input, Numbers::Exact), &text);
        let restored = after_text(&text, &input, Numbers::Doubles);
        // As it is, it may say Infinity.
        if restored != text {
            prop_assert_eq!(as_doubles(&parsed(&restored)), output);
        }
    }

    #[test]
    fn items_that_are_left_of_a_list_keep_their_digits(
        numbers in prop::collection::vec(prop::sample::select(NUMBERS.to_vec()), 1..12),
        kept in any::<u16>(),
    ) {
        let item = |(at, text): (usize, &&str)| json!({"sku": format!("s{at}"), "price": number(text)});
        let items: Vec<Value> = numbers.iter().enumerate().map(item).collect();
        let is_kept = |at: usize| kept & (1 << at) != 0;
        let left = |items: Vec<Value>| -> Value {
            items.into_iter().enumerate().filter(|(at, _)| is_kept(*at)).map(|(_, item)| item).collect()
        };
        let input = json!({"products": items, "id": number("9007199254740993")});
        let out = edited(&input, |event| {
            let products = event["products"].as_array().unwrap().to_vec();
            event["products"] = left(products);
        });
        let lossy = |value: &Value| has_lossy(value, Numbers::Doubles);
        for (out, expected) in out["products"].as_array().unwrap().iter().zip(left(items).as_array().unwrap()) {
            prop_assert_eq!(out, if lossy(expected) { expected } else { out });
        }
    }

    #[test]
    fn fifteen_digits_are_never_lossy_and_a_double_never_is(text in "-?[1-9][0-9]{0,6}(\\.[0-9]{1,8})?", double: f64) {
        prop_assert!(!is_lossy(&text, Numbers::Doubles));
        if double.is_finite() {
            let texts = [double.to_string(), serde_json::to_string(&double).unwrap()];
            let agreed = parsed(&texts[0]) == parsed(&texts[1]) || texts[0].trim_end_matches(".0") == texts[1].trim_end_matches(".0");
            for text in texts.iter().filter(|_| agreed) {
                prop_assert!(!is_lossy(text, Numbers::Doubles), "{}", text);
            }
        }
    }
}
