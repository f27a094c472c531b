//! What judging one event costs: clean, with an undeclared field, with two violations.

use std::collections::BTreeMap;
use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};
use tidegate_contract::{
    Contract, ContractLimits, Domain, EventRule, OnSchemaViolation, OnUndeclaredFields, OnUndeclaredSchema,
    VERSION_DEFAULT,
};
use tidegate_event::EventKind;
use tidegate_event::value::JsonObject;

fn contract() -> Contract {
    let product = json!({
        "type": "object",
        "required": ["sku"],
        "properties": {
            "sku": {"type": "string"},
            "price": {"type": "number", "minimum": 0},
            "quantity": {"type": "integer", "minimum": 1},
        },
    });
    let schema = json!({
        "type": "object",
        "properties": {
            "properties": {
                "type": "object",
                "required": ["order_id", "total"],
                "properties": {
                    "order_id": {"type": "string"},
                    "total": {"type": "number", "minimum": 0},
                    "currency": {"type": "string", "enum": ["EUR", "USD", "GBP"]},
                    "coupon": {"type": "string", "maxLength": 40},
                    "first_order": {"type": "boolean"},
                    "products": {"type": "array", "items": {"$ref": "#/definitions/components/product"}},
                },
            },
        },
    });
    let rule = |name: &str| EventRule {
        kind: EventKind::Track,
        name: Some(name.to_owned()),
        version: VERSION_DEFAULT.to_owned(),
        on_schema_violation: OnSchemaViolation::default(),
        on_undeclared_fields: OnUndeclaredFields::default(),
        include_built_in_context: true,
        schema: schema.clone(),
        origin: format!("{name}.yaml"),
    };
    let others = (0..200).map(|at| rule(&format!("Event {at}")));
    let domain = Domain {
        name: "Shop".to_owned(),
        on_undeclared_schema: OnUndeclaredSchema::BlockEvent,
        undeclared_rows: false,
        events: others.chain([rule("Order Completed")]).collect(),
        components: BTreeMap::from([("product".to_owned(), product)]),
    };
    Contract::compile(&[domain], ContractLimits::default()).expect("the contract compiles")
}

fn event(change: impl FnOnce(&mut Value)) -> JsonObject {
    let mut event = json!({
        "type": "track",
        "event": "Order Completed",
        "messageId": "6f1c7f9e-6f0e-4b41-9d4b-0c8d9a8f1b2c",
        "anonymousId": "0d2b9c1e-6d6e-4c6b-8a2f-1f5c1d7e9a10",
        "originalTimestamp": "2025-01-01T12:00:00.000Z",
        "receivedAt": "2025-01-01T12:00:00.100000Z",
        "timestamp": "2025-01-01T12:00:00.000000Z",
        "context": {"ip": "::1", "library": {"name": "js", "version": "1"}, "locale": "de", "userAgent": "x"},
        "properties": {
            "order_id": "o-1",
            "total": 42.50,
            "currency": "EUR",
            "coupon": "SPRING",
            "first_order": true,
            "products": [
                {"sku": "a-1", "price": 20, "quantity": 1},
                {"sku": "b-2", "price": 22.50, "quantity": 1},
            ],
        },
    });
    change(&mut event["properties"]);
    event.as_object().expect("an object").clone().into()
}

fn judge(c: &mut Criterion) {
    let contract = contract();
    let mut clean = event(|_| ());
    assert!(contract.judge(EventKind::Track, &mut clean).violation.is_none());
    c.bench_function("contract_judge/clean", |b| b.iter(|| contract.judge(EventKind::Track, black_box(&mut clean))));
    let undeclared = event(|properties| properties["colour"] = json!("red"));
    let two = event(|properties| {
        properties["total"] = json!("42.50");
        properties["products"][1]["quantity"] = json!(0);
    });
    for (name, sent) in [("undeclared_field", undeclared), ("two_violations", two)] {
        assert!(contract.judge(EventKind::Track, &mut sent.clone()).violation.is_some());
        c.bench_function(&format!("contract_judge/{name}"), |b| {
            b.iter_batched_ref(|| sent.clone(), |body| contract.judge(EventKind::Track, body), BatchSize::SmallInput);
        });
    }
}

criterion_group!(benches, judge);
criterion_main!(benches);
