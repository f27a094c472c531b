//! What the case folders cannot show: problems, hostile schemas and events, bounds, and the algebra of judging.

use serde_json::{Map, Value, json};
use tidegate_event::value::JsonObject;

use super::*;

mod algebra;
mod import;
mod infer;
mod layout;

fn rule(kind: EventKind, name: Option<&str>, schema: Value) -> EventRule {
    EventRule {
        kind,
        name: name.map(str::to_owned),
        version: VERSION_DEFAULT.to_owned(),
        on_schema_violation: OnSchemaViolation::default(),
        on_undeclared_fields: OnUndeclaredFields::default(),
        include_built_in_context: false,
        schema,
        origin: format!("{}.yaml", name.unwrap_or(kind.as_str())),
    }
}

fn domain(events: Vec<EventRule>) -> Domain {
    Domain {
        name: "Shop".to_owned(),
        on_undeclared_schema: OnUndeclaredSchema::default(),
        undeclared_rows: true,
        events,
        components: BTreeMap::new(),
    }
}

fn with_components(schema: Value, components: &[(&str, Value)]) -> Domain {
    let mut domain = domain(vec![rule(EventKind::Track, Some("Made"), schema)]);
    domain.components = components.iter().map(|(slug, schema)| ((*slug).to_owned(), schema.clone())).collect();
    domain
}

fn compile(domain: Domain) -> Contract {
    Contract::compile(&[domain], ContractLimits::default()).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn problems(domains: &[Domain]) -> Vec<String> {
    let problems = Contract::compile(domains, ContractLimits::default()).map(|_| ()).unwrap_err();
    assert!(problems.iter().all(|problem| !problem.fix.is_empty()));
    problems.into_iter().map(|problem| format!("{}: {}", problem.origin, problem.problem)).collect()
}

fn problems_of(schema: Value, components: &[(&str, Value)]) -> Vec<String> {
    problems(&[with_components(schema, components)])
}

fn event(properties: Value) -> JsonObject {
    let event = json!({"type": "track", "event": "Made", "messageId": "m", "properties": properties});
    event.as_object().unwrap().clone().into()
}

fn properties(schema: Value) -> Value {
    json!({"type": "object", "properties": {"properties": schema}})
}

fn judge(contract: &Contract, properties: Value) -> (Verdict, Value) {
    let mut body = event(properties);
    let verdict = contract.judge(EventKind::Track, &mut body);
    (verdict, (&body["properties"]).into())
}

#[test]
fn words_of_policies() {
    assert_eq!(OnUndeclaredSchema::default(), OnUndeclaredSchema::parse("ALLOW_EVENT").unwrap());
    assert_eq!(OnUndeclaredFields::default(), OnUndeclaredFields::parse("OMIT_FIELDS").unwrap());
    assert_eq!(OnSchemaViolation::default(), OnSchemaViolation::parse("BLOCK_EVENT").unwrap());
    assert_eq!(OnUndeclaredSchema::parse("OMIT_FIELDS"), None);
    assert_eq!(OnSchemaViolation::parse("OMIT_FIELDS"), None);
    assert_eq!(OnUndeclaredFields::parse("omit_fields"), None);
}

#[test]
fn problems_name_the_file_and_come_all_at_once() {
    let found = problems(&[domain(vec![
        rule(EventKind::Track, None, json!({})),
        rule(EventKind::Track, Some("A"), json!({"type": "strin"})),
        rule(EventKind::Track, Some("B"), json!(true)),
        rule(EventKind::Track, Some("C"), json!({"$schema": "https://json-schema.org/draft/2020-12/schema"})),
        rule(EventKind::Track, Some("D"), properties(json!({"$ref": "https://example.com/a.json"}))),
        rule(EventKind::Track, Some("E"), properties(json!({"$ref": "#/definitions/components/gone"}))),
        rule(EventKind::Track, Some("F"), properties(json!({"$ref": "#/definitions/gone"}))),
        rule(EventKind::Track, Some("G"), properties(json!({"pattern": "(?=x)"}))),
        rule(EventKind::Track, Some("H"), properties(json!({"patternProperties": {"(a)\\1": {}}}))),
        rule(EventKind::Page, None, json!({})),
        rule(EventKind::Page, None, json!({})),
    ])]);
    let expected = [
        "track.yaml: It declares a track without a name.",
        "A.yaml: Its schema is not JSON Schema draft-7: at /type,",
        "B.yaml: Its schema is not an object.",
        "C.yaml: Its schema says that it is of \"https://json-schema.org/draft/2020-12/schema\", not draft-7.",
        "D.yaml: It refers to \"https://example.com/a.json\", which is outside of the domain.",
        "E.yaml: It refers to the component \"gone\", which does not exist here.",
        "F.yaml: It refers to \"#/definitions/gone\", where there is no schema.",
        "G.yaml: Its schema cannot be compiled: at /properties/properties/pattern,",
        "H.yaml: Its pattern \"(a)\\\\1\" cannot be used.",
        "page.yaml: It declares page without a name, version \"default\", which page.yaml declares.",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found} instead of {expected}");
    }
}

#[test]
fn two_domains_may_not_declare_the_same_event() {
    let one = domain(vec![rule(EventKind::Identify, None, json!({}))]);
    // A label on an identify does not make it another event.
    let two = domain(vec![rule(EventKind::Identify, Some("label"), json!({}))]);
    assert_eq!(
        problems(&[one, two]),
        ["label.yaml: It declares identify without a name, version \"default\", which identify.yaml declares."]
    );
}

#[test]
fn problems_of_components() {
    let found = problems_of(
        properties(json!({"$ref": "#/definitions/components/a"})),
        &[("a", json!({"$ref": "#/definitions/components/b"})), ("c", json!({"$ref": "#"})), ("d", json!({"type": 1}))],
    );
    assert!(found[0].starts_with("component \"a\" of domain \"Shop\": It refers to the component \"b\""), "{found:?}");
    assert!(found[1].starts_with("component \"c\" of domain \"Shop\": It refers to \"#\""), "{found:?}");
    assert!(found[2].starts_with("component \"d\" of domain \"Shop\": Its schema is not JSON Schema"), "{found:?}");
}

#[test]
fn endless_and_exploding_schemas_are_refused() {
    let itself = problems_of(json!({"allOf": [{"$ref": "#"}]}), &[]);
    assert_eq!(itself, ["Made.yaml: Its schema refers to itself without end."]);
    let each_other = [
        ("a", json!({"anyOf": [{"$ref": "#/definitions/components/b"}]})),
        ("b", json!({"not": {"$ref": "#/definitions/components/a"}})),
    ];
    let found = problems_of(properties(json!({"$ref": "#/definitions/components/a"})), &each_other);
    assert_eq!(found, ["Made.yaml: Its schema refers to itself without end."]);

    let doubling: Vec<(String, Value)> = (0..40)
        .map(|at| {
            let next = json!({"$ref": format!("#/definitions/components/c{}", at + 1)});
            (format!("c{at}"), if at == 39 { json!({}) } else { json!({"allOf": [next, next]}) })
        })
        .collect();
    let doubling: Vec<(&str, Value)> = doubling.iter().map(|(slug, schema)| (slug.as_str(), schema.clone())).collect();
    let found = problems_of(properties(json!({"$ref": "#/definitions/components/c0"})), &doubling);
    assert_eq!(found, ["Made.yaml: Its schema applies more than 4096 schemas to one value."]);

    // Doubling from level to level of the event: by branches, by a list, below `not`.
    let again = json!({"$ref": "#/definitions/components/c"});
    for component in [
        json!({"properties": {"x": again}, "anyOf": [{"properties": {"x": again}}]}),
        json!({"items": again, "contains": again}),
        json!({"patternProperties": {"^x": again}, "not": {"properties": {"x": again}}}),
    ] {
        let found = problems_of(properties(again.clone()), &[("c", component)]);
        assert_eq!(found, ["Made.yaml: Its schema applies more than 4096 schemas to one value."]);
    }
    // Recursion that does not double, however often it refers to itself.
    let component = json!({"properties": {"left": again, "right": again}, "patternProperties": {"^x": again, "^y": again},
        "items": [again, again], "additionalItems": again, "oneOf": [{"properties": {"and": again}}, {"properties": {"or": again}}]});
    compile(with_components(properties(again.clone()), &[("c", component)]));
}

#[test]
fn deep_and_large_schemas_are_refused() {
    let mut deep = json!({});
    for _ in 0..70 {
        deep = json!({"not": deep});
    }
    assert_eq!(problems_of(deep, &[]), ["Made.yaml: Its schema is nested deeper than 64 levels."]);
    let large: Map<String, Value> = (0..60_000).map(|at| (format!("a_long_field_{at}"), json!({}))).collect();
    let found = problems_of(properties(json!({"properties": large})), &[]);
    assert!(found[0].starts_with("Made.yaml: Its schema with the components it uses takes"), "{found:?}");
    let tangle: Vec<Value> =
        (0..12).map(|at| json!({"properties": {"next": {"$ref": format!("#/definitions/{at}")}}})).collect();
    let tangle = json!({"definitions": (0..12).map(|at| (at.to_string(), tangle[at].clone())).collect::<Map<_, _>>()});
    assert!(Contract::compile(&[with_components(tangle, &[])], ContractLimits::default()).is_ok());
}

/// A chain of references as long as the limits allow, and one longer. Threads of tests have small stacks.
#[test]
fn long_chains_of_references_do_not_overflow() {
    let chain = |length: usize, wrap: fn(Value) -> Value| {
        let definition = |at| (format!("d{at}"), wrap(json!({"$ref": format!("#/definitions/d{}", at + 1)})));
        let mut definitions: Map<String, Value> = (0..length).map(definition).collect();
        definitions.insert(format!("d{length}"), json!({"type": "string"}));
        json!({"definitions": definitions, "properties": {"properties": {"$ref": "#/definitions/d0"}}})
    };
    let in_place = compile(with_components(chain(250, |it| json!({"allOf": [it]})), &[]));
    assert!(judge(&in_place, json!("text")).0 == Verdict::CLEAN);
    assert!(judge(&in_place, json!(1)).0.violation.unwrap().has_schema_violated);
    let below = compile(with_components(chain(250, |it| json!({"properties": {"a": it}})), &[]));
    let mut nested = json!({"b": 1});
    for _ in 0..60 {
        nested = json!({"a": nested});
    }
    assert!(judge(&below, nested).0.violation.unwrap().has_undeclared_fields);
    let found = problems_of(chain(400, |it| json!({"allOf": [it]})), &[]);
    assert!(found[0].starts_with("Made.yaml: Its schema refers to too much"), "{found:?}");
}

#[test]
fn recursive_schemas_follow_the_event() {
    let tree = json!({"type": "object", "properties": {
        "name": {"type": "string"},
        "children": {"type": "array", "items": {"$ref": "#/definitions/components/tree"}},
    }});
    let contract =
        compile(with_components(properties(json!({"$ref": "#/definitions/components/tree"})), &[("tree", tree)]));
    let mut inner = json!({"name": "leaf", "colour": 1});
    let mut clean = json!({"name": "leaf"});
    for _ in 0..30 {
        inner = json!({"children": [inner]});
        clean = json!({"children": [clean]});
    }
    assert_eq!(judge(&contract, clean.clone()), (Verdict::CLEAN, clean.clone()));
    let (verdict, left) = judge(&contract, inner);
    assert!(verdict.omitted);
    assert_eq!(left, clean);
    let pointer = format!("/properties{}/colour: the field is not declared.", "/children/0".repeat(30));
    assert_eq!(verdict.violation.unwrap().violations, [pointer]);
}

#[test]
fn branches_and_patterns_declare() {
    let contract = compile(with_components(
        properties(json!({
            "properties": {"a": {"properties": {"x": {}}}, "free": {"type": "object"}},
            "patternProperties": {"^p_": {"properties": {"y": {}}}},
            "allOf": [{"properties": {"a": {"properties": {"z": {}}}, "b": {}}}],
            "oneOf": [{"required": ["c"], "properties": {"c": {}}}, {"required": ["d"], "properties": {"d": {}}}],
            "if": {"properties": {"e": {"const": 1}}, "required": ["e"]},
            "then": {"properties": {"f": {}}},
            "not": {"required": ["n"], "properties": {"n": {}}},
        })),
        &[],
    ));
    let sent = json!({
        "a": {"x": 1, "z": 1, "w": 1}, "b": 1, "c": 1, "e": 1, "f": 1,
        "free": {"any": {"thing": 1}}, "g": 1, "n": 1, "p_1": {"y": 1, "q": 1},
    });
    let (verdict, left) = judge(&contract, sent);
    let violation = verdict.violation.unwrap();
    assert_eq!(
        left,
        json!({"a": {"x": 1, "z": 1}, "b": 1, "c": 1, "e": 1, "f": 1, "free": {"any": {"thing": 1}}, "p_1": {"y": 1}})
    );
    let pointers = ["/a/w", "/g", "/n", "/p_1/q"].map(|it| format!("/properties{it}: the field is not declared."));
    assert_eq!(violation.violations, pointers);
    assert!(!violation.has_schema_violated);
}

#[test]
fn open_objects_lists_and_positions() {
    let point = json!({"properties": {"x": {}}});
    let contract = compile(with_components(
        properties(json!({"properties": {
            "open": {"properties": {"a": {}}, "additionalProperties": true},
            "map": {"additionalProperties": point},
            "list": {"items": point},
            "pair": {"items": [point, {}], "additionalItems": point},
        }})),
        &[],
    ));
    let extra = json!({"x": 1, "y": 1});
    let (verdict, left) = judge(
        &contract,
        json!({"open": {"b": 1}, "map": {"k": extra}, "list": [extra, 1], "pair": [extra, extra, extra]}),
    );
    let trimmed = json!({"x": 1});
    assert_eq!(
        left,
        json!({"open": {"b": 1}, "map": {"k": trimmed}, "list": [trimmed, 1], "pair": [trimmed, extra, trimmed]})
    );
    assert_eq!(verdict.violation.unwrap().violations.len(), 4);
}

/// A field that is undeclared and allowed counts for every keyword that looks at the object as a whole.
#[test]
fn under_allow_event_the_schema_judges_the_whole_event() {
    for (keyword, given, violated) in [
        (json!({"required": ["bar"]}), json!({"bar": 1}), false),
        (json!({"required": ["bar"]}), json!({"baz": 1}), true),
        (json!({"maxProperties": 1}), json!({"a": 1, "bar": 1}), true),
        (json!({"minProperties": 2}), json!({"a": 1, "bar": 1}), false),
        (json!({"not": {"required": ["bar"]}}), json!({"bar": 1}), true),
        (json!({"if": {"required": ["bar"]}, "then": {"required": ["a"]}}), json!({"bar": 1}), true),
        (json!({"if": {"required": ["bar"]}, "then": {"required": ["a"]}}), json!({"bar": 1, "a": 1}), false),
        (json!({"propertyNames": {"maxLength": 2}}), json!({"bar": 1}), true),
        (json!({"additionalProperties": false}), json!({"bar": 1}), false),
        (json!({"dependencies": {"bar": ["a"]}}), json!({"bar": 1}), true),
    ] {
        let mut schema = json!({"properties": {"a": {}}});
        schema.as_object_mut().unwrap().extend(keyword.as_object().unwrap().clone());
        let mut domain = with_components(properties(schema), &[]);
        domain.events[0].on_undeclared_fields = OnUndeclaredFields::AllowEvent;
        let violation = judge(&compile(domain), given.clone()).0.violation.unwrap();
        assert!(violation.has_undeclared_fields, "{keyword} {given}");
        assert_eq!(violation.has_schema_violated, violated, "{keyword} {given}: {:?}", violation.violations);
    }
}

#[test]
fn formats_of_international_names_are_checked() {
    let schema = json!({"properties": {"host": {"format": "idn-hostname"}, "mail": {"format": "idn-email"}}});
    let contract = compile(with_components(properties(schema), &[]));
    let violated = |given| judge(&contract, given).0.violation.is_some_and(|violation| violation.has_schema_violated);
    assert!(!violated(json!({"host": "münchen.example", "mail": "grüße@münchen.example"})));
    assert!(violated(json!({"host": "-a.example"})) && violated(json!({"mail": "nobody"})));
}

/// Closed branches tell the two apart; what is undeclared altogether must not fail them both.
#[test]
fn an_undeclared_field_is_no_schema_violation_too() {
    let closed = |key: &str| json!({"properties": {key: {}}, "required": [key], "additionalProperties": false});
    for policy in [OnUndeclaredFields::AllowEvent, OnUndeclaredFields::BlockEvent, OnUndeclaredFields::OmitFields] {
        let mut domain = with_components(properties(json!({"oneOf": [closed("a"), closed("b")]})), &[]);
        domain.events[0].on_undeclared_fields = policy;
        let contract = compile(domain);
        let (verdict, left) = judge(&contract, json!({"a": 1, "z": 1}));
        let violation = verdict.violation.unwrap();
        assert!(violation.has_undeclared_fields && !violation.has_schema_violated, "{violation:?}");
        assert_eq!(verdict.action == Action::Block, policy == OnUndeclaredFields::BlockEvent);
        assert_eq!(left.get("z").is_none(), policy == OnUndeclaredFields::OmitFields);
        assert!(judge(&contract, json!({"a": 1, "b": 1})).0.violation.unwrap().has_schema_violated);
    }
}

#[test]
fn closed_envelope_and_context_let_in_what_is_never_undeclared() {
    let context = json!({"properties": {"plan": {"type": "string"}}, "additionalProperties": false});
    let schema = json!({"properties": {"context": {"$ref": "#/definitions/components/context"}, "properties": {
        "properties": {"context": {"$ref": "#/definitions/components/context"}}
    }}, "additionalProperties": false});
    let mut domain = with_components(schema, &[("context", context)]);
    domain.events[0].include_built_in_context = true;
    let contract = compile(domain);
    let mut body = event(json!({}));
    body.insert("receivedAt", json!("2025-01-01T00:00:00.000000Z").into());
    let context = json!({"plan": "a", "library": {"name": "x"}, "page": {"url": "u"}, "htevents": {"other": 1}});
    body.insert("context", context.into());
    assert_eq!(contract.judge(EventKind::Track, &mut body), Verdict::CLEAN);
    // The same component elsewhere stays closed.
    let (verdict, left) = judge(&contract, json!({"context": {"library": 1}}));
    assert_eq!(left, json!({"context": {}}));
    assert!(!verdict.violation.unwrap().has_schema_violated);
}

#[test]
fn what_the_server_says_of_times_is_never_undeclared() {
    let schema =
        json!({"properties": {"context": {"properties": {"plan": {"type": "string"}}, "additionalProperties": false}}});
    let contract = compile(with_components(schema, &[]));
    let mut body = event(json!({}));
    let said = json!({"plan": "a", "timestampReadAs": "utc", "sentAtReadAs": "unreadable"});
    body.insert("context", said.into());
    assert_eq!(contract.judge(EventKind::Track, &mut body), Verdict::CLEAN);
}

#[test]
fn a_blocked_event_stays_whole() {
    let contract = compile(with_components(properties(json!({"properties": {"a": {"type": "string"}}})), &[]));
    let sent = json!({"a": 1, "b": 2});
    let (verdict, left) = judge(&contract, sent.clone());
    assert_eq!((verdict.action, verdict.omitted), (Action::Block, false));
    assert_eq!(left, sent);
}

#[test]
fn reports_are_bounded() {
    let contract = compile(with_components(
        properties(json!({"properties": {"s": {"type": "integer"}, "list": {"items": {"type": "string"}}}})),
        &[],
    ));
    let violations = |sent| judge(&contract, sent).0.violation.unwrap().violations;
    let many: Map<String, Value> = (0..100).map(|at| (format!("key_{at:03}"), json!(1))).collect();
    let found = violations(Value::Object(many));
    assert_eq!(found.len(), VIOLATIONS_MAX + 1);
    assert_eq!(found[VIOLATIONS_MAX], "... and 36 more");
    let found = violations(json!({"list": (0..70).collect::<Vec<_>>()}));
    assert_eq!(found[0], "/properties/list/0: 0 is not of type \"string\".");
    assert_eq!(found[VIOLATIONS_MAX], "... and 6 more");
    for long in ["ü".repeat(5_000), "a".repeat(VIOLATION_BYTES_MAX)] {
        for found in [violations(json!({"s": long})), violations(json!({long: 1}))] {
            assert!(found[0].len() <= VIOLATION_BYTES_MAX && found[0].ends_with("..."), "{found:?}");
        }
    }
}

#[test]
fn pointers_are_escaped_and_names_are_exact() {
    let contract = compile(with_components(properties(json!({"properties": {}})), &[]));
    let found = judge(&contract, json!({"a/b~c": 1})).0.violation.unwrap();
    assert_eq!(found.violations, ["/properties/a~1b~0c: the field is not declared."]);
    for name in ["made", "Made ", "MADE", ""] {
        let mut body = event(json!({}));
        body.insert("event", json!(name).into());
        assert!(contract.judge(EventKind::Track, &mut body).violation.unwrap().has_undeclared_schema, "{name}");
    }
}

#[test]
fn hostile_numbers_and_texts_end() {
    let contract = compile(with_components(
        properties(json!({"properties": {
            "n": {"type": "number", "multipleOf": 0.01, "minimum": 0},
            "t": {"type": "string", "pattern": "^(a+)+$"},
        }})),
        &[],
    ));
    for number in ["1e999999999", "-1e-999999999", &"9".repeat(20_000)] {
        let number: Value = serde_json::from_str(number).unwrap();
        judge(&contract, json!({"n": number}));
    }
    let text = format!("{}b", "a".repeat(30_000));
    assert!(judge(&contract, json!({"t": text})).0.violation.unwrap().has_schema_violated);
}

#[test]
fn odd_versions_are_named_as_sent() {
    let mut two =
        domain(vec![rule(EventKind::Track, Some("Made"), json!({})), rule(EventKind::Track, Some("Made"), json!({}))]);
    two.events[1].version = "2".to_owned();
    let contract = compile(two);
    for (sent, version) in [(json!(2), None), (json!("2"), None), (json!(null), None), (json!([1]), Some("[1]"))] {
        let mut body = event(json!({}));
        body.insert("context", json!({"htevents": {"schemaVersion": sent}}).into());
        let violation = contract.judge(EventKind::Track, &mut body).violation;
        assert_eq!(violation.as_ref().map(|it| it.schema_version.as_str()), version);
    }
}

#[test]
fn what_an_event_breaks_is_told_once_for_all_items_and_without_values() {
    let item = json!({"required": ["sku"], "properties": {"sku": {"type": "string"}}});
    let schema = json!({"type": "object", "properties": {
        "context": {"properties": {"plan": {}}},
        "properties": {"properties": {"items": {"items": item}, "n": {"type": "number"}}},
    }});
    let contract = compile(with_components(schema, &[]));
    let sent = json!({"items": [{}, {"sku": 5}, {}, {"sku": "a", "more": 1}], "n": "hunter2"});
    let mut body = event(sent);
    body.insert("context", json!({"os": {"name": "iOS"}, "app": {"version": "4.2"}}).into());
    let broken = contract.judge(EventKind::Track, &mut body).violation.unwrap().broken;
    assert_eq!(
        (broken.is_declared, broken.release.as_str()),
        (true, "iOS 4.2"),
        "of the event before fields are omitted"
    );
    let told = |broken: &BrokenRules| -> Vec<String> {
        let mut told: Vec<String> =
            broken.rules.iter().map(|rule| format!("{} {}", rule.place, rule.keyword)).collect();
        told.sort_unstable();
        told
    };
    assert_eq!(
        told(&broken),
        [
            "/context/app undeclaredField",
            "/context/os undeclaredField",
            "/properties/items/*/more undeclaredField",
            "/properties/items/*/sku required",
            "/properties/items/*/sku type",
            "/properties/n type",
        ]
    );
    let mut body = event(json!({}));
    body.insert("event", json!("Else").into());
    let broken = contract.judge(EventKind::Track, &mut body).violation.unwrap().broken;
    assert_eq!((broken.is_declared, told(&broken)), (false, vec![" undeclaredEvent".to_owned()]));
}

#[test]
fn of_what_an_event_breaks_so_much_is_told_and_that_there_is_more() {
    let contract = compile(with_components(properties(json!({"properties": {}})), &[]));
    let sent: Map<String, Value> = (0..VIOLATIONS_MAX + 9).map(|n| (format!("f{n}"), json!(n))).collect();
    let broken = judge(&contract, sent.into()).0.violation.unwrap().broken;
    assert_eq!(broken.rules.len(), VIOLATIONS_MAX + 1);
    assert_eq!(broken.rules.last().map(|rule| rule.keyword.as_str()), Some("(others)"));
}

#[test]
fn names_that_a_schema_leaves_open_are_in_no_place() {
    let price = json!({"type": "object", "required": ["sum"], "properties": {"sum": {"type": "number"}}});
    let schema = json!({"type": "object", "$defs": {"price": price}, "properties": {"properties": {"properties": {
        "open": {"additionalProperties": {"$ref": "#/$defs/price"}},
        "patterned": {"patternProperties": {"@": {"allOf": [{"properties": {"seen": {"items": {"type": "string"}}}}]}}},
        "properties": {"properties": {"n": {"type": "number"}}},
    }}}});
    let contract = compile(with_components(schema, &[]));
    let mut body = event(json!({
        "open": {"ann@example.com": {"sum": "no"}, "bob": {}, "eve": 5},
        "patterned": {"ann@example.com": {"seen": ["a", 5]}},
        "properties": {"n": "no"},
    }));
    let broken = contract.judge(EventKind::Track, &mut body).violation.unwrap().broken;
    let mut places: Vec<String> = broken.rules.iter().map(|rule| format!("{} {}", rule.place, rule.keyword)).collect();
    places.sort_unstable();
    assert_eq!(
        places,
        [
            "/properties/open/* type",
            "/properties/open/*/sum required",
            "/properties/open/*/sum type",
            "/properties/patterned/*/seen/* type",
            "/properties/properties/n type",
        ]
    );
}
