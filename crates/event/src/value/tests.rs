use proptest::prelude::*;

use super::*;
use crate::decode::DEPTH_MAX;
use crate::json;

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let scalar = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".{0,20}".prop_map(Into::into),
        "[\"\\\\\u{0}-\u{1f}a\u{7f}é]{0,20}".prop_map(Into::into),
    ];
    scalar.prop_recursive(5, 40, 30, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            proptest::collection::btree_map(".{0,18}", inner, 0..30)
                .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn text_and_back_is_the_same_as_with_maps(value in any_json()) {
        let text = value.to_string();
        let own = json::parse(text.as_bytes(), DEPTH_MAX).unwrap();
        prop_assert_eq!(own.to_string(), text.clone());
        prop_assert_eq!(serde_json::to_string(&own).unwrap(), text);
        prop_assert_eq!(&serde_json::Value::from(&own), &value);
        prop_assert_eq!(&Value::from(value), &own);
    }

    #[test]
    fn an_object_is_a_map(edits: Vec<(bool, u8, u8)>) {
        let (mut own, mut map) = (JsonObject::new(), serde_json::Map::new());
        let before = own.clone();
        for (put, key, value) in edits {
            let key = format!("k{}", key % 40);
            let (was, should) = if put {
                (own.insert(&key, value.into()), map.insert(key.clone(), value.into()))
            } else {
                (own.remove(&key), map.remove(&key))
            };
            prop_assert_eq!(was, should.map(Value::from));
            prop_assert_eq!(own.get(&key).cloned(), map.get(&key).cloned().map(Value::from));
        }
        prop_assert!(before.is_empty());
        prop_assert_eq!(own, JsonObject::from(map));
    }
}

#[test]
fn a_copy_keeps_what_it_was() {
    let mut value: Value = r#"{"a":{"b":[1,2]},"c":"a text of more than fifteen bytes"}"#.parse().unwrap();
    let copy = value.clone();
    let inner = value.get_mut("a").and_then(|a| a.get_mut("b")).and_then(Value::as_array_mut).unwrap();
    inner.push("x".into());
    assert_eq!(copy.to_string(), r#"{"a":{"b":[1,2]},"c":"a text of more than fifteen bytes"}"#);
    assert_eq!(value["a"]["b"][2], "x");
    assert_eq!(value["none"]["at"][7], Value::Null);
}

#[test]
fn values_are_small() {
    assert_eq!((size_of::<Value>(), size_of::<JsonObject>()), (24, 16));
}
