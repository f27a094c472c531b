//! Laws of inference: it is a sum, and what it proposes takes what it has seen.

use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate_event::value::JsonObject;

use crate::*;

/// Limits that a few small events reach.
const SMALL: InferLimits = InferLimits {
    events_max: 3,
    places_max: 9,
    depth_max: 4,
    values_max: 2,
    value_bytes_max: 6,
    name_bytes_max: 8,
    examples_max: 2,
};

/// Settings under which little traffic says a lot.
fn eager(blocks: bool) -> InferSettings {
    InferSettings {
        required_samples: 1,
        format_samples: 1,
        enum_samples: 1,
        enum_values_max: 3,
        blocks,
        ..InferSettings::default()
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        Just(json!(true)),
        Just(json!(1)),
        Just(serde_json::from_str::<Value>("1.0").unwrap()),
        Just(serde_json::from_str::<Value>("1e400").unwrap()),
        Just(serde_json::from_str::<Value>("12345678901234567890123").unwrap()),
        Just(json!("2026-11-30T08:00:00Z")),
        Just(json!("2026-11-30")),
        Just(json!("a@example.com")),
        Just(json!("0e37df36-f698-11e6-8dd4-cb9ced3df976")),
        "[abc]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 24, 4, |inner| {
        prop_oneof![
            prop::collection::btree_map("[a-e]|email|a name that is long", inner.clone(), 0..4)
                .prop_map(|it| json!(it)),
            prop::collection::vec(inner, 0..4).prop_map(|it| json!(it)),
        ]
    })
}

fn any_event() -> impl Strategy<Value = (EventKind, JsonObject)> {
    let kind =
        prop_oneof![Just(EventKind::Track), Just(EventKind::Page), Just(EventKind::Identify), Just(EventKind::Alias)];
    let name = prop_oneof![Just(None), "[A-D]{0,2}".prop_map(Some), Just(Some("a long name of an event".to_owned()))];
    let version = prop_oneof![4 => Just(json!(null)), 1 => Just(json!("2")), 1 => Just(json!(3)), 1 => Just(json!(""))];
    (kind, name, version, prop::option::of(any_value()), prop::option::of(any_value())).prop_map(
        |(kind, name, version, properties, traits)| {
            let mut event = json!({"type": kind.as_str(), "context": {"htevents": {"schemaVersion": version}}});
            if let Some(name) = name {
                event[if kind == EventKind::Track { "event" } else { "name" }] = json!(name);
            }
            for (part, value) in [("properties", properties), ("traits", traits)] {
                if let Some(value) = value {
                    event[part] = value;
                }
            }
            (kind, event.as_object().unwrap().clone().into())
        },
    )
}

fn any_traffic() -> impl Strategy<Value = Vec<(EventKind, JsonObject)>> {
    prop::collection::vec(any_event(), 0..12)
}

fn inferred(traffic: &[(EventKind, JsonObject)], limits: InferLimits) -> Inference {
    let mut inference = Inference::new(limits);
    for (kind, body) in traffic {
        inference.observe(*kind, body);
    }
    inference
}

fn merged(parts: &[&Inference]) -> Inference {
    let mut whole = Inference::new(SMALL);
    for part in parts {
        whole.merge((*part).clone());
    }
    whole
}

/// What the contract says against traffic that it was inferred from.
fn objections(traffic: &[(EventKind, JsonObject)], limits: InferLimits, blocks: bool) -> Vec<String> {
    let proposal = inferred(traffic, limits).propose("web", &eager(blocks));
    let contract = Contract::compile(&[proposal.domain], ContractLimits::default()).unwrap();
    let mut said = Vec::new();
    for (kind, body) in traffic {
        let mut judged = body.clone();
        let verdict = contract.judge(*kind, &mut judged);
        if verdict.action == Action::Block || verdict.violation.is_some() || judged != *body {
            said.push(format!("{body}: {verdict:?}"));
        }
    }
    said
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn what_is_inferred_takes_the_traffic_it_was_inferred_from(traffic in any_traffic(), blocks in any::<bool>()) {
        prop_assert_eq!(objections(&traffic, InferLimits::default(), blocks), Vec::<String>::new());
        prop_assert_eq!(objections(&traffic, SMALL, blocks), Vec::<String>::new());
    }

    #[test]
    fn an_inference_is_the_merge_of_its_parts_in_any_order(a in any_traffic(), b in any_traffic(), c in any_traffic()) {
        let whole = inferred(&[a.clone(), b.clone(), c.clone()].concat(), SMALL);
        let other_way = inferred(&[c.clone(), a.clone(), b.clone()].concat(), SMALL);
        prop_assert_eq!(&whole, &other_way);
        let (a, b, c) = (inferred(&a, SMALL), inferred(&b, SMALL), inferred(&c, SMALL));
        prop_assert_eq!(&merged(&[&a, &b, &c]), &whole);
        prop_assert_eq!(&merged(&[&c, &b, &a]), &whole);
        let mut right = b;
        right.merge(c);
        let mut left = a;
        left.merge(right);
        prop_assert_eq!(&left, &whole);
    }

    #[test]
    fn the_files_say_what_the_proposal_says(traffic in any_traffic()) {
        let proposal = inferred(&traffic, InferLimits::default()).propose("web", &eager(true));
        let files = proposal.files(&["web".to_owned()]);
        let parsed = files.iter().map(|(name, text)| {
            let node = tidegate_document::yaml::parse(text).unwrap_or_else(|error| panic!("{name}: {error:?}\n{text}"));
            (format!("domains/web/{name}"), node.to_json())
        });
        let domains = Domain::from_files(&parsed.collect(), "web").unwrap();
        prop_assert_eq!(domains.len(), 1);
        let mut read = domains[0].events.clone();
        let mut said = proposal.domain.events.clone();
        for rule in read.iter_mut().chain(&mut said) {
            rule.origin = String::new();
        }
        read.sort_by_key(|rule| (rule.kind, rule.name.clone(), rule.version.clone()));
        said.sort_by_key(|rule| (rule.kind, rule.name.clone(), rule.version.clone()));
        prop_assert_eq!(read, said);
    }
}

fn track(name: &str, properties: Value) -> (EventKind, JsonObject) {
    let event = json!({"type": "track", "event": name, "properties": properties});
    (EventKind::Track, event.as_object().unwrap().clone().into())
}

#[test]
fn types_formats_lists_and_required_fields_are_proposed() {
    let sold = |n: u32| {
        let mut properties = json!({
            "price": 1.5, "count": n, "plan": if n.is_multiple_of(2) { "crew" } else { "skipper" }, "at": "2026-11-30T08:00:00Z",
            "email": format!("u{n}@example.com"), "items": [{"sku": format!("s{n}")}], "coupon": null,
        });
        if n.is_multiple_of(4) {
            properties["note"] = json!("x");
        }
        track("Sold", properties)
    };
    let traffic: Vec<_> = (0..60).map(sold).collect();
    let proposal = inferred(&traffic, InferLimits::default()).propose("web", &InferSettings::default());
    let schema = &proposal.events[0].rule.schema["properties"]["properties"];
    assert_eq!(schema["required"], json!(["at", "count", "coupon", "email", "items", "plan", "price"]));
    assert_eq!(schema["properties"]["price"], json!({"type": "number"}));
    assert_eq!(schema["properties"]["count"], json!({"type": "integer"}));
    assert_eq!(schema["properties"]["plan"], json!({"type": "string", "enum": ["crew", "skipper"]}));
    assert_eq!(schema["properties"]["at"], json!({"type": "string", "format": "date-time"}));
    assert_eq!(schema["properties"]["email"], json!({"type": "string", "format": "email"}));
    assert_eq!(schema["properties"]["coupon"], json!({}));
    assert_eq!(schema["properties"]["items"]["items"]["properties"]["sku"], json!({"type": "string"}));
    let file = &proposal.files(&["web".to_owned()])["sold.yaml"];
    assert!(file.contains("# in 15 of 60; such as \"x\""), "{file}");
    assert!(file.contains("# such as 0, 1, 10"), "{file}");
    assert!(!file.contains("example.com"), "{file}");
}

#[test]
fn keys_of_maps_are_no_fields_so_that_the_next_ones_are_not_blocked() {
    let scored = |n: u32| {
        let scores: serde_json::Map<String, Value> = (0..4).map(|k| (format!("u-{n}-{k}"), json!(k))).collect();
        let by_user = json!({format!("ann{n}@example.com"): 1, n.to_string(): 2, "all": 3});
        track("Scored", json!({"plan": "crew", "by_user": by_user, "scores": scores}))
    };
    let traffic: Vec<_> = (0..40).map(scored).collect();
    let settings = InferSettings { blocks: true, ..InferSettings::default() };
    let proposal = inferred(&traffic, InferLimits::default()).propose("web", &settings);
    let file = &proposal.files(&["web".to_owned()])["scored.yaml"];
    assert!(!file.contains("example.com") && !file.contains("u-1-"), "{file}");
    let fields = &proposal.events[0].rule.schema["properties"]["properties"]["properties"];
    assert_eq!(fields["scores"], json!({"type": "object", "additionalProperties": true}));
    assert_eq!(fields["by_user"]["properties"], json!({"all": {"type": "integer"}}));
    assert!(proposal.notes[0].contains("fields below 2 places are left open"), "{:?}", proposal.notes);
    let contract = Contract::compile(&[proposal.domain], ContractLimits::default()).unwrap();
    let (kind, mut body) = scored(1_000);
    assert_eq!(contract.judge(kind, &mut body), Verdict::CLEAN);
}

#[test]
fn titles_of_pages_are_no_names_so_that_the_next_one_is_not_blocked() {
    let page = |n: u32| {
        let event = json!({"type": "page", "name": format!("Article {n}"), "properties": {"words": n}});
        (EventKind::Page, JsonObject::from(event.as_object().unwrap().clone()))
    };
    let settings = InferSettings { blocks: true, ..InferSettings::default() };
    let proposed = |pages: u32| {
        let traffic: Vec<_> = (0..pages).map(page).collect();
        inferred(&traffic, InferLimits::default()).propose("web", &settings)
    };
    assert_eq!(proposed(30).events.len(), 30);
    let proposal = proposed(31);
    assert_eq!((proposal.events.len(), proposal.events[0].seen), (1, 31));
    assert!(proposal.notes[0].starts_with("page has more than 30 names"), "{:?}", proposal.notes);
    let contract = Contract::compile(&[proposal.domain], ContractLimits::default()).unwrap();
    let (kind, mut body) = page(1_000);
    assert_eq!(contract.judge(kind, &mut body), Verdict::CLEAN);
}

#[test]
fn what_lies_below_a_personal_name_is_personal_and_so_are_numbers_and_names_of_events() {
    let sent = |n: u32| {
        let contact = json!({"line": "Main street 4", "more": ["second floor"]});
        track(
            "Sent",
            json!({"contact": contact, "reached": 15_112_345_678_u64, "app": if n < 30 { "4.1" } else { "4.2" }, "plan": if n < 30 { "crew" } else { "solo" }}),
        )
    };
    let mut traffic: Vec<_> = (0..60).map(sent).collect();
    traffic.push(track("Invited ann@example.com", json!({})));
    let proposal = inferred(&traffic, InferLimits::default()).propose("web", &InferSettings::default());
    let files = proposal.files(&["web".to_owned()]);
    for (name, file) in &files {
        for value in ["Main street", "second floor", "15112345678", "ann@"] {
            assert!(!file.contains(value) && !name.contains("ann"), "{name}: {file}");
        }
    }
    assert_eq!(files["sent.yaml"].matches("enum: [\"crew\", \"solo\"]").count(), 1, "{}", files["sent.yaml"]);
    assert_eq!(files["sent.yaml"].matches("enum").count(), 1, "{}", files["sent.yaml"]);
    assert!(proposal.notes[0].starts_with("1 events can be declared by no contract"), "{:?}", proposal.notes);
}

#[test]
fn what_is_left_out_is_said() {
    let many: serde_json::Map<String, Value> = (0..30).map(|n| (format!("f{n:02}"), json!(n))).collect();
    let traffic = [track("Wide", Value::Object(many)), track("", json!({})), track("B", json!({}))];
    let limits = InferLimits { places_max: 10, ..InferLimits::default() };
    let proposal = inferred(&traffic, limits).propose("web", &InferSettings::default());
    assert_eq!(proposal.notes.len(), 2, "{:?}", proposal.notes);
    assert!(proposal.notes[0].starts_with("track \"Wide\": fields below 1 places"), "{:?}", proposal.notes);
    assert!(proposal.notes[1].starts_with("1 events can be declared by no contract"), "{:?}", proposal.notes);
    let wide = proposal.events.iter().find(|event| event.rule.name.as_deref() == Some("Wide")).unwrap();
    assert_eq!(wide.rule.schema["properties"]["properties"]["additionalProperties"], json!(true));
}

#[test]
fn drift_says_since_which_version() {
    let domain =
        inferred(&(0..20).map(|n| track("Sold", json!({"price": n}))).collect::<Vec<_>>(), InferLimits::default())
            .propose("web", &InferSettings::default())
            .domain;
    let contract = Contract::compile(&[domain], ContractLimits::default()).unwrap();
    let mut watch = DriftWatch::default();
    let mut send = |version: &str, price: Value| {
        let (kind, mut body) = track("Sold", json!({ "price": price }));
        let context = json!({"os": {"name": "iOS"}, "app": {"version": version}});
        body.insert("context", tidegate_event::value::Value::from(context));
        watch.observe(&contract, kind, &body);
    };
    for _ in 0..38 {
        send("4.9", json!(1));
    }
    send("4.10", json!("1"));
    send("4.11", json!("2"));
    let (lines, uncounted) = watch.lines();
    assert_eq!((lines.len(), uncounted), (1, 0), "{lines:?}");
    assert_eq!(lines[0].sentence, "`price` is a text since iOS 4.10, 5.0 % of events");
    assert_eq!(lines[0].since, ["iOS 4.10"]);
}

#[test]
fn a_contrast_names_what_is_newly_blocked_and_let_through() {
    let contract = |schema: Value| {
        let rule = super::rule(EventKind::Track, Some("Sold"), super::properties(schema));
        super::compile(super::domain(vec![rule]))
    };
    let old = contract(json!({"properties": {"price": {"type": "number"}, "plan": {}}}));
    let new = contract(json!({"properties": {"price": {"type": ["number", "string"]}, "plan": {"enum": ["crew"]}}}));
    let mut report = ContrastReport::default();
    for (id, properties) in [("a", json!({"price": 1})), ("b", json!({"price": "1"})), ("c", json!({"plan": "secret"}))]
    {
        let (kind, body) = track("Sold", properties);
        report.compare((Some(&old), Some(&new)), kind, &body, id);
    }
    let shown: Vec<_> =
        report.counts.iter().map(|(key, count)| (key.outcome, count.events, &*count.samples[0])).collect();
    assert_eq!(shown, [(ContrastOutcome::NewlyBlocked, 1, "c"), (ContrastOutcome::NewlyLetThrough, 1, "b")]);
    let (key, count) = report.counts.first_key_value().unwrap();
    assert!(key.finding.starts_with("/properties/plan: ") && !key.finding.contains("secret"), "{key:?}");
    assert!(count.values[0].contains("secret"), "{count:?}");
}
