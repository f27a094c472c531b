//! Write keys that are made, rotated and revoked over HTTP while clients send.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::RwLock;
use std::time::Duration;

use serde_json::{Value, json};

use super::{ApiCaller, served};
use crate::support::http::{Reply, basic, read, request};
use crate::support::waiting::until;
use crate::support::{Server, Workspace, run};

const KEYS: &str = "/api/v1/sources/web/write-keys";
/// A key that clients have already.
const OLD: &str = "canary-key-of-old-clients";

fn send(server: &Server, key: &str) -> Reply {
    let body = json!({"type": "track", "event": "Sent"}).to_string();
    request(&server.address, "POST", "/v1/track", &[("authorization", &basic(key))], body.as_bytes())
}

fn opens(server: &Server, key: &str) -> String {
    send(server, key).code()
}

impl ApiCaller {
    /// Makes a write key that must be made, and that the door goes by; answers what is said of it.
    #[track_caller]
    fn made_key(&self, asked: Value) -> Value {
        let reply = self.ask("POST", KEYS, &asked);
        assert_eq!((reply.status, &reply.json()["in_force"]), (201, &json!(true)), "{}", reply.text());
        reply.json()
    }

    #[track_caller]
    fn rotated(&self, key: &str, asked: Value) -> Value {
        let reply = self.ask("POST", &format!("{KEYS}/{key}/rotate"), &asked);
        assert_eq!((reply.status, &reply.json()["in_force"]), (201, &json!(true)), "{}", reply.text());
        reply.json()
    }

    #[track_caller]
    fn revoked(&self, key: &str) -> Value {
        let reply = self.ask("DELETE", &format!("{KEYS}/{key}"), &Value::Null);
        assert_eq!((reply.status, &reply.json()["in_force"]), (200, &json!(true)), "{}", reply.text());
        reply.json()
    }

    /// The write key of this name, as the list has it.
    #[track_caller]
    fn listed(&self, name: &str) -> Value {
        let listed = self.get(KEYS);
        let keys = listed["write_keys"].as_array().unwrap();
        keys.iter().find(|key| key["name"] == name).unwrap_or_else(|| panic!("no {name} in {listed}")).clone()
    }
}

fn text(created: &Value) -> String {
    created["key"].as_str().unwrap().to_owned()
}

#[test]
fn a_client_never_notices_that_its_key_was_rotated() {
    const CLIENTS: usize = 4;
    const REQUESTS: usize = 400;
    let (workspace, server, admin) = served();
    let first = text(&admin.made_key(json!({"name": "mobile", "value": OLD})));
    assert_eq!(first, OLD);
    let latest = RwLock::new(first.clone());
    let mut rotations = 0;
    let answers: Vec<String> = std::thread::scope(|scope| {
        let client = |number: usize| {
            let (server, latest, first) = (&server, &latest, &first);
            // Half of them never hear of another key.
            let key = move || if number.is_multiple_of(2) { first.clone() } else { latest.read().unwrap().clone() };
            scope.spawn(move || (0..REQUESTS).map(|_| opens(server, &key())).collect::<Vec<String>>())
        };
        let clients: Vec<_> = (0..CLIENTS).map(client).collect();
        let mut name = "mobile".to_owned();
        while !clients.iter().all(|client| client.is_finished()) {
            let next = admin.rotated(&name, json!({"grace_seconds": 3_600}));
            assert_eq!(next["replaces"], *name);
            next["name"].as_str().unwrap().clone_into(&mut name);
            *latest.write().unwrap() = text(&next);
            // What is read again from the folder knows of the keys too.
            workspace.write("sources/app.yaml", &format!("kind: http\nwrite_key: of-the-app-{rotations}-0123456789\n"));
            let reloaded = admin.ask("POST", "/admin/reload", &json!({}));
            assert_eq!(reloaded.status, 200, "{}", reloaded.text());
            rotations += 1;
        }
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    assert!(rotations > 0, "nothing was rotated while they sent");
    let other: Vec<&String> = answers.iter().filter(|answer| *answer != "200").collect();
    assert!(other.is_empty() && answers.len() == CLIENTS * REQUESTS, "{other:?}");
    let listed = admin.get(KEYS);
    let events = |key: &Value| key["events"].as_u64().unwrap();
    let all: u64 = listed["write_keys"].as_array().unwrap().iter().map(events).sum();
    assert_eq!(all, (CLIENTS * REQUESTS) as u64, "each event is counted under one key: {listed}");
    let old = admin.listed("mobile");
    assert_eq!(
        (&old["replaced_by"], &old["ended"], &old["last4"]),
        (&json!("mobile-2"), &json!(false), &json!("ents"))
    );
    server.stop();
    assert_eq!(workspace.warehouse().count("sent"), (CLIENTS * REQUESTS) as u64);
}

#[test]
fn a_revoked_key_answers_401_right_after_the_answer() {
    let (_workspace, server, admin) = served();
    for at in 0..20 {
        let name = format!("key-{at}");
        let made = admin.made_key(json!({ "name": name }));
        let key = text(&made);
        assert!(key.starts_with("tgw_"), "{key}");
        assert_eq!(opens(&server, &key), "200", "{at}");
        if at % 3 == 0 {
            let path = format!("/api/v1/objects/write-key/{}", made["id"].as_str().unwrap());
            assert_eq!(admin.ask("DELETE", &path, &Value::Null).status, 200);
        } else {
            let named = if at % 2 == 0 { &made["name"] } else { &made["id"] };
            assert_eq!(admin.revoked(named.as_str().unwrap())["name"], *name);
        }
        assert_eq!(opens(&server, &key), "401 unknown-write-key", "{at}");
    }
    assert_eq!(opens(&server, &server.key), "200", "the key of the file goes on");
    assert_eq!(admin.get(KEYS)["write_keys"].as_array().unwrap().len(), 1);
    server.stop();
}

#[test]
fn a_request_whose_key_is_revoked_while_its_body_arrives_is_refused() {
    let (workspace, server, admin) = served();
    let key = text(&admin.made_key(json!({"name": "mobile"})));
    let body = json!({"type": "track", "event": "Sent"}).to_string();
    let mut client = TcpStream::connect(&server.address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!(
        "POST /v1/track HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: {}\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        basic(&key),
        body.len()
    );
    client.write_all(head.as_bytes()).unwrap();
    // It is asked for when the body is waited for, which is after the key was looked at.
    let mut answer = [0; 25];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer, *b"HTTP/1.1 100 Continue\r\n\r\n");
    admin.revoked("mobile");
    client.write_all(body.as_bytes()).unwrap();
    assert_eq!(read(&mut client).unwrap().code(), "401 unknown-write-key");
    server.stop();
    assert!(!workspace.warehouse().has("sent"));
}

#[test]
fn an_old_key_opens_its_source_until_the_time_of_grace_is_over() {
    let (_workspace, server, admin) = served();
    let old = text(&admin.made_key(json!({"name": "mobile", "ends_at": "2999-12-31T23:59:59+02:00"})));
    assert_eq!(admin.listed("mobile")["ends_at"], "2999-12-31T21:59:59.000000Z");
    let next = admin.rotated("mobile", json!({"grace_seconds": 1, "name": "app"}));
    assert_eq!((&next["name"], &next["replaces"]), (&json!("app"), &json!("mobile")));
    until("the time of grace is over", || opens(&server, &old) == "401 unknown-write-key");
    assert_eq!(opens(&server, &text(&next)), "200");
    let shown = admin.listed("mobile");
    assert_eq!((&shown["ended"], &shown["replaced_by"]), (&json!(true), &json!("app")));
    assert!(shown["grace_until"].as_str() < shown["ends_at"].as_str(), "{shown}");
    // At once.
    let last = admin.rotated("app", json!({"grace_seconds": 0}));
    assert_eq!(opens(&server, &text(&next)), "401 unknown-write-key");
    assert_eq!((opens(&server, &text(&last)), &last["name"]), ("200".to_owned(), &json!("app-2")));
    server.stop();
}

#[test]
fn keys_of_a_file_are_changed_there_alone_and_what_cannot_be_made_is_told() {
    let (_workspace, server, admin) = served();
    let shown = admin.listed("default");
    assert_eq!(
        (&shown["from"], &shown["file"], &shown["last4"]),
        (&json!("file"), &json!("sources/web.yaml"), &Value::Null)
    );
    for (method, path) in [("DELETE", "default"), ("POST", "default/rotate")] {
        let reply = admin.ask(method, &format!("{KEYS}/{path}"), &Value::Null);
        assert_eq!(reply.code(), "409 managed-by-file");
        let fix = reply.json()["fix"].as_str().unwrap().to_owned();
        assert!(fix.contains("sources/web.yaml") && fix.contains("tidegate reload"), "{fix}");
    }
    admin.made_key(json!({"name": "old", "value": OLD}));
    admin.rotated("old", json!({}));
    let long = "x".repeat(64);
    for (path, body, code, field) in [
        ("", json!({"name": "default"}), "409 name-taken", "name"),
        ("", json!({"name": "old"}), "409 name-taken", "name"),
        ("", json!({"name": "other", "value": server.key}), "409 write-key-taken", "value"),
        ("", json!({"name": "other", "value": OLD}), "409 write-key-taken", "value"),
        ("", json!({"name": "other", "value": "short"}), "422 credential", "value"),
        ("", json!({"name": "a b"}), "422 content", "name"),
        ("", json!({ "name": long }), "422 content", "name"),
        ("", json!({"name": "other", "ends_at": "2026-12-31"}), "422 ends-at", "ends_at"),
        ("", json!({"name": "other", "ends_at": "2020-01-01T00:00:00Z"}), "422 ends-at", "ends_at"),
        ("/old-2/rotate", json!({"grace_seconds": 40_000_000}), "422 grace-seconds", "grace_seconds"),
        ("/old-2/rotate", json!({"grace_seconds": -1}), "400 body", "grace_seconds"),
        ("/old-2/rotate", json!({"value": OLD}), "409 write-key-taken", "value"),
    ] {
        let reply = admin.ask("POST", &format!("{KEYS}{path}"), &body);
        let problem = reply.json();
        assert_eq!((reply.code().as_str(), problem["field"].as_str()), (code, Some(field)), "{body}: {problem}");
        assert!(!reply.text().contains(OLD) && !reply.text().contains(&server.key), "{problem}");
    }
    assert_eq!(admin.ask("POST", &format!("{KEYS}/old/rotate"), &json!({})).code(), "409 already-rotated");
    assert_eq!(admin.ask("DELETE", &format!("{KEYS}/nosuch"), &Value::Null).code(), "404 no-such-object");
    let nowhere = "/api/v1/sources/nosuch/write-keys";
    assert_eq!(admin.ask("POST", nowhere, &json!({"name": "a"})).code(), "404 no-such-object");
    let again = admin.send("POST", KEYS, &[("idempotency-key", "one")], &json!({"name": "other"}));
    assert_eq!(again.code(), "422 idempotency-key");
    assert_eq!(opens(&server, OLD), "200", "nothing of that was done");
    let used = admin.ask("PUT", "/api/v1/objects/source/web", &json!({"name": "site", "spec": {"kind": "http"}}));
    assert_eq!(used.code(), "409 managed-by-file");
    server.stop();
}

#[test]
fn uses_survive_a_restart_and_a_crash_and_end_with_their_key() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve_with(&["keeper_in_haste=return"]);
    let key = text(&ApiCaller::new(&server, &token).made_key(json!({"name": "mobile"})));
    (0..3).for_each(|_| assert_eq!(opens(&server, &key), "200"));
    assert_eq!(opens(&server, &server.key), "200");
    let kept = |name: &str| {
        let uses = workspace.status()["key_uses"].clone();
        let used = uses.as_array().unwrap().iter().find(|used| used["name"] == name);
        used.map_or(0, |used| used["events"].as_u64().unwrap())
    };
    until("the uses are kept", || (kept("mobile"), kept("default")) == (3, 1));
    server.kill();
    let server = workspace.serve();
    let admin = ApiCaller::new(&server, &token);
    let shown = admin.listed("mobile");
    assert_eq!(shown["events"], 3);
    assert!(shown["first_used"].as_str().unwrap() <= shown["last_used"].as_str().unwrap(), "{shown}");
    assert_eq!(opens(&server, &key), "200", "a key outlives the process");
    assert_eq!(admin.listed("mobile")["first_used"], shown["first_used"]);
    server.stop();
    assert_eq!(kept("mobile"), 4, "what a stop finds is kept");
    let server = workspace.serve_with(&["keeper_in_haste=return"]);
    let admin = ApiCaller::new(&server, &token);
    let every = admin.get("/admin/write-keys");
    let of = |name: &str| {
        let keys = every["write_keys"].as_array().unwrap();
        let key = keys.iter().find(|key| key["name"] == name).unwrap();
        (key["from"].as_str().unwrap().to_owned(), key["events"].as_u64().unwrap())
    };
    assert_eq!((of("mobile"), of("default")), (("api".to_owned(), 4), ("file".to_owned(), 1)));
    admin.revoked("mobile");
    until("the uses of a revoked key are forgotten", || kept("mobile") == 0);
    let again = text(&admin.made_key(json!({"name": "mobile"})));
    assert_eq!(admin.listed("mobile")["events"], 0);
    assert_eq!(opens(&server, &again), "200");
    server.stop();
    assert_eq!(kept("mobile"), 1);
}

#[test]
fn whoever_may_view_a_source_sees_its_keys_and_whoever_manages_it_makes_them() {
    let (_workspace, server, admin) = served();
    let viewer = admin.user(&server, "vera", Some("viewer"));
    let nobody = admin.user(&server, "noa", None);
    let web = admin.get("/api/v1/objects/source/web")["id"].clone();
    admin.made("role", "of web", json!({"access": [{"level": "manage", "on": {"object": web}}]}));
    let keeper = admin.user(&server, "kim", Some("of web"));
    keeper.made_key(json!({"name": "mobile"}));
    assert_eq!(viewer.listed("mobile")["from"], "api");
    for (method, path) in
        [("POST", String::new()), ("POST", "/mobile/rotate".to_owned()), ("DELETE", "/mobile".to_owned())]
    {
        let path = format!("{KEYS}{path}");
        let refused = viewer.ask(method, &path, &json!({"name": "other"}));
        assert_eq!(refused.code(), "403 forbidden", "{path}");
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("`manage` on the source \"web\""), "{detail}");
        assert_eq!(nobody.ask(method, &path, &json!({"name": "other"})).code(), "404 no-such-object", "{path}");
    }
    assert_eq!(nobody.ask("GET", KEYS, &Value::Null).code(), "404 no-such-object");
    let elsewhere = format!("{KEYS}?workspace=elsewhere");
    assert_eq!(nobody.ask("GET", &elsewhere, &Value::Null).code(), "404 no-such-object");
    // A key of a source in another workspace opens nothing here.
    let body = json!({"name": "web", "spec": {"kind": "http"}});
    assert_eq!(admin.ask("POST", "/api/v1/objects/source?workspace=elsewhere", &body).status, 201);
    let there = admin.ask("POST", &elsewhere, &json!({"name": "mobile", "value": OLD}));
    assert_eq!(there.status, 201, "{}", there.text());
    assert_eq!(opens(&server, OLD), "401 unknown-write-key");
    let denied = admin.get("/api/v1/audit?result=denied").to_string();
    assert!(denied.contains("manage"), "{denied}");
    server.stop();
}

/// Every file below a folder, as it is.
fn bytes_below(folder: &std::path::Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        all.extend(if path.is_dir() { bytes_below(&path) } else { std::fs::read(&path).unwrap() });
    }
    all
}

#[test]
fn a_key_is_in_no_answer_log_or_file_but_the_answer_that_made_it() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.try_serve(&["--log", "info"], &[]).unwrap_or_else(|said| panic!("{said}"));
    let admin = ApiCaller::new(&server, &token);
    let made = text(&admin.made_key(json!({"name": "made"})));
    let given = text(&admin.made_key(json!({"name": "given", "value": OLD})));
    let rotated = text(&admin.rotated("made", json!({"grace_seconds": 60})));
    for key in [&made, &given, &rotated] {
        assert_eq!(opens(&server, key), "200");
    }
    admin.revoked("given");
    let mut all = String::new();
    for path in [
        KEYS,
        "/admin/write-keys",
        "/api/v1/objects/write-key",
        "/api/v1/objects/source/web/used-by",
        "/api/v1/audit?limit=1000",
        "/api/openapi.json",
    ] {
        all += &admin.get(path).to_string();
    }
    for object in admin.get("/api/v1/objects/write-key")["objects"].as_array().unwrap() {
        let id = object["id"].as_str().unwrap();
        for more in ["", "/history", "/diff?from=0"] {
            all += &admin.get(&format!("/api/v1/objects/write-key/{id}{more}")).to_string();
        }
    }
    all += &admin.ask("GET", "/api/v1/audit/export?limit=1000", &Value::Null).text();
    all += &workspace.status().to_string();
    assert!(all.contains("write_key"), "{all}");
    all += &server.stop();
    let kept = bytes_below(&workspace.data());
    for key in [made, given, rotated] {
        assert!(!all.contains(&key), "{key} in {all}");
        assert!(!kept.windows(key.len()).any(|window| window == key.as_bytes()), "{key} is in the data directory");
    }
}

#[test]
fn write_keys_are_listed_made_rotated_and_revoked_by_commands() {
    let (_workspace, server, admin) = served();
    let url = format!("http://{}", server.admin);
    let command = |words: &[&str], code: i32| {
        let words = [&["write-key"][..], words, &["--server", &url, "--token", &admin.token]].concat();
        let output = run(&words);
        let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{words:?}: {out}{error}");
        (out.trim().to_owned(), error.into_owned())
    };
    let (made, said) = command(&["create", "web", "mobile", "--ends", "2999-12-31"], 0);
    assert!(made.starts_with("tgw_") && said.contains("not shown again"), "{made} {said}");
    assert_eq!(opens(&server, &made), "200");
    let (rotated, _) = command(&["rotate", "web", "mobile", "--grace", "7d", "--json"], 0);
    let rotated: Value = serde_json::from_str(&rotated).unwrap();
    assert_eq!(rotated["name"], "mobile-2");
    let (table, _) = command(&["list", "web"], 0);
    for word in ["mobile", "mobile-2", "replaced by mobile-2", "sources/web.yaml", "API", "default"] {
        assert!(table.contains(word), "{word}: {table}");
    }
    assert!(!table.contains(&made));
    let (listed, _) = command(&["list", "web", "--json"], 0);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 3);
    command(&["revoke", "web", "mobile"], 0);
    assert_eq!(opens(&server, &made), "401 unknown-write-key");
    let (_, error) = command(&["revoke", "web", "default"], 1);
    assert!(error.contains("sources/web.yaml"), "{error}");
    let (_, error) = command(&["create", "web", "other", "--ends", "tomorrow"], 2);
    assert!(error.contains("2026-12-31"), "{error}");
    command(&["list", "../objects"], 1);
    assert_eq!(admin.get(KEYS)["write_keys"].as_array().unwrap().len(), 2);
    server.stop();
}
