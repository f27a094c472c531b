//! Digits through plugins: what a function leaves alone comes out to the last digit, in every language and world.

use std::path::Path;

use crate::conformance::skipped;
use crate::support::Workspace;
use crate::support::plugins::{has, json, tidegate};

const LANGUAGES: [(&str, &[&str]); 6] = [
    ("js", &["node", "npm"]),
    ("ts", &["node", "npm"]),
    ("rust", &["cargo"]),
    ("python", &["python3"]),
    ("go", &["go"]),
    ("c", &["python3"]),
];

/// Functions over fields that read a whole object, change one member and write the object back.
const WHOLE_OBJECTS: [(&str, &str, &str); 4] = [
    ("js", "src/index.js", JAVASCRIPT),
    ("ts", "src/index.ts", JAVASCRIPT),
    (
        "python",
        "app.py",
        "from typing import Optional\n\nfrom tidegate import Context, Drop, Fields, Path\n\nPROPERTIES = Path(\"/properties\")\n\n\n\
         def transform(event: Fields, context: Context) -> Optional[Drop]:\n    found = event.get_json(PROPERTIES)\n    \
         found[\"email\"] = found[\"email\"].lower()\n    event.set(PROPERTIES, found)\n    return None\n",
    ),
    (
        "go",
        "main.go",
        "package main\n\nimport (\n\t\"strings\"\n\n\t\"tidegate\"\n)\n\nvar properties = tidegate.NewPath(\"/properties\")\n\n\
         func init() { tidegate.Edit(edit) }\n\nfunc main() {}\n\n\
         func edit(event tidegate.Fields, context *tidegate.Context) {\n\tfound := map[string]any{}\n\t\
         text, _ := event.GetJson(properties)\n\tif err := tidegate.Decode([]byte(text), &found); err != nil {\n\t\tpanic(err)\n\t}\n\t\
         found[\"email\"] = strings.ToLower(found[\"email\"].(string))\n\tmade, err := tidegate.Encode(found)\n\tif err != nil {\n\t\tpanic(err)\n\t}\n\t\
         event.SetJson(properties, string(made))\n}\n",
    ),
];

const JAVASCRIPT: &str = "import { path } from \"tidegate\";\n\nconst properties = path(\"/properties\");\n\n\
    export function transform(event) {\n  const found: any = event.getJson(properties);\n  \
    found.email = found.email.toLowerCase();\n  event.set(properties, found);\n}\n";

/// Every number that some language changes, and some that none does, as they are spelled.
fn numbers() -> Vec<String> {
    let text = include_str!("cases/digits/numbers.json");
    let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
    inner.split(',').map(|number| number.trim().to_owned()).collect()
}

/// Texts, keys and structures that a language may change on its way through, as they are spelled: a line for each.
fn structures() -> Vec<String> {
    let lines = include_str!("cases/digits/structures.json").lines().filter(|line| !["[", "]"].contains(line));
    lines.map(|line| line.trim().trim_end_matches(',').to_owned()).collect()
}

/// The events of the test with this email: each structure alone and in a list; each number alone, in a list, in an object, beside numbers that are lossy in
/// every language that loses any; and all of them together.
fn events(email: &str) -> Vec<String> {
    let event = |id: &str, more: &str| {
        format!(
            r#"{{"type":"track","event":"Counted","messageId":"{id}","userId":"u","properties":{{"email":"{email}","lossy":[9007199254740993,1e400],{more}}}}}"#
        )
    };
    let numbers = numbers();
    let alone = numbers.iter().enumerate().map(|(n, number)| {
        let more = format!(r#""a":{number},"list":["x",{number}],"deep":{{"items":[{{"sku":"s-1","n":{number}}}]}}"#);
        event(&format!("m-{n}"), &more)
    });
    let structures = structures().into_iter().enumerate();
    let structures =
        structures.map(|(n, value)| event(&format!("v-{n}"), &format!(r#""own":{value},"list":["x",{value}]"#)));
    structures.chain(alone).chain([event("all", &format!(r#""together":[{}]"#, numbers.join(",")))]).collect()
}

/// A project whose fixtures are the numbers, and its component; `None` when a registry is away.
fn built(dir: &Path, language: &str, kind: &str) -> Option<(String, String)> {
    let name = format!("{language}-{kind}");
    let made = tidegate(dir, &["function", "new", &name, "--lang", language, "--kind", kind]);
    assert!(made.status.success(), "{name}: {made:?}");
    let project = dir.join(&name);
    if let Some((_, file, source)) = WHOLE_OBJECTS.iter().find(|(own, ..)| kind == "fields" && *own == language) {
        let source = if language == "js" { source.replace(": any", "") } else { (*source).to_owned() };
        std::fs::write(project.join(file), source).unwrap();
    }
    let expected = events("ada@example.com").iter().map(|event| format!("{{\"replace\":{event}}}")).collect::<Vec<_>>();
    std::fs::write(project.join("fixtures/one.in.json"), format!("[{}]", events("Ada@Example.com").join(","))).unwrap();
    std::fs::write(project.join("fixtures/one.out.json"), format!("[{}]", expected.join(","))).unwrap();
    let built = json(&tidegate(dir, &["function", "build", &name]));
    match built["component"].as_str() {
        Some(component) => Some((name, component.to_owned())),
        None => {
            let error = built["error"].as_str().unwrap_or_default();
            let away = ["could not be installed", "failed to download", "Could not resolve host"];
            assert!(away.iter().any(|sign| error.contains(sign)), "{name}: {error}");
            skipped(&format!("digits in {language}"), error);
            None
        }
    }
}

#[test]
fn what_a_function_does_not_touch_keeps_every_digit_in_every_language_and_world() {
    let dir = tempfile::tempdir().unwrap();
    let workspace = Workspace::new();
    let mut sources = Vec::new();
    for (language, tools) in LANGUAGES {
        if let Some(missing) = tools.iter().find(|tool| !has(tool)) {
            skipped(&format!("digits in {language}"), &format!("{missing} is not installed"));
            continue;
        }
        for kind in ["transform", "fields"] {
            let Some((name, component)) = built(dir.path(), language, kind) else { continue };
            let tested = json(&tidegate(dir.path(), &["function", "test", &name, "--component", &component]));
            let case = &tested["cases"][0];
            assert_eq!(case["result"], "passed", "{name}: {:.4000}", format!("{case:#}"));
            // The same through a server, for one language of each kind.
            if matches!((language, kind), ("js", _) | ("python" | "go", "transform")) {
                let key = format!("the-key-of-the-source-{name}");
                workspace.write(
                    &format!("functions/{name}.yaml"),
                    &format!("component: {component}\nsettings: {{staff_domain: acme.com}}\n"),
                );
                workspace.write(
                    &format!("sources/{name}.yaml"),
                    &format!("kind: http\nwrite_key: {key}\nfunctions: [{name}]\n"),
                );
                let schema = name.replace('-', "_");
                workspace.write(
                    &format!("syncs/{name}.yaml"),
                    &format!("source: {name}\ndestination: warehouse\nschema: {schema}\n"),
                );
                sources.push((name, key, schema));
            }
        }
    }
    let server = workspace.serve();
    for (name, key, _) in &sources {
        for events in events("Ada@Example.com").chunks(50) {
            let body = format!("{{\"batch\":[{}]}}", events.join(","));
            let authorization = crate::support::basic(key);
            let headers = [("authorization", authorization.as_str())];
            let reply = crate::support::request(&server.address, "POST", "/v1/batch", &headers, body.as_bytes());
            assert_eq!(reply.status, 200, "{name}");
        }
    }
    server.stop();
    assert_eq!(workspace.quarantined(), Vec::<String>::new());
    let together = format!("[{}]", numbers().join(","));
    for (name, _, schema) in &sources {
        let warehouse = workspace.warehouse();
        let rows = |sql: &str| warehouse.rows(&sql.replace("FROM t", &format!("FROM {schema}__counted")));
        assert_eq!(rows("SELECT DISTINCT email FROM t"), ["ada@example.com"], "{name}");
        assert_eq!(rows("SELECT together FROM t WHERE id = 'all'"), [together.as_str()], "{name}");
        for (n, number) in numbers().iter().enumerate() {
            let list = rows(&format!("SELECT list FROM t WHERE id = 'm-{n}'"));
            assert_eq!(list, [format!("[\"x\",{number}]")], "{name}");
        }
        for (n, value) in structures().iter().enumerate() {
            let list = rows(&format!("SELECT list FROM t WHERE id = 'v-{n}'"));
            let parsed = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            assert_eq!(parsed(&list[0]), parsed(&format!("[\"x\",{value}]")), "{name}");
        }
    }
}
