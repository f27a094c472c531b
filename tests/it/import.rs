//! Functions written for other products, unchanged; what cannot run is named at import, with its line.

use serde_json::Value;

use crate::conformance::skipped;
use crate::support::plugins::{json, tidegate};

/// Imports `source`, runs `input` through it and answers the outcomes; `None` when a registry is away.
fn outcomes(from: &str, source: &str, input: &str, settings: &str) -> Option<Value> {
    outcomes_with(from, source, &[], input, settings)
}

/// The same with libraries: their names and texts.
fn outcomes_with(from: &str, source: &str, libraries: &[(&str, &str)], input: &str, settings: &str) -> Option<Value> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("theirs.js"), source).unwrap();
    let mut arguments = vec!["function".to_owned(), "import".into(), "--from".into(), from.into(), "theirs.js".into()];
    arguments.extend(["--name".to_owned(), "theirs".to_owned()]);
    for (number, (name, text)) in libraries.iter().enumerate() {
        std::fs::write(dir.path().join(format!("library{number}.js")), text).unwrap();
        arguments.extend(["--library".to_owned(), format!("{name}=library{number}.js")]);
    }
    let imported = tidegate(dir.path(), &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let said = json(&imported);
    if said["error"]
        .as_str()
        .is_some_and(|error| error.contains("could not be installed") || error.contains("is missing"))
    {
        skipped("import", &said.to_string());
        return None;
    }
    assert!(imported.status.success(), "{said}");
    let project = dir.path().join("theirs");
    let kept = std::fs::read_to_string(project.join("src/original.js")).unwrap();
    assert!(kept.starts_with(source), "the file was changed:\n{kept}");
    std::fs::write(project.join("fixtures/one.in.json"), input).unwrap();
    std::fs::write(project.join("fixtures/settings.json"), settings).unwrap();
    let tested = json(&tidegate(dir.path(), &["function", "test", "--update", "theirs"]));
    assert_eq!(tested["ok"], true, "{tested:#}");
    Some(serde_json::from_slice(&std::fs::read(project.join("fixtures/one.out.json")).unwrap()).unwrap())
}

/// The problems of an import that is refused; empty when a registry is away.
fn refusal(from: &str, source: &str) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("theirs.js"), source).unwrap();
    let refused = tidegate(dir.path(), &["function", "import", "--from", from, "theirs.js", "--name", "theirs"]);
    let error = json(&refused)["error"].as_str().unwrap_or_default().to_owned();
    assert!(!refused.status.success() && !dir.path().join("theirs").exists(), "{error}");
    (!error.contains("could not be installed") && !error.contains("is missing")).then_some(error)
}

const EVENTS: &str = r#"[
    {"type": "track", "messageId": "m-1", "event": "Order Completed", "userId": "u-1", "properties": {"total": 40}},
    {"type": "track", "messageId": "m-2", "event": "Internal Ping", "userId": "u-2"},
    {"type": "identify", "messageId": "m-3", "userId": "u-3", "traits": {"plan": "pro"}}
]"#;

#[test]
fn a_hightouch_function_runs_unchanged() {
    let source = include_str!("cases/import/hightouch.js");
    let Some(outcomes) = outcomes("hightouch", source, EVENTS, "{}") else { return };
    assert_eq!(outcomes[0]["replace"]["properties"]["total_cents"], 4_000);
    assert_eq!(outcomes[1]["drop"], "filtered");
    assert_eq!(outcomes[2]["replace"]["traits"]["plan"], "pro");
}

#[test]
fn a_rudderstack_transformation_runs_unchanged() {
    let source = include_str!("cases/import/rudderstack.js");
    let Some(outcomes) = outcomes("rudderstack", source, EVENTS, r#"{"source_id": "src-1"}"#) else { return };
    assert_eq!(outcomes[0]["replace"]["sourceId"], "src-1");
    assert_eq!(outcomes[0]["replace"]["seen"], "m-1");
    assert_eq!(outcomes[1]["drop"], "filtered");
    assert_eq!(outcomes[2]["emit"].as_array().map(Vec::len), Some(2), "{outcomes:#}");

    let batch = "export function transformBatch(events, metadata) {\n  return events.filter((event) => event.type === 'track').map((event) => ({ ...event, id: metadata(event).messageId }));\n}\n";
    let Some(outcomes) = self::outcomes("rudderstack", batch, EVENTS, "{}") else { return };
    assert_eq!((&outcomes[0]["replace"]["id"], &outcomes[2]["drop"]), (&"m-1".into(), &"filtered".into()));
}

#[test]
fn segment_handlers_run_unchanged() {
    let source = include_str!("cases/import/segment.js");
    let Some(outcomes) = outcomes("segment", source, EVENTS, r#"{"currency": "EUR"}"#) else { return };
    assert_eq!(outcomes[0]["replace"]["properties"]["currency"], "EUR");
    assert_eq!(outcomes[1]["drop"], "drop-event");
    assert_eq!(outcomes[2]["fail"]["code"], "validation-error");
}

#[test]
fn what_is_never_called_and_what_is_given_for_nothing_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let track = "async function onTrack(event) { return event; }\n";
    let more = "const onDelete = () => {};\nexport async function onBatch(events) { return events; }\n";
    std::fs::write(dir.path().join("theirs.js"), format!("{track}{more}")).unwrap();
    std::fs::write(dir.path().join("other.js"), "export function transformEvent(event) { return event; }\n").unwrap();
    let import =
        |arguments: &[&str]| json(&tidegate(dir.path(), &[&["function", "import", "--from"], arguments].concat()));
    let made = import(&["segment", "theirs.js", "--name", "theirs"]);
    if made["error"].is_string() {
        return skipped("import", &made.to_string());
    }
    assert_eq!(made["entries"], serde_json::json!(["onTrack"]));
    assert_eq!(made["uncalled"], serde_json::json!(["onDelete", "onBatch"]));
    for (libraries, said) in [
        (&["--library", "a=other.js", "--library", "a=theirs.js"][..], "--library a is given twice"),
        (&["--library", "a=other.js"], "no file imports \"a\""),
    ] {
        let refused = import(&[&["rudderstack", "other.js", "--name", "other"], libraries].concat());
        assert!(refused["error"].as_str().unwrap().contains(said), "{refused}");
    }
}

#[test]
fn what_cannot_run_is_named_with_its_line() {
    let source = "import lodash from 'lodash';\n\nexport async function transformEvent(event) {\n  const answer = await fetch('https://example.com');\n  // fetch(this) is a comment, \"process.env\" a text\n  event.fetch = answer.status;\n  setTimeout(() => {}, 5);\n  return { ...event, home: process.env.HOME };\n}\n";
    let Some(error) = refusal("rudderstack", source) else { return };
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), 4, "{error}");
    for (line, said) in lines.iter().zip([
        "theirs.js:1: import \"lodash\"",
        "theirs.js:4: fetch ",
        "theirs.js:7: setTimeout",
        "theirs.js:8: process",
    ]) {
        assert!(line.starts_with(said), "{line} is not about {said}");
    }
    assert!(lines[1].contains("tidegate destination new") && lines[1].contains("docs/lookups.md"), "{error}");
    assert!(lines[0].contains("--library lodash=FILE"), "{error}");
    let Some(error) =
        refusal("segment", "const _ = require('lodash');\nasync function onTrack(event) { return _.x(event); }\n")
    else {
        return;
    };
    assert!(error.starts_with("theirs.js:1: require"), "{error}");
    let Some(error) = refusal("hightouch", "function transformEvents(events) {\n  return events.;\n}\n") else {
        return;
    };
    assert!(error.starts_with("theirs.js:2: "), "{error}");
    let Some(error) = refusal("hightouch", "function other(events) { return events; }\n") else { return };
    assert!(error.contains("transformEvents"), "{error}");
}

#[test]
fn an_old_transformation_of_rudderstack_runs_with_its_libraries() {
    let source = "import { profit } from \"getProfit\";\nimport * as hash from '@rs/hash/v1';\n\nexport function transform(events, metadata) {\n  return events.filter((event) => event.type === 'track').map((event) => ({ ...event, profit: profit(event), hash: hash.of(metadata(event).messageId) }));\n}\n";
    let profit =
        "import { half } from '@rs/hash/v1';\nexport const profit = (event) => half(event.properties?.total ?? 0);\n";
    let hash = "export const half = (n) => n / 2;\nexport const of = (text) => `h-${text}`;\n";
    let libraries = [("getProfit", profit), ("@rs/hash/v1", hash)];
    let Some(outcomes) = outcomes_with("rudderstack", source, &libraries, EVENTS, "{}") else { return };
    assert_eq!((&outcomes[0]["replace"]["profit"], &outcomes[0]["replace"]["hash"]), (&20.into(), &"h-m-1".into()));
    assert_eq!((&outcomes[1]["replace"]["profit"], &outcomes[2]["drop"]), (&0.into(), &"filtered".into()));

    // What cannot run in a library is named with the library's own line.
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("theirs.js"), source).unwrap();
    std::fs::write(dir.path().join("profit.js"), "\nexport const profit = () => fetch('x');\n").unwrap();
    let import = ["function", "import", "--from", "rudderstack", "theirs.js", "--name", "theirs"];
    let library = ["--library", "getProfit=profit.js"];
    let error = json(&tidegate(dir.path(), &[&import[..], &library].concat()))["error"].as_str().unwrap().to_owned();
    assert!(error.contains("theirs.js:2: import \"@rs/hash/v1\""), "{error}");
    assert!(error.contains("profit.js:2: fetch "), "{error}");
    let error = json(&tidegate(dir.path(), &[&import[..], &["--library", "../x=profit.js"]].concat()));
    assert!(error["error"].as_str().unwrap().contains("cannot be the name of a library"), "{error}");
}

#[test]
fn metadata_that_no_event_says_is_a_required_setting_and_what_there_is_none_of_is_named() {
    let source = "export function transformEvent(event, metadata) {\n  const { sourceId, eventType } = metadata(event);\n  return { ...event, sourceId, eventType, to: named(event, metadata) };\n}\nfunction named(event, meta) {\n  return meta(event).destinationName;\n}\n";
    let settings = r#"{"source_id": "src-1", "destination_name": "crm"}"#;
    let Some(outcomes) = outcomes("rudderstack", source, EVENTS, settings) else { return };
    let first = &outcomes[0]["replace"];
    assert_eq!(
        (&first["sourceId"], &first["eventType"], &first["to"]),
        (&"src-1".into(), &"track".into(), &"crm".into())
    );

    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("theirs.js"), source).unwrap();
    let import = ["function", "import", "--from", "rudderstack", "theirs.js", "--name", "theirs"];
    let said = json(&tidegate(dir.path(), &import));
    assert_eq!(said["settings"], serde_json::json!(["source_id", "destination_name"]), "{said}");
    std::fs::write(dir.path().join("theirs/fixtures/settings.json"), r#"{"source_id": "src-1"}"#).unwrap();
    let refused = json(&tidegate(dir.path(), &["function", "test", "--update", "theirs"]));
    assert!(refused["error"].as_str().unwrap().contains("destination_name"), "{refused}");

    let wrong = "export function transformEvent(event, metadata) {\n  event.a = metadata(event).oauthAccessToken;\n  event.b = metadata(event);\n  event.c = metadata(event)[event.key];\n  return event;\n}\n";
    let Some(error) = refusal("rudderstack", wrong) else { return };
    let lines: Vec<&str> = error.lines().collect();
    assert!(
        lines[0].starts_with("theirs.js:2: metadata().oauthAccessToken") && lines[0].contains("sourceId"),
        "{error}"
    );
    assert!(
        lines[1].starts_with("theirs.js:3: metadata ") && lines[2].starts_with("theirs.js:4: metadata "),
        "{error}"
    );
}
