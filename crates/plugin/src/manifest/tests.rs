use serde_json::json;

use super::*;

fn problems_of(value: Value) -> Vec<String> {
    let problems = Manifest::from_json(&value).expect_err("refused");
    problems.into_iter().map(|problem| problem.message).collect()
}

#[test]
fn a_destination_is_read_whole() {
    let manifest = Manifest::from_json(&json!({
        "name": "acme", "kind": "destination", "language": "js",
        "settings": {"type": "object", "required": ["api_key"], "properties": {
            "api_key": {"type": "string", "secret": true}, "region": {"enum": ["eu", "us"]}}},
        "hosts": [{"origin": "https://*.acme.com", "methods": ["POST", "put"]}, "https://eu.acme.com:8443"],
        "authentication": {"kind": "bearer", "secret": "api_key"},
        "batch": {"events_max": 100, "bytes_max": "1 MiB", "age_max": "500 ms"},
        "traffic": {"requests_per_second": 0.5, "timeout": "5 s"},
        "retry": {"age_max": "2 h"}, "order": "user",
        "limits": {"memory_bytes_max": "256 MiB"},
    }))
    .unwrap();
    assert_eq!(manifest.kind, ManifestKind::Destination);
    assert_eq!(manifest.secrets().collect::<Vec<_>>(), ["api_key"]);
    assert_eq!(manifest.hosts[0].methods, [SigningMethod::Post, SigningMethod::Put]);
    assert_eq!(manifest.batching.age_max, Duration::from_millis(500));
    assert_eq!(manifest.retry.pause_min, Duration::from_secs(1));
    assert_eq!(manifest.asked.memory_bytes_max, Some(256 << 20));
    assert_eq!(manifest.authentication, Some(Authentication::Bearer { secret: "api_key".into() }));
}

#[test]
fn a_destination_that_forgets_is_of_a_world_of_its_own() {
    let manifest = |language: &str| json!({"name": "acme", "kind": "destination", "language": language, "hosts": ["https://a.acme.com"], "forget": true});
    assert_eq!(Manifest::from_json(&manifest("js")).unwrap().world(), "forgetting-destination");
    assert!(problems_of(manifest("go")).join("\n").contains("`forget` is for plugins in Rust"));
    let without = json!({"name": "acme", "kind": "destination", "hosts": ["https://a.acme.com"]});
    assert_eq!(Manifest::from_json(&without).unwrap().world(), "destination-plugin");
    let of_function = problems_of(json!({"name": "a", "kind": "transform", "forget": true}));
    assert!(of_function.join("\n").contains("`forget` is for destinations"), "{of_function:?}");
}

#[test]
fn every_problem_is_named_at_once() {
    let problems = problems_of(json!({
        "name": "Not A Name", "kind": "transform", "api": "9.0.0", "hosts": ["https://x.com"], "retires": 3,
        "limits": {"memory_bytes_max": "lots"},
    }));
    let joined = problems.join("\n");
    for part in ["Not A Name", "9.0.0", "`hosts` is for destinations", "`retires`", "`limits.memory_bytes_max`"] {
        assert!(joined.contains(part), "{part} is not in\n{joined}");
    }
    assert_eq!(problems_of(json!([])).len(), 1);
}

#[test]
fn what_is_said_of_a_hostile_manifest_is_bounded() {
    let mut manifest = serde_json::Map::from_iter((0..60_000).map(|n| (format!("field{n}"), n.into())));
    manifest.insert("name".to_owned(), "x".repeat(1 << 20).into());
    manifest.insert("kind".to_owned(), "destination".into());
    manifest.insert("hosts".to_owned(), vec!["*".repeat(1_000); 60_000].into());
    manifest.insert("traffic".to_owned(), json!({"requests_per_second": 1e-18}));
    let problems = Manifest::from_json(&manifest.into()).unwrap_err();
    let said = |words: &str| problems.iter().filter(|problem| problem.message.contains(words)).count();
    assert_eq!((said("is not known here"), said("59980 more fields from here on")), (20, 1));
    assert_eq!((said("is no place to send to"), said("59801 more problems")), (199, 1));
    assert_eq!((said("cannot be a name"), said("`traffic.requests_per_second` is a number")), (1, 1));
    assert_eq!(problems.len(), 223);
    assert!(problems.iter().all(|problem| problem.to_string().len() < 1_000));
}

#[test]
fn a_manifest_never_reads_the_environment() {
    let manifest = Manifest::from_json(&json!({"name": "a", "kind": "transform", "description": "${PATH}"})).unwrap();
    assert_eq!(manifest.description, "${PATH}");
}

#[test]
fn a_schema_of_settings_keeps_its_numbers() {
    let settings = r#"{"type":"object","properties":{"n":{"multipleOf":0.10,"maximum":12345678901234567890123}}}"#;
    let json = format!(r#"{{"name":"a","kind":"transform","settings":{settings}}}"#);
    let manifest = Manifest::from_json(&serde_json::from_str(&json).unwrap()).unwrap();
    let kept = Value::Object(manifest.settings).to_string();
    assert!(kept.contains("0.10") && kept.contains("12345678901234567890123"), "{kept}");
}

#[test]
fn an_origin_is_scheme_host_and_port() {
    for good in ["https://a.com", "https://*.a.com", "http://localhost:8080", "{{settings.endpoint}}"] {
        assert!(is_origin(good), "{good}");
    }
    for bad in [
        "https://*",
        "*",
        "https://a.com/path",
        "ftp://a.com",
        "https://u@a.com",
        "https://a.com:0",
        "https://",
        "{{settings.}}",
    ] {
        assert!(!is_origin(bad), "{bad}");
    }
}

#[test]
fn a_secret_needs_a_destination_and_an_authentication_a_setting() {
    let secret = json!({"type": "object", "properties": {"k": {"type": "string", "secret": true}}});
    assert!(
        problems_of(json!({"name": "a", "kind": "transform", "settings": secret}))[0].contains("only a destination")
    );
    let bearer = json!({"kind": "bearer", "secret": "absent"});
    let problems =
        problems_of(json!({"name": "a", "kind": "destination", "hosts": ["https://a.com"], "authentication": bearer}));
    assert!(problems[0].contains("\"absent\""), "{problems:?}");
}
