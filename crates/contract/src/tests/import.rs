//! What becomes of schemas that draft-7 has no words for: what is left takes more, and each loss is told.

use serde_json::{Value, json};

use crate::*;

/// A schema of a field as it is carried over, and where something of it is lost.
#[track_caller]
fn carried(field: &Value) -> (Value, Vec<String>) {
    let schema = json!({
        "title": "Made", "properties": {"field": field}, "definitions": {"money": {"type": "number"}},
    });
    let file = PlanFile { name: "made.json".to_owned(), value: schema };
    let plan = import_plan(PlanKind::JsonSchema, &[file]);
    Contract::compile(&[plan.domain("plan")], ContractLimits::default()).unwrap();
    let carried = plan.events[0].rule.schema.pointer("/properties/properties/properties/field").unwrap();
    let place = |loss: &ImportLoss| loss.pointer.strip_prefix("/properties/field/").unwrap().to_owned();
    (carried.clone(), plan.losses.iter().map(place).collect())
}

#[test]
fn what_loses_a_part_takes_more_and_never_less() {
    for (field, left, lost) in [
        (
            json!({"$ref": "#/definitions/money", "minimum": 3, "title": "Price"}),
            json!({"$ref": "#/definitions/money"}),
            &["minimum"][..],
        ),
        (json!({"not": {"pattern": "(?=a)"}}), json!({}), &["not/pattern", "not"][..]),
        (
            json!({"oneOf": [{"$ref": "https://example.com/x.json"}, {"type": "string"}]}),
            json!({"anyOf": [{}, {"type": "string"}]}),
            &["oneOf/0/$ref", "oneOf"][..],
        ),
        (json!({"if": {"type": "any"}, "then": {"minimum": 3}}), json!({}), &["if/type", "if"][..]),
        (
            json!({"patternProperties": {"^(?=a)": {}}, "additionalProperties": false}),
            json!({"patternProperties": {}, "additionalProperties": true}),
            &["patternProperties/^(?=a)", "additionalProperties"][..],
        ),
        (json!({"type": ["string", {"type": "number"}]}), json!({}), &["type"][..]),
        (
            json!({"dependentRequired": {"a": ["b"]}, "dependentSchemas": {"a": {"required": ["c"]}}}),
            json!({"dependencies": {"a": {"allOf": [{"required": ["b"]}, {"required": ["c"]}]}}}),
            &[][..],
        ),
        (json!({"not": {"type": "null"}}), json!({"not": {"type": "null"}}), &[][..]),
    ] {
        let (carried, losses) = carried(&field);
        assert_eq!(carried, left, "{field}");
        assert_eq!(losses, lost, "{field}");
    }
}

#[test]
fn events_of_a_kind_without_names_are_one_event_whatever_they_are_called() {
    let rule = |key: &str| json!({"type": "IDENTIFY", "key": key, "jsonSchema": {"type": "object"}});
    let common = json!({"type": "COMMON", "jsonSchema": {"type": "object"}});
    let value = json!({"data": {"rules": [rule("a"), rule("b"), common, common]}});
    let plan = import_plan(PlanKind::Segment, &[PlanFile { name: "plan.json".to_owned(), value }]);
    Contract::compile(&[plan.domain("plan")], ContractLimits::default()).unwrap();
    let places: Vec<_> = plan.losses.iter().map(|loss| loss.pointer.as_str()).collect();
    assert_eq!((plan.events.len(), places), (1, vec!["/data/rules/2", "/data/rules/1/jsonSchema"]));
}
