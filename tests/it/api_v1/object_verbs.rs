//! Commands that write and try objects, keep secrets and complete names.

use serde_json::{Value, json};

use super::commands::{ServerCommands, text};
use super::served;
use crate::support::home::{HomeCommands, said};
use crate::support::run;

#[test]
fn objects_are_made_changed_and_looked_for_by_commands() {
    let (workspace, server, admin) = served();
    let commands = ServerCommands::new(&server, &admin);
    let file = workspace.dir.path().join("plans.yaml");
    let path = file.to_str().unwrap();
    std::fs::write(&file, "kind: table\nentries:\n  a: {price: 1}\n").unwrap();
    let create = ["object", "create", "lookup", "plans", "-f", path, "--label", "team=shop"];
    let tried = commands.json(&[&create[..], &["--dry-run"]].concat(), 0);
    assert_eq!((&tried["dry_run"], &tried["objects"][0]["done"]), (&json!(true), &json!("created")), "{tried}");
    let made = commands.json(&create, 0);
    let revision = made["objects"][0]["revision"].as_u64().unwrap();
    std::fs::write(&file, r#"{"kind": "table", "entries": {"a": {"price": 2}}}"#).unwrap();
    let update = ["object", "update", "lookup", "plans", "-f", path];
    let late = commands.run(&[&update[..], &["--if-revision", "1"]].concat());
    assert_eq!(late.status.code(), Some(1), "{}", text(&late));
    assert!(text(&late).contains("If-Match"), "{}", text(&late));
    let revision = revision.to_string();
    let owned = [&update[..], &["--owner", "admin", "--if-revision", &revision]].concat();
    assert_eq!(commands.json(&owned, 0)["objects"][0]["done"], "updated");
    let shown = commands.json(&["object", "get", "lookup", "plans"], 0);
    assert_eq!((&shown["labels"], &shown["spec"]["entries"]["a"]["price"]), (&json!({"team": "shop"}), &json!(2)));
    for (filter, found) in [
        (["--q", "LAN"], true),
        (["--prefix", "lan"], false),
        (["--label", "team=web"], false),
        (["--owner", "admin"], true),
        (["--managed-by", "folder"], false),
    ] {
        let listed = commands.json(&[&["object", "list", "lookup"][..], &filter].concat(), 0);
        assert_eq!(!listed.as_array().unwrap().is_empty(), found, "{filter:?}: {listed}");
    }
    commands.json(&["object", "pause", "sync", "web-to-warehouse"], 0);
    let table = text(&commands.run(&["object", "list", "sync"]));
    for words in ["kind", "owner", "state", "paused", "syncs/web-to-warehouse.yaml"] {
        assert!(table.contains(words), "{words} in {table}");
    }
    server.stop();
}

#[test]
fn what_is_wrong_with_a_spec_names_its_line_or_its_field() {
    let (workspace, server, admin) = served();
    let commands = ServerCommands::new(&server, &admin);
    let file = workspace.dir.path().join("spec.yaml");
    let path = file.to_str().unwrap();
    for (spec, words) in [
        ("kind: [1\n", "spec.yaml"),
        ("- a\n", "spec.yaml:1"),
        ("kind: nonsense\n", "nonsense"),
        ("kind: postgres\nurl: postgres://ann:hunter2@far/db\n", "field: spec.url"),
    ] {
        std::fs::write(&file, spec).unwrap();
        let output = commands.run(&["object", "create", "destination", "far", "-f", path]);
        assert_eq!(output.status.code(), Some(1), "{spec}: {}", text(&output));
        assert!(text(&output).contains(words) && text(&output).contains("fix:"), "{spec}: {}", text(&output));
        assert!(!text(&output).contains("hunter2"), "{}", text(&output));
    }
    let edited = commands.run(&["object", "edit", "source", "web"]);
    assert_eq!(edited.status.code(), Some(1), "{}", text(&edited));
    assert!(text(&edited).contains("terminal"), "{}", text(&edited));
    server.stop();
}

#[test]
fn a_sync_is_tried_by_a_command_that_shows_its_rows() {
    let (workspace, server, admin) = served();
    let commands = ServerCommands::new(&server, &admin);
    let file = workspace.dir.path().join("in.jsonl");
    std::fs::write(
        &file,
        "{\"type\": \"track\", \"event\": \"Paid\", \"messageId\": \"p\", \"properties\": {\"cents\": 7}}\n",
    )
    .unwrap();
    let words = ["object", "test", "sync", "web-to-warehouse", "--events", file.to_str().unwrap()];
    let answer = commands.json(&words, 0);
    assert_eq!(answer["events"][0]["outcome"], "delivered", "{answer}");
    let table = commands.run(&words);
    for words in ["of 1 events 1 would be delivered", "paid", "cents", "INTEGER"] {
        assert!(text(&table).contains(words), "{words} in {}", text(&table));
    }
    let tried = commands.run(&["object", "test", "destination", "warehouse"]);
    assert_eq!(tried.status.code(), Some(0), "{}", text(&tried));
    assert_eq!(commands.run(&["object", "test", "destination", "nowhere"]).status.code(), Some(1));
    server.stop();
}

#[test]
fn a_secret_is_kept_listed_and_deleted_and_never_shown() {
    let (workspace, server, admin) = served();
    let home = HomeCommands { home: workspace.dir.path() };
    let url = format!("http://{}", server.admin);
    let run =
        |words: &[&str], typed: &str| home.run(&[words, &["--server", &url, "--token", &admin.token]].concat(), typed);
    let kept = run(&["secret", "set", "crm"], "hunter2-one\nhunter2-two\n");
    assert!(kept.status.success(), "{}", said(&kept));
    let again = run(&["secret", "set", "crm"], "hunter2-one\nhunter2-two");
    assert!(said(&again).contains("already"), "{}", said(&again));
    assert_eq!(run(&["secret", "set", "empty"], "\n").status.code(), Some(1));
    let spare = json!({"kind": "postgres", "host": "db.example", "user": "u", "dbname": "d", "password": "secret:crm"});
    admin.made("destination", "spare", spare);
    let listed = admin.get("/api/v1/secrets");
    let secret = &listed["secrets"][0];
    let found = (&secret["name"], &secret["version"], &secret["used_by"], listed["secrets"].as_array().unwrap().len());
    assert_eq!(found, (&json!("crm"), &json!(1), &json!(1), 1), "{listed}");
    for words in [&["secret", "list"][..], &["secret", "used-by", "crm"]] {
        let output = run(words, "");
        assert!(output.status.success(), "{}", said(&output));
        let expected = if words.len() == 2 { "1 object" } else { "destination spare" };
        assert!(said(&output).contains(expected) && !said(&output).contains("hunter2"), "{}", said(&output));
    }
    assert_eq!(run(&["secret", "delete", "crm"], "").status.code(), Some(1), "it is named");
    assert_eq!(admin.ask("DELETE", "/api/v1/objects/destination/spare", &Value::Null).status, 200);
    assert!(run(&["secret", "delete", "crm"], "").status.success());
    assert_eq!(admin.get("/api/v1/secrets")["secrets"], json!([]));
    server.stop();
}

#[test]
fn names_are_completed_from_the_server_and_whoever_cannot_ask_is_told_nothing() {
    let (_workspace, server, admin) = served();
    let url = format!("http://{}", server.admin);
    let names = |words: &[&str]| {
        let output = run(&[&["complete-names", "--"][..], words].concat());
        assert!(output.status.success() && output.stderr.is_empty(), "{words:?}: {}", text(&output));
        let lines: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
        lines
    };
    let of = ["--server", &url, "--token", &admin.token];
    assert_eq!(names(&[&["object", "get"][..], &of, &["sync", ""]].concat()), ["web-to-warehouse"]);
    assert_eq!(names(&[&["object", "get"][..], &of, &["sync", "x"]].concat()), [""; 0]);
    assert_eq!(names(&["object", "get", "dest"]), ["destination"]);
    assert_eq!(names(&[&["object", "list"][..], &of, &["source", "--workspace", "def"]].concat()), ["default"]);
    let nobody = ["object", "get", "--server", "http://127.0.0.1:1", "--token", "x", "sync", ""];
    assert_eq!(names(&nobody), [""; 0]);
    assert_eq!(names(&["serve", ""]), [""; 0]);
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&run(&["completions", shell]));
        assert!(script.contains("complete-names --"), "{shell}");
    }
    server.stop();
}
