//! Several write keys for each source: names, ends, what each is used for.

use serde_json::{Value, json};

use crate::support::admin::Admin;
use crate::support::waiting::{PATIENCE, within};
use crate::support::{Reply, Server, Workspace, basic, request, run, tidegate};

const FIRST: &str = "first-key-0123456789";
const SECOND: &str = "second-key-0123456789";
const THIRD: &str = "third-key-0123456789";

fn send(server: &Server, key: &str, id: &str) -> Reply {
    let body = json!({"type": "track", "event": "Sent", "messageId": id}).to_string();
    request(&server.address, "POST", "/v1/track", &[("authorization", &basic(key))], body.as_bytes())
}

#[test]
fn each_key_opens_its_source_and_its_use_is_told() {
    let workspace = Workspace::new();
    let source = format!("kind: http\nwrite_key: {FIRST}\nwrite_keys: {{server: {SECOND}}}\n");
    workspace.write("sources/web.yaml", &source);
    workspace.write("sources/app.yaml", &format!("kind: http\nwrite_keys: {{mobile: {{key: {THIRD}}}}}\n"));
    workspace.write("syncs/app.yaml", "source: app\ndestination: warehouse\nschema: app\n");
    let token = workspace.admin_token();
    let server = workspace.serve();
    for (key, id) in [(FIRST, "a"), (SECOND, "b"), (SECOND, "c"), (THIRD, "d")] {
        assert_eq!(send(&server, key, id).status, 200, "{key}");
    }
    let wrong = request(&server.address, "POST", "/v1/batch", &[("authorization", &basic(FIRST))], b"{}");
    assert_eq!(wrong.status, 400);
    let admin = Admin::new(&server, &token);
    let answer = admin.get("/admin/write-keys");
    let keys = answer["write_keys"].as_array().unwrap();
    let told = |key: &Value| {
        let text = |field: &str| key[field].as_str().unwrap().to_owned();
        assert!(key["last_used"].as_str() >= key["created"].as_str(), "{key}");
        (text("source"), text("name"), key["events"].as_u64().unwrap())
    };
    let named = |source: &str, name: &str, events| (source.to_owned(), name.to_owned(), events);
    assert_eq!(
        keys.iter().map(told).collect::<Vec<_>>(),
        [named("app", "mobile", 1), named("web", "default", 1), named("web", "server", 2)]
    );
    for key in [FIRST, SECOND, THIRD] {
        assert!(!answer.to_string().contains(key), "no key is ever shown: {answer}");
    }
    // The command line asks the same.
    let url = format!("http://{}", server.admin);
    let path = workspace.path();
    let status = |arguments: &[&str]| {
        let mut command = tidegate();
        command.args(["status", path.to_str().unwrap()]).args(arguments).env("TIDEGATE_ADMIN_TOKEN", &token);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let shown: Value = serde_json::from_str(&status(&["--json", "--server", &url])).unwrap();
    assert_eq!(shown["write_keys"], answer["write_keys"]);
    let table = status(&["--server", &url]);
    assert!(["mobile", "default", "server", "never"].iter().all(|word| table.contains(word)), "{table}");
    // Nobody is asked unless somebody says so. The data directory has what was used, some seconds later.
    within(PATIENCE, "the uses are in the data directory", || {
        let shown: Value = serde_json::from_str(&status(&["--json"])).unwrap();
        assert_eq!(shown["write_keys"], Value::Null);
        let uses = shown["key_uses"].as_array().unwrap();
        let events: Vec<u64> = uses.iter().map(|used| used["events"].as_u64().unwrap()).collect();
        if events == [1, 1, 2] { Ok(()) } else { Err(shown["key_uses"].to_string()) }
    });
    assert!(status(&[]).contains("mobile"));
    server.stop();
    assert_eq!(workspace.warehouse().count("sent"), 3);
    assert_eq!(workspace.warehouse().count("app__sent"), 1);
}

#[test]
fn a_key_with_an_end_answers_401_from_then_on() {
    let workspace = Workspace::new();
    let keys = format!(
        "  over: {{key: {FIRST}, ends: 2020-01-01T00:00:00Z}}\n  open: {{key: {SECOND}, ends: 2999-12-31T23:59:59+02:00}}\n"
    );
    workspace.write("sources/web.yaml", &format!("kind: http\nwrite_keys:\n{keys}"));
    let token = workspace.admin_token();
    let server = workspace.serve();
    assert_eq!(send(&server, FIRST, "a").code(), "401 unknown-write-key");
    assert_eq!(send(&server, SECOND, "b").status, 200);
    let settings =
        |key: &str| request(&server.address, "GET", &format!("/v1/projects/{key}/settings"), &[], b"").status;
    assert_eq!((settings(FIRST), settings(SECOND)), (404, 200));
    let told = Admin::new(&server, &token).get("/admin/write-keys");
    let of = |n: usize| (told["write_keys"][n]["name"].clone(), told["write_keys"][n]["ended"].clone());
    assert_eq!((of(0), of(1)), ((json!("open"), json!(false)), (json!("over"), json!(true))));
    assert_eq!(told["write_keys"][0]["ends"], "2999-12-31T21:59:59.000000Z");
    // Whoever sends from the workspace takes a key that opens something.
    let output = run(&[
        "send",
        "--workspace",
        workspace.path().to_str().unwrap(),
        "--to",
        &server.url(),
        "--generate",
        "1",
        "--json",
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    server.stop();
}

#[test]
fn what_is_wrong_with_write_keys_is_told_with_its_line() {
    let long = "x".repeat(513);
    for (written, line, words, fix) in [
        ("write_key: short\n".to_owned(), 2, "shorter than 16", "openssl"),
        (format!("write_keys: {{a: {long}}}\n"), 2, "longer than 512", "openssl"),
        (format!("write_keys:\n  a: {FIRST}\n  b: short\n"), 4, "shorter than 16", "openssl"),
        (format!("write_key: {FIRST}\nwrite_keys:\n  default: {SECOND}\n"), 4, "of this name already", "another name"),
        (format!("write_keys:\n  a b: {FIRST}\n"), 3, "\"a b\" cannot be the name", "letters"),
        ("write_keys: {}\n".to_owned(), 2, "no write key below `write_keys`", "<name>:"),
        ("rate: 5/s\n".to_owned(), 1, "`write_key` is missing", "add `write_key:"),
        ("write_keys:\n  a: {ends: 2026-12-31T00:00:00Z}\n".to_owned(), 3, "`write_keys.a.key` is missing", "`key:"),
        (format!("write_keys:\n  a: {{key: {FIRST}, ends: 2026-12-31}}\n"), 3, "offset from UTC", "`ends: 20"),
        (format!("write_keys:\n  a: {{key: {FIRST}, end: 1}}\n"), 3, "`write_keys.a.end` is not known", "`ends`"),
        ("write_keys:\n  a: ${NOBODY_SETS_THIS}\n".to_owned(), 3, "NOBODY_SETS_THIS, which is not set", "set NOBODY"),
    ] {
        let workspace = Workspace::new();
        workspace.write("sources/web.yaml", &format!("kind: http\n{written}"));
        let output = run(&["check", workspace.path().to_str().unwrap(), "--json"]);
        assert_eq!(output.status.code(), Some(3), "{written}");
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let problems = answer["problems"].as_array().unwrap();
        assert_eq!(problems.len(), 1, "{written} {answer:#}");
        let said = |field: &str| problems[0][field].as_str().unwrap();
        assert!(said("file").ends_with("sources/web.yaml") && problems[0]["line"] == line, "{written} {answer:#}");
        assert!(said("message").contains(words) && said("fix").contains(fix), "{written} {answer:#}");
        assert!(![FIRST, SECOND, &long].iter().any(|key| answer.to_string().contains(key)), "{answer:#}");
    }
}

#[test]
fn a_key_of_two_names_is_one_problem() {
    let workspace = Workspace::new();
    workspace.write("sources/app.yaml", &format!("kind: http\nwrite_keys:\n  a: {FIRST}\n  b: {SECOND}\n"));
    workspace.write(
        "sources/web.yaml",
        &format!("kind: http\nwrite_key: {SECOND}\nwrite_keys:\n  c: {FIRST}\n  d: {FIRST}\n"),
    );
    let output = run(&["check", workspace.path().to_str().unwrap(), "--json"]);
    assert_eq!(output.status.code(), Some(3));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let told: Vec<(u64, &str)> = answer["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| (problem["line"].as_u64().unwrap(), problem["message"].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            (2, "several write keys are the same: b of source app, default of source web"),
            (5, "several write keys are the same: a of source app, c of source web, d of source web"),
        ]
    );
    assert!(![FIRST, SECOND].iter().any(|key| answer.to_string().contains(key)), "{answer:#}");
}

#[test]
fn a_source_whose_keys_have_all_ended_is_noted() {
    let workspace = Workspace::new();
    let of = |key: &str, ends: &str| format!("  until-{ends}: {{key: {key}, ends: {ends}-01-01T00:00:00Z}}\n");
    let write = |keys: String| workspace.write("sources/web.yaml", &format!("kind: http\nwrite_keys:\n{keys}"));
    let notes = || {
        let output = run(&["check", workspace.path().to_str().unwrap(), "--json"]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["notes"].to_string()
    };
    write(of(FIRST, "2020") + &of(SECOND, "2021"));
    assert!(notes().contains("every write key of this source has ended"), "{}", notes());
    write(of(FIRST, "2020") + &of(SECOND, "2999"));
    assert!(!notes().contains("has ended"), "{}", notes());
}

#[test]
fn a_key_in_a_file_is_not_made_anew_by_a_start() {
    let workspace = Workspace::new();
    workspace.write("sources/web.yaml", &format!("kind: http\nwrite_key: {FIRST}\n"));
    let token = workspace.admin_token();
    let server = workspace.serve();
    assert_eq!(send(&server, FIRST, "a").status, 200);
    server.stop();
    let server = workspace.serve();
    let answer = Admin::new(&server, &token).get("/admin/write-keys");
    let key = &answer["write_keys"][0];
    assert!(key["first_used"].is_string(), "{key}");
    assert_eq!(key["created"], key["first_used"], "{key}");
    server.stop();
}

#[test]
fn a_key_in_a_file_that_nobody_has_used_has_no_times() {
    let workspace = Workspace::new();
    workspace.write("sources/web.yaml", &format!("kind: http\nwrite_key: {FIRST}\n"));
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    let all = admin.get("/admin/write-keys")["write_keys"][0].clone();
    let of_source = admin.get("/api/v1/sources/web/write-keys")["write_keys"][0].clone();
    for key in [all, of_source] {
        let times = [&key["created"], &key["first_used"], &key["last_used"]];
        assert_eq!((&key["events"], times), (&json!(0), [&Value::Null; 3]), "{key}");
    }
    let url = format!("http://{}", server.admin);
    let output = run(&["write-key", "list", "web", "--server", &url, "--token", &token]);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && table.contains("never") && table.contains("unknown"), "{table}");
    server.stop();
}
