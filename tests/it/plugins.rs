//! The destination plugins that are shipped: built as their README says, and tried against the API that they speak.

mod sent;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};

use crate::conformance::skipped;
use crate::delivery::{Route, event, send};
use crate::support::far::{Act, Far};
use crate::support::{Workspace, guests, run, tidegate};

/// Name, language, and what has to be installed to build it.
const PLUGINS: [(&str, &str, &[&str]); 15] = [
    ("amplitude", "js", &["node", "npm"]),
    ("braze", "ts", &["node", "npm"]),
    ("customerio", "js", &["node", "npm"]),
    ("elasticsearch", "rust", &["cargo"]),
    ("event-forwarder", "rust", &["cargo"]),
    ("ga4", "go", &["go"]),
    ("hubspot", "python", &["python3"]),
    ("iterable", "ts", &["node", "npm"]),
    ("klaviyo", "python", &["python3"]),
    ("meta-capi", "go", &["go"]),
    ("mixpanel", "js", &["node", "npm"]),
    ("posthog", "ts", &["node", "npm"]),
    ("segment", "rust", &["cargo"]),
    ("slack", "js", &["node", "npm"]),
    ("webhook", "rust", &["cargo"]),
];

fn folder(plugin: &str) -> PathBuf {
    guests::folder("destination").join(plugin)
}

/// Whether `tool` is there and answers; a name on the path can be a stand-in for nothing.
fn is_installed(tool: &str) -> bool {
    let version = if tool == "go" { "version" } else { "--version" };
    Command::new(tool).arg(version).output().is_ok_and(|output| output.status.success())
}

fn json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The fixtures of a plugin that end in `ending`, by their case.
fn fixtures(plugin: &str, ending: &str) -> BTreeMap<String, Value> {
    let files = std::fs::read_dir(folder(plugin).join("fixtures")).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    let case = |path: PathBuf| {
        let name = path.file_name()?.to_str()?.strip_suffix(ending)?.to_owned();
        Some((name, json(&path)))
    };
    paths.filter_map(case).collect()
}

#[test]
fn no_plugin_is_forgotten() {
    let folders = std::fs::read_dir(guests::folder("destination")).unwrap();
    let folders = folders.map(|folder| folder.unwrap().path()).filter(|path| path.join("plugin.yaml").is_file());
    let found: BTreeSet<String> =
        folders.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
    let listed: BTreeSet<String> = PLUGINS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(found, listed);
    let readme = std::fs::read_to_string(guests::folder("README.md")).unwrap();
    for (name, language, _) in PLUGINS {
        assert!(readme.contains(&format!("| `destination/{name}` | {language} |")), "functions/README.md lacks {name}");
        let manifest = std::fs::read_to_string(folder(name).join("plugin.yaml")).unwrap();
        assert!(manifest.contains(&format!("\nlanguage: {language}\n")), "{name} is not in {language}");
    }
}

/// Each plugin is tried with what it sends, leaves out and refuses, and with every kind of answer.
#[test]
fn the_fixtures_cover_what_can_happen() {
    for (name, ..) in PLUGINS {
        let plans = fixtures(name, ".request.json");
        for case in ["track", "identify", "page"] {
            assert!(plans.contains_key(case), "{name} has no fixture {case}");
        }
        for part in ["requests", "skipped", "failed"] {
            let some = plans.values().any(|plan| plan[part].as_array().is_some_and(|part| !part.is_empty()));
            // What takes every event as it is has nothing to skip.
            assert!(some || (name, part) == ("elasticsearch", "skipped"), "{name}: no fixture has {part}");
        }
        // Every event of every batch ends in one place.
        for (case, plan) in &plans {
            let events = json(&folder(name).join(format!("fixtures/{case}.in.json"))).as_array().unwrap().len();
            let carried = plan["requests"].as_array().unwrap().iter().flat_map(|request| request["events"].as_array());
            let mut seen: Vec<u64> = carried.flatten().map(|event| event.as_u64().unwrap()).collect();
            for part in ["skipped", "failed"] {
                seen.extend(plan[part].as_array().unwrap().iter().map(|item| item["event"].as_u64().unwrap()));
            }
            seen.sort_unstable();
            assert_eq!(seen, (0..events as u64).collect::<Vec<_>>(), "{name}, {case}");
        }
        let answers = fixtures(name, ".responses.json");
        let answers: Vec<&Value> = answers.values().flat_map(|list| list.as_array().unwrap()).collect();
        for status in [400, 401, 429, 500] {
            let some = answers.iter().any(|answer| answer["response"]["status"] == status);
            assert!(some, "{name}: no fixture answers {status}");
        }
        assert!(answers.iter().any(|answer| answer["verdict"] == "delivered"), "{name}: nothing is delivered");
    }
}

/// The fixture `digits` has numbers that JavaScript, or Python, cannot see to the last digit.
#[test]
fn what_a_plugin_leaves_alone_is_sent_to_the_last_digit() {
    for (name, language, _) in PLUGINS.into_iter().filter(|(_, language, _)| !matches!(*language, "rust" | "go")) {
        let path = folder(name).join("fixtures/digits.request.json");
        let sent = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name} in {language}: {error}"));
        let wanted: &[&str] = match name {
            // A message with an id in it, properties that are texts, and only what the settings name.
            "slack" => &["9007199254740993"],
            "hubspot" => &["9007199254740993", "9007199254740997"],
            // An order is a purchase of each product.
            "braze" => &["9007199254740997", "9007199254740999", "0.1000000000000000055"],
            _ => &[
                "9007199254740993",
                "9007199254740992",
                "9007199254740997",
                "9007199254740999",
                "12345678901234563",
                "12345678901234567890",
                "0.1000000000000000055",
                "1e+400",
            ],
        };
        for digits in wanted {
            assert!(sent.contains(digits), "{name} in {language}: {digits} is not in {}", path.display());
        }
        for digits in [
            "9007199254740994",
            "9007199254740996",
            "9007199254740998",
            "9007199254741000",
            "1234567890123456716",
            "Infinity",
        ] {
            assert!(!sent.contains(digits), "{name} in {language}: {digits} is in {}", path.display());
        }
    }
}

#[test]
fn every_plugin_passes_its_fixtures() {
    let (mut table, mut broken) = (String::new(), String::new());
    for (name, language, tools) in PLUGINS {
        if let Some(missing) = tools.iter().find(|tool| !is_installed(tool)) {
            skipped(&format!("the plugin {name}"), &format!("{missing} is not installed"));
            continue;
        }
        let began = Instant::now();
        let mut test = tidegate();
        test.args(["destination", "test"]).arg(folder(name)).env("CARGO_TARGET_DIR", guests::guests_target_dir());
        let output = test.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() || !said.contains("passed track") {
            broken.push_str(&format!("{name}:\n{said}{}\n", String::from_utf8_lossy(&output.stderr)));
        }
        let passed = said.lines().filter(|line| line.starts_with("passed")).count();
        // Cargo has a place of its own for what it builds.
        let file = format!("{name}.component.wasm");
        let places =
            [folder(name).join("build").join(&file), guests::guests_target_dir().join("components").join(&file)];
        let bytes = places.iter().find_map(|path| std::fs::metadata(path).ok()).map_or(0, |file| file.len());
        let (seconds, kib) = (began.elapsed().as_secs(), bytes / 1024);
        table.push_str(&format!("{name:<16} {language:<8} {passed:>6} {kib:>9} {seconds:>8}\n"));
    }
    println!("plugin           language passed component_KiB seconds\n{table}");
    assert!(broken.is_empty(), "{broken}");
}

/// The far side refuses a whole request and names nobody. What the SDKs make of it (`bisect`) has the events sent again in
/// halves.
#[test]
fn one_refused_record_costs_no_other_event() {
    let far = Far::new(|received| {
        if received.text().contains("\"bad\":true") {
            Act::Reply(400, Vec::new(), br#"{"error": "one of them is wrong"}"#.to_vec())
        } else {
            Act::status(200)
        }
    });
    let manifest = json!({
        "name": "webhook", "kind": "destination", "settings": {"type": "object"}, "hosts": ["{{settings.endpoint}}"],
        "batch": {"events_max": 100, "age_max": "500 ms"},
        "retry": {"age_max": "10 min", "pause_min": "5 min", "pause_max": "5 min"},
    });
    let workspace = Workspace::new();
    let component = guests::destination("destination/webhook", &manifest);
    std::fs::write(workspace.path().join("webhook.wasm"), component).unwrap();
    let origin = far.origin();
    workspace.write(
        "destinations/crm.yaml",
        &format!(
            "kind: plugin\ncomponent: webhook.wasm\nsettings: {{endpoint: \"{origin}\", array_max: 100}}\n\
             allow_hosts: [\"{origin}\"]\nallow_private_hosts: [127.0.0.1]\n"
        ),
    );
    workspace.write("syncs/web-to-crm.yaml", "source: web\ndestination: crm\n");
    let route = Route { workspace };
    let server = route.workspace.serve();
    let events: Vec<Value> =
        (0..40).map(|n| event(&format!("m{n}"), &format!("u{n}"), json!({"bad": n == 13}))).collect();
    send(&server, &events);
    let sync = route.wait_for_end(40);
    server.kill();
    assert_eq!((sync["delivered"].as_u64(), sync["quarantined"].as_u64()), (Some(39), Some(1)), "{sync}");
    assert_eq!(route.quarantine().into_keys().collect::<Vec<_>>(), ["m13"]);
    assert!(far.seen().iter().any(|received| received.text().matches("messageId").count() > 1), "they came together");
}

#[test]
fn a_shipped_destination_is_added_to_a_workspace_with_what_it_needs_to_be_told() {
    let workspace = Workspace::new();
    let folder = workspace.path().to_str().unwrap().to_owned();
    let shipped = guests::component("destination/webhook");
    let add = ["destination", "add", "webhook", &folder];
    // Where nothing is built, it says where it looked and what to do.
    if !Path::new(env!("CARGO_BIN_EXE_tidegate")).with_file_name("plugins").exists() {
        let output = run(&add);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains("make plugins") && said.contains("--from"), "{said}");
    }
    let from = [&add[..], &["--from", shipped.to_str().unwrap()]].concat();
    let output = run(&from);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let file = workspace.path().join("destinations/webhook.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    for line in [
        "component: components/webhook.component.wasm",
        "  endpoint:                             # needed: scheme, host and port",
        "  signing_secret: ${WEBHOOK_SIGNING_SECRET}",
        "  # method:",
        "allow_hosts: []",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    let output = run(&from);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("is there already"), "{said}");
    // Filled in, and with its secret in the environment, it is a destination.
    let filled = text
        .replace("  endpoint:  ", "  endpoint: https://hooks.example.com ")
        .replace("allow_hosts: []", "allow_hosts: [https://hooks.example.com]");
    std::fs::write(&file, filled).unwrap();
    workspace.write("syncs/web-to-webhook.yaml", "source: web\ndestination: webhook\n");
    let output = run(&["check", &folder]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("the environment variable WEBHOOK_SIGNING_SECRET, which is not set"), "{said}");
    let output =
        tidegate().args(["check", &folder]).env("WEBHOOK_SIGNING_SECRET", "0123456789abcdef").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_shipped_destination_is_found_beside_the_program() {
    let program = Path::new(env!("CARGO_BIN_EXE_tidegate"));
    let package = tempfile::tempdir_in(program.parent().unwrap()).unwrap();
    let shipped = guests::component("destination/webhook");
    for (of_program, of_plugins) in [("one", "one/plugins"), ("two/bin", "two/share/tidegate/plugins")] {
        let [of_program, of_plugins] = [of_program, of_plugins].map(|folder| package.path().join(folder));
        std::fs::create_dir_all(&of_program).unwrap();
        std::fs::create_dir_all(&of_plugins).unwrap();
        std::fs::hard_link(program, of_program.join("tidegate")).unwrap();
        std::fs::copy(&shipped, of_plugins.join("webhook.component.wasm")).unwrap();
        let workspace = Workspace::new();
        let mut add = Command::new(of_program.join("tidegate"));
        let output = add.args(["destination", "add", "webhook"]).arg(workspace.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let copied = std::fs::read(workspace.path().join("components/webhook.component.wasm")).unwrap();
        assert!(copied == std::fs::read(&shipped).unwrap());
    }
}
