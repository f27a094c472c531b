//! Laws of judging, over any schema and any event.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{compile, event, properties, with_components};
use crate::*;

/// Schemas and values over few keys, so that they meet often.
fn any_schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({})),
        Just(json!({"type": "string"})),
        Just(json!({"type": "object"})),
        Just(json!({"$ref": "#/definitions/components/c"})),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let map = prop::collection::btree_map("[a-d]", inner.clone(), 0..4);
        prop_oneof![
            map.clone().prop_map(|properties| json!({"properties": properties})),
            map.clone().prop_map(|properties| json!({"properties": properties, "additionalProperties": false})),
            (map.clone(), inner.clone())
                .prop_map(|(it, extra)| json!({"properties": it, "additionalProperties": extra})),
            (map, inner.clone())
                .prop_map(|(it, other)| json!({"properties": it, "patternProperties": {"^[ab]": other}})),
            inner.clone().prop_map(|items| json!({"items": items})),
            prop::collection::vec(inner.clone(), 1..3).prop_map(|items| json!({"items": items})),
            prop::collection::vec(inner.clone(), 1..3).prop_map(|branches| json!({"anyOf": branches})),
            prop::collection::vec(inner, 1..3).prop_map(|branches| json!({"allOf": branches})),
        ]
    })
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(json!("text")), Just(json!(1)), Just(json!(null))];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::btree_map("[a-e]", inner.clone(), 0..4).prop_map(|it| json!(it)),
            prop::collection::vec(inner, 0..3).prop_map(|it| json!(it)),
        ]
    })
}

fn any_domain() -> impl Strategy<Value = Domain> {
    let fields = prop_oneof![
        Just(OnUndeclaredFields::AllowEvent),
        Just(OnUndeclaredFields::BlockEvent),
        Just(OnUndeclaredFields::OmitFields)
    ];
    let schema = prop_oneof![Just(OnSchemaViolation::AllowEvent), Just(OnSchemaViolation::BlockEvent)];
    let component = json!({"properties": {"a": {"$ref": "#/definitions/components/c"}, "b": {"type": "string"}}});
    (any_schema(), fields, schema).prop_map(move |(schema, fields, violation)| {
        let mut domain = with_components(properties(schema), &[("c", component.clone())]);
        domain.events[0].on_undeclared_fields = fields;
        domain.events[0].on_schema_violation = violation;
        domain
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn judging_again_finds_nothing_more(domain in any_domain(), sent in any_value()) {
        let contract = compile(domain);
        let before = event(sent);
        let mut body = before.clone();
        let first = contract.judge(EventKind::Track, &mut body);
        prop_assert_eq!(first.omitted, body != before);
        prop_assert!(!(first.omitted && first.action == Action::Block));
        if let Some(violation) = &first.violation {
            prop_assert_eq!(&violation.payload, &serde_json::to_string(&before).unwrap());
            prop_assert!(violation.has_undeclared_fields || violation.has_schema_violated);
        }
        let left = body.clone();
        let second = contract.judge(EventKind::Track, &mut body);
        prop_assert_eq!(&body, &left, "the second judgement changed the event");
        prop_assert_eq!(second.action, first.action);
        if first.omitted {
            let again = second.violation.is_some_and(|violation| violation.has_undeclared_fields);
            prop_assert!(!again, "an omitted field is still there");
        } else {
            prop_assert_eq!(second, first);
        }
    }

    /// The schema without anything closed agrees with the validator on every event that is found clean.
    #[test]
    fn what_is_found_clean_satisfies_the_schema(domain in any_domain(), sent in any_value()) {
        let mut document = domain.events[0].schema.clone();
        document["definitions"] = json!({"components": domain.components});
        let validator = jsonschema::draft7::options().build(&document).unwrap();
        let mut body = event(sent);
        if compile(domain).judge(EventKind::Track, &mut body) == Verdict::CLEAN {
            prop_assert!(validator.is_valid(&Value::Object((&body).into())));
        }
    }
}
