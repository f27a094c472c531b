//! `tidegate plan`: what is different between two folders, and what it takes.

use std::process::Output;

use serde_json::{Value, json};

use crate::support::{Workspace, run};

/// The plan from one folder to another.
fn plan(from: &Workspace, to: &Workspace, more: &[&str]) -> Output {
    let (from, to) = (from.path(), to.path());
    run(&[&["plan", to.to_str().unwrap(), "--from", from.to_str().unwrap()], more].concat())
}

/// Its exit code and what it says to programs.
fn answered(from: &Workspace, to: &Workspace) -> (Option<i32>, Value) {
    let output = plan(from, to, &["--json"]);
    let answer = serde_json::from_slice(&output.stdout);
    (output.status.code(), answer.unwrap_or_else(|_| panic!("{}", text(&output))))
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Two folders that say the same.
fn twins() -> (Workspace, Workspace) {
    let (from, to) = (Workspace::new(), Workspace::new());
    to.write("sources/web.yaml", &std::fs::read_to_string(from.path().join("sources/web.yaml")).unwrap());
    (from, to)
}

#[test]
fn folders_that_say_the_same_have_no_plan() {
    let (from, to) = twins();
    to.write("syncs/web-to-warehouse.yaml", "# The other way round.\ndestination: warehouse\nsource: \"web\"\n");
    let output = plan(&from, &to, &[]);
    assert_eq!((output.status.code(), text(&output).trim()), (Some(0), "nothing is different"));
    let (code, answer) = answered(&from, &to);
    assert_eq!((code, &answer["objects"], &answer["settings"]), (Some(0), &json!([]), &json!([])));
}

#[test]
fn a_plan_names_each_object_and_field_and_what_it_takes() {
    let (from, to) = twins();
    from.write("syncs/old.yaml", "source: web\ndestination: warehouse\nschema: old\n");
    to.write("syncs/web-to-warehouse.yaml", "source: web\ndestination: warehouse\nfilter: {types: [track]}\n");
    to.write("sources/app.yaml", "kind: http\nwrite_key: ${PATH}\n");
    to.write("tidegate.yaml", "dedup: {window: 1 h}\n");
    let (code, answer) = answered(&from, &to);
    assert_eq!(code, Some(2), "{answer:#}");
    assert_eq!(
        answer["objects"],
        json!([
            {"kind": "source", "key": "app", "change": "added", "inputs": [], "fields": [
                {"field": "kind", "before": null, "after": "http"},
                {"field": "write_key", "before": null, "after": "${PATH}"}]},
            {"kind": "sync", "key": "old", "change": "removed", "inputs": [], "fields": [
                {"field": "destination", "before": "warehouse", "after": null},
                {"field": "schema", "before": "old", "after": null},
                {"field": "source", "before": "web", "after": null}]},
            {"kind": "sync", "key": "web-to-warehouse", "change": "changed", "inputs": [], "fields": [
                {"field": "filter.types", "before": null, "after": ["track"]}]},
        ]),
        "{answer:#}"
    );
    let follows = &answer["follows"];
    assert_eq!(follows["syncs"], json!({"old": "end", "web-to-warehouse": "regather"}), "{answer:#}");
    assert_eq!((&follows["door"], &follows["rules"]), (&json!(true), &json!(true)));
    assert!(follows["needs_restart"].as_array().unwrap().contains(&json!("dedup")), "{answer:#}");
    let shown = text(&plan(&from, &to, &[]));
    for words in [
        "+ source app",
        "- sync old",
        "~ sync web-to-warehouse",
        "filter.types: [\"track\"]",
        "dedup: counts from the next start",
        "sync old: ends",
        "1 to add, 1 to change, 1 to remove; nothing was changed",
    ] {
        assert!(shown.contains(words), "{words} in {shown}");
    }
    // The other way round it is undone.
    let (_, back) = answered(&to, &from);
    assert_eq!(back["follows"]["syncs"], json!({"old": "start", "web-to-warehouse": "regather"}), "{back:#}");
}

#[test]
fn a_secret_that_is_written_down_is_not_shown() {
    let (from, to) = (Workspace::new(), Workspace::new());
    let output = plan(&from, &to, &[]);
    let shown = text(&output);
    assert_eq!(output.status.code(), Some(2), "{shown}");
    assert!(shown.contains("write_key: \"(secret "), "{shown}");
    assert!(!shown.contains(&from.write_key) && !shown.contains(&to.write_key), "{shown}");
    let (_, answer) = answered(&from, &to);
    let field = &answer["objects"][0]["fields"][0];
    assert_ne!(field["before"], field["after"], "{answer:#}");
    assert!(!answer.to_string().contains(&to.write_key), "{answer:#}");
}

#[test]
fn a_file_that_an_object_refers_to_counts_with_it() {
    let (from, to) = twins();
    for (workspace, entries) in [(&from, "{}"), (&to, "{\"a\": 1}")] {
        workspace.write("lookups/names.yaml", "kind: table\npath: names.json\n");
        workspace.write("names.json", entries);
    }
    let (code, answer) = answered(&from, &to);
    assert_eq!(code, Some(2), "{answer:#}");
    assert_eq!(answer["objects"][0]["inputs"], json!(["file names.json"]), "{answer:#}");
}

#[test]
fn problems_of_both_folders_are_told_and_nothing_is_planned() {
    let (from, to) = twins();
    from.write("syncs/a.yaml", "source: wbe\ndestination: warehouse\nschema: a\n");
    to.write("syncs/b.yaml", "source: [1\n");
    let output = plan(&from, &to, &[]);
    let shown = text(&output);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    for file in ["syncs/a.yaml", "syncs/b.yaml"] {
        assert!(shown.contains(file), "{shown}");
    }
}
