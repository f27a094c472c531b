//! What an author does, in every language: a new project, its build, its fixtures; with times and sizes in a table.
//!
//! A machine without a tool skips the language, by name and reason; the table stands in `<target dir>/author.log`.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::conformance::skipped;
use crate::support::plugins::{has, json, tidegate};
use crate::support::waiting::until;
use crate::support::{Server, Workspace, basic, guests, request};

const LANGUAGES: [(&str, &[&str]); 6] = [
    ("js", &["node", "npm"]),
    ("ts", &["node", "npm"]),
    ("rust", &["cargo"]),
    ("python", &["python3"]),
    ("go", &["go"]),
    ("c", &["python3"]),
];

/// Whether the failure is that a registry could not be reached, which says nothing about us.
fn registry_is_away(error: &str) -> bool {
    error.contains("could not be installed")
        || error.contains("failed to download")
        || error.contains("Could not resolve host")
}

#[test]
fn every_language_makes_every_kind_of_plugin() {
    let dir = tempfile::tempdir().unwrap();
    let mut table = format!(
        "{:<9} {:<12} {:>8} {:>14} {:>12} {:>7} {:>12}\n",
        "language", "kind", "build_s", "component_KiB", "us_per_event", "push_s", "first_row_ms"
    );
    let workspace = Workspace::new();
    for (language, _) in LANGUAGES {
        let source = format!("kind: http\nwrite_key: {}\n", key(language));
        workspace.write(&format!("sources/{language}.yaml"), &source);
        let sync = format!("source: {language}\ndestination: warehouse\nschema: {language}\n");
        workspace.write(&format!("syncs/{language}.yaml"), &sync);
    }
    let token = workspace.admin_token();
    let server = workspace.serve();
    let mut skipped = String::new();
    for (language, tools) in LANGUAGES {
        if let Some(missing) = tools.iter().find(|tool| !has(tool)) {
            writeln!(skipped, "skipped plugins in {language}: {missing} is not installed").unwrap();
            continue;
        }
        for kind in ["transform", "fields", "destination"] {
            let name = format!("{language}-{kind}");
            let made = match kind {
                "destination" => tidegate(dir.path(), &["destination", "new", &name, "--lang", language]),
                _ => tidegate(dir.path(), &["function", "new", &name, "--lang", language, "--kind", kind]),
            };
            assert!(made.status.success(), "{name}: {made:?}");
            let began = Instant::now();
            let built = tidegate(dir.path(), &["function", "build", &name]);
            let seconds = began.elapsed().as_secs_f64();
            let error = json(&built)["error"].as_str().unwrap_or_default().to_owned();
            if registry_is_away(&error) {
                writeln!(skipped, "skipped plugins in {language}: {}", error.lines().next().unwrap_or_default())
                    .unwrap();
                break;
            }
            assert!(built.status.success(), "{name}: {error}");
            let built = json(&built);
            let component = built["component"].as_str().unwrap();
            let checked = json(&tidegate(dir.path(), &["function", "check", component]));
            assert!(imports_only_ours(&checked), "{name}: {checked}");
            let tested = tidegate(dir.path(), &["function", "test", &name, "--component", component]);
            let report = json(&tested);
            assert!(tested.status.success(), "{name}: {report:#}");
            let (kib, us) =
                (built["bytes"].as_u64().unwrap() / 1024, report["microseconds_per_event"].as_f64().unwrap());
            write!(table, "{language:<9} {kind:<12} {seconds:>8.1} {kib:>14} {us:>12.1}").unwrap();
            if kind == "transform" {
                let (push_s, row_ms) = live(
                    &workspace,
                    &server,
                    &token,
                    &BuiltProject { language, component, folder: &dir.path().join(&name) },
                );
                write!(table, " {push_s:>7.1} {row_ms:>12.0}").unwrap();
            }
            table.push('\n');
        }
    }
    println!("{table}{skipped}");
    std::fs::write(guests::guests_target_dir().with_file_name("author.log"), format!("{table}{skipped}")).unwrap();
}

fn key(language: &str) -> String {
    format!("the-key-of-the-source-{language}")
}

/// A project and the component that was built of it.
struct BuiltProject<'a> {
    language: &'a str,
    component: &'a str,
    folder: &'a Path,
}

/// Pushes the function onto the source of its language, and sends an event that it changes. Answers the seconds of the
/// push and the milliseconds from the request to the row.
fn live(workspace: &Workspace, server: &Server, token: &str, built: &BuiltProject<'_>) -> (f64, f64) {
    let BuiltProject { language, component, folder } = *built;
    let url = format!("http://{}", server.admin);
    let settings = folder.join("fixtures/settings.json");
    let began = Instant::now();
    let pushed = tidegate(
        folder,
        &[
            "function",
            "push",
            component,
            "--to",
            language,
            "--settings",
            settings.to_str().unwrap(),
            "--server",
            &url,
            "--token",
            token,
            "--watch",
            "0",
        ],
    );
    let push_s = began.elapsed().as_secs_f64();
    assert!(pushed.status.success(), "{language}: {}", json(&pushed));
    let event = serde_json::json!({"type": "track", "event": "Order Completed", "messageId": language, "userId": "u",
        "properties": {"email": "Ada@Example.COM"}});
    let began = Instant::now();
    let body = serde_json::json!({ "batch": [event] }).to_string();
    let sent =
        request(&server.address, "POST", "/v1/batch", &[("authorization", &basic(&key(language)))], body.as_bytes());
    assert_eq!(sent.status, 200);
    let table = format!("{language}__order_completed");
    until("the event is in its table", || {
        assert!(workspace.quarantined().is_empty(), "{language}: {:?}", workspace.quarantined());
        workspace.warehouse().has(&table) && workspace.warehouse().count(&table) == 1
    });
    let row_ms = began.elapsed().as_secs_f64() * 1e3;
    assert_eq!(workspace.warehouse().rows(&format!("SELECT email FROM {table}")), ["ada@example.com"], "{language}");
    (push_s, row_ms)
}

#[test]
fn the_same_source_gives_the_same_bytes_wherever_it_lies() {
    let dir = tempfile::tempdir().unwrap();
    for (language, tools) in LANGUAGES {
        if let Some(missing) = tools.iter().find(|tool| !has(tool)) {
            skipped(&format!("plugins in {language}"), &format!("{missing} is not installed"));
            continue;
        }
        let name = format!("same-{language}");
        assert!(tidegate(dir.path(), &["function", "new", &name, "--lang", language]).status.success());
        let elsewhere = dir.path().join("else/where");
        std::fs::create_dir_all(&elsewhere).unwrap();
        let copied = Command::new("cp").arg("-r").arg(dir.path().join(&name)).arg(&elsewhere).status().unwrap();
        assert!(copied.success());
        let shas: Vec<String> = [dir.path(), &elsewhere, dir.path()]
            .into_iter()
            .take(if language == "python" { 2 } else { 3 })
            .filter_map(|place| {
                let built = tidegate(place, &["function", "build", &name]);
                let said = json(&built);
                if said["error"].as_str().is_some_and(registry_is_away) {
                    skipped(&format!("plugins in {language}"), &said["error"].to_string());
                    return None;
                }
                assert!(built.status.success(), "{language}: {said}");
                Some(said["sha256"].as_str().unwrap().to_owned())
            })
            .collect();
        assert!(shas.iter().all(|sha| *sha == shas[0]), "{language}: {shas:?}");
    }
}

/// A component of ours has no system below it.
fn imports_only_ours(checked: &Value) -> bool {
    let imports = checked["imports"].as_array().unwrap();
    imports.iter().all(|import| import.as_str().is_some_and(|name| name.starts_with("tidegate:plugin/")))
}

#[test]
fn what_is_wrong_with_a_project_is_one_readable_cause_with_its_line() {
    if !has("node") || !has("npm") {
        return skipped("projects in js", "node or npm is not installed");
    }
    let dir = tempfile::tempdir().unwrap();
    assert!(tidegate(dir.path(), &["function", "new", "broken", "--lang", "js"]).status.success());
    let project = dir.path().join("broken");
    let error =
        |arguments: &[&str]| json(&tidegate(dir.path(), arguments))["error"].as_str().unwrap_or_default().to_owned();

    std::fs::write(project.join("src/index.js"), "export function transform(event) {\n  return event..x;\n}\n")
        .unwrap();
    let syntax = error(&["function", "build", "broken"]);
    if registry_is_away(&syntax) {
        return skipped("projects in js", &syntax);
    }
    assert!(syntax.contains("src/index.js:2:") && syntax.contains("Expected identifier"), "{syntax}");

    std::fs::write(project.join("src/index.js"), "import fs from 'fs';\nexport const transform = (e) => fs.x(e);\n")
        .unwrap();
    let missing = error(&["function", "build", "broken"]);
    assert!(missing.contains("\"fs\"") && missing.contains("no file system"), "{missing}");

    let manifest = std::fs::read_to_string(project.join("plugin.yaml")).unwrap();
    std::fs::write(project.join("plugin.yaml"), format!("{manifest}colour: red\n")).unwrap();
    let wrong = error(&["function", "build", "broken"]);
    let line = manifest.lines().count() + 1;
    assert!(wrong.contains(&format!("plugin.yaml:{line}: `colour`")), "{wrong}");
}

#[test]
fn an_exception_is_an_outcome_with_the_line_of_the_author() {
    if !has("node") || !has("npm") {
        return skipped("projects in js", "node or npm is not installed");
    }
    let dir = tempfile::tempdir().unwrap();
    assert!(tidegate(dir.path(), &["function", "new", "throws", "--lang", "js"]).status.success());
    let project = dir.path().join("throws");
    let source = "import { keep } from 'tidegate';\n\nexport function transform(event) {\n  if (event.type !== 'page') return keep;\n  return deep(event);\n}\nfunction deep(event) {\n  return event.nothing.here;\n}\n";
    std::fs::write(project.join("src/index.js"), source).unwrap();
    let report = json(&tidegate(dir.path(), &["function", "test", "throws"]));
    if report["error"].as_str().is_some_and(registry_is_away) {
        return skipped("projects in js", &report["error"].to_string());
    }
    let case = &report["cases"][0];
    let notes = case["notes"].to_string();
    assert!(
        notes.contains("event 2 (")
            && notes.contains("failed: js-exception: TypeError")
            && notes.contains("src/index.js:8"),
        "{report:#}"
    );
    let log = case["log"].to_string();
    assert!(log.contains("at deep src/index.js:8") && log.contains("src/index.js:5"), "{log}");
    assert!(case["difference"].as_str().unwrap().contains("js-exception"), "{report:#}");
}

#[test]
fn an_answer_that_a_plugin_breaks_on_is_rejected_with_its_line() {
    let languages: [(&str, &str, &str, &[&str]); 3] = [
        (
            "js",
            "src/index.js",
            "export function classify({ response }) {\n  return response.json().a.b;\n}\n",
            &["node", "npm"],
        ),
        ("python", "app.py", "def classify(tag, events, response):\n    return response.json()[\"a\"]\n", &["python3"]),
        ("go", "main.go", "\tpanic(string(response.Body))\n}\n", &["go"]),
    ];
    for (language, entry, breaking, tools) in languages {
        if let Some(missing) = tools.iter().find(|tool| !has(tool)) {
            skipped(&format!("plugins in {language}"), &format!("{missing} is not installed"));
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        assert!(tidegate(dir.path(), &["destination", "new", "breaks", "--lang", language]).status.success());
        let project = dir.path().join("breaks");
        let source = std::fs::read_to_string(project.join(entry)).unwrap();
        let kept = ["export const classify", "classify = classify", "\treturn tidegate.ClassifyByStatus"];
        let end = kept.iter().find_map(|line| source.find(&format!("\n{line}"))).unwrap() + 1;
        std::fs::write(project.join(entry), format!("{}{breaking}", &source[..end])).unwrap();
        for file in std::fs::read_dir(project.join("fixtures")).unwrap().flatten() {
            if file.file_name().to_string_lossy().ends_with(".responses.json") {
                let recorded = serde_json::json!([{"request": 0, "response": {"status": 200, "headers": {}, "body": "{}"},
                    "verdict": "delivered"}]);
                std::fs::write(file.path(), recorded.to_string()).unwrap();
            }
        }
        let report = json(&tidegate(dir.path(), &["destination", "test", "breaks"]));
        if report["error"].as_str().is_some_and(registry_is_away) {
            skipped(&format!("plugins in {language}"), &report["error"].to_string());
            continue;
        }
        let cases = report["cases"].as_array().unwrap_or_else(|| panic!("{report:#}"));
        let answers = cases.iter().find(|case| case["name"].as_str().unwrap().ends_with("(responses)")).unwrap();
        let difference = answers["difference"].as_str().unwrap();
        assert!(
            difference.contains("\"rejected\": \"")
                && ["js-exception", "python-exception", "go-panic"].iter().any(|code| difference.contains(code)),
            "{report:#}"
        );
        let line = source[..end].lines().count() + if language == "go" { 1 } else { 2 };
        assert!(answers["log"].to_string().contains(&format!("{entry}:{line}")), "{report:#}");
    }
}

#[test]
fn the_manifest_reference_names_every_field() {
    let problems = tidegate_plugin::Manifest::from_json(&serde_json::json!({"colour": "red"})).unwrap_err();
    let known =
        problems.iter().find_map(|problem| problem.fix.split_once("known here: ")).map(|(_, names)| names).unwrap();
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/plugins.md")).unwrap();
    for field in known.split(", ") {
        assert!(page.contains(&format!("\n| `{field}` | ")), "docs/plugins.md says nothing of `{field}`");
    }
}
