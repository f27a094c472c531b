//! Several workspaces in one server: each with objects, write keys, tables, roles and data of its own.

mod promoted;

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::admin::Admin;
use crate::support::http::try_request;
use crate::support::waiting::{PATIENCE, until, within};
use crate::support::{Reply, Server, Warehouse, Workspace, basic, request, run};

const STAGING_KEY: &str = "staging-key-0123456789";

/// A server with the environment `staging` beside its own folder.
struct TwoEnvironments {
    workspace: Workspace,
    server: Server,
    admin: Admin,
}

/// A workspace that names `staging`, with a source, a warehouse and a sync there.
fn two_folders() -> Workspace {
    let workspace = Workspace::new();
    workspace.append("tidegate.yaml", "\nenvironments: {staging: {}}\n");
    staging_source(&workspace, STAGING_KEY, "");
    workspace.write("environments/staging/destinations/warehouse.yaml", "kind: sqlite\n");
    let sync = "source: web\ndestination: warehouse\n";
    workspace.write("environments/staging/syncs/web-to-warehouse.yaml", sync);
    workspace
}

fn staging_source(workspace: &Workspace, key: &str, more: &str) {
    workspace.write("environments/staging/sources/web.yaml", &format!("kind: http\nwrite_key: {key}\n{more}"));
}

/// A track event, whose id is all that tells it from others.
fn track(id: &str) -> Value {
    json!({"type": "track", "event": "Sent", "messageId": id, "userId": "u"})
}

fn send(server: &Server, key: &str, id: &str) -> Reply {
    let event = track(id).to_string();
    request(&server.address, "POST", "/v1/track", &[("authorization", &basic(key))], event.as_bytes())
}

impl TwoEnvironments {
    fn new() -> Self {
        Self::of(two_folders())
    }

    fn of(workspace: Workspace) -> Self {
        let token = workspace.admin_token();
        let server = workspace.serve();
        let admin = Admin::new(&server, &token);
        Self { workspace, server, admin }
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Reply {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.admin.ask(method, path, body.as_bytes())
    }

    #[track_caller]
    fn done(&self, method: &str, path: &str, body: &Value) -> Value {
        let reply = self.ask(method, path, body);
        assert!(reply.status < 300, "{method} {path}: {}", reply.text());
        reply.json()
    }

    /// Makes an object of a workspace.
    #[track_caller]
    fn make(&self, workspace: &str, (kind, name): (&str, &str), spec: &Value) -> Value {
        let path = format!("/api/v1/objects/{kind}?workspace={workspace}");
        self.done("POST", &path, &json!({"name": name, "spec": spec}))
    }

    /// Somebody with a role in a workspace.
    #[track_caller]
    fn user(&self, name: &str, (workspace, role): (&str, &str)) -> Admin {
        let made = self.done("POST", "/api/v1/objects/user", &json!({"name": name, "spec": {}}));
        let id = made["objects"][0]["id"].clone();
        let spec = json!({"members": [id], "roles": {workspace: role}});
        self.done("POST", "/api/v1/objects/group", &json!({"name": format!("{name}s"), "spec": spec}));
        let token = self.done(
            "POST",
            &format!("/api/v1/tokens?workspace={workspace}"),
            &json!({"name": format!("of {name}"), "user": name}),
        );
        Admin::new(&self.server, token["token"].as_str().unwrap())
    }

    /// Runs a command that asks the server.
    fn command(&self, args: &[&str]) -> Output {
        let server = format!("http://{}", self.server.admin);
        run(&[args, &["--server", &server, "--token", self.admin.token()]].concat())
    }
}

fn staging(workspace: &Workspace) -> Warehouse {
    Warehouse::open(&workspace.data().join("environments/staging/warehouse.db"))
}

fn ids(warehouse: &Warehouse) -> Vec<String> {
    if warehouse.has("sent") { warehouse.rows("SELECT id FROM sent ORDER BY id") } else { Vec::new() }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn an_event_goes_to_the_tables_of_the_environment_whose_key_it_shows() {
    let two = TwoEnvironments::new();
    assert_eq!(send(&two.server, &two.server.key, "own-1").status, 200);
    assert_eq!(send(&two.server, STAGING_KEY, "staged-1").status, 200);
    // A key within the body is found as well, and of two keys the one in the header counts.
    let mut inside = track("staged-2");
    inside["writeKey"] = STAGING_KEY.into();
    let reply = request(&two.server.address, "POST", "/v1/track", &[], inside.to_string().as_bytes());
    assert_eq!(reply.status, 200, "{}", reply.text());
    let both = format!("/v1/track?writeKey={}", two.server.key);
    let event = track("staged-3").to_string();
    let shown = basic(STAGING_KEY);
    let header = [("authorization", shown.as_str())];
    let reply = request(&two.server.address, "POST", &both, &header, event.as_bytes());
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(send(&two.server, "of-nobody-0123456789", "x").status, 401);
    let TwoEnvironments { workspace, server, .. } = two;
    server.stop();
    assert_eq!(ids(&workspace.warehouse()), ["own-1"]);
    assert_eq!(ids(&staging(&workspace)), ["staged-1", "staged-2", "staged-3"]);
    // Both go on after a start, each with what it has.
    let server = workspace.serve();
    assert_eq!(send(&server, STAGING_KEY, "staged-1").status, 200);
    assert_eq!(send(&server, STAGING_KEY, "staged-4").status, 200);
    server.stop();
    assert_eq!(ids(&staging(&workspace)), ["staged-1", "staged-2", "staged-3", "staged-4"]);
    assert_eq!(ids(&workspace.warehouse()), ["own-1"]);
}

#[test]
fn commands_show_and_name_each_environment() {
    let two = TwoEnvironments::new();
    let path = two.workspace.path().to_str().unwrap().to_owned();
    let (events, to) = (two.workspace.dir.path().join("events.ndjson"), two.server.url());
    std::fs::write(&events, format!("{}\n{}\n", track("a"), json!({"type": "nosuch", "messageId": "b"}))).unwrap();
    let sent = run(&["send", events.to_str().unwrap(), "--workspace", &path, "--environment", "staging", "--to", &to]);
    assert!(sent.status.success(), "{}", text(&sent));
    within(PATIENCE, "both events of staging are looked at", || {
        let status = two.workspace.status();
        let staging = &status["environments"]["staging"];
        let is_there = staging["sources"]["web"]["accepted"] == 2 && staging["quarantine"]["events"] == 1;
        if is_there { Ok(()) } else { Err(staging.to_string()) }
    });
    let status = two.workspace.status();
    assert_eq!(status["sources"]["web"]["accepted"], 0, "{status}");
    let shown = run(&["status", &path]);
    assert!(text(&shown).contains("environment staging"), "{}", text(&shown));
    let one = run(&["status", &path, "--environment", "staging", "--json"]);
    let one: Value = serde_json::from_slice(&one.stdout).unwrap();
    assert_eq!((&one["sources"]["web"]["accepted"], one.get("environments")), (&json!(2), None), "{one}");
    let quarantine = run(&["quarantine", &path, "--environment", "staging", "--json"]);
    assert!(text(&quarantine).contains("nosuch"), "{}", text(&quarantine));
    assert!(two.workspace.quarantined().is_empty());
    let wrong = run(&["status", &path, "--environment", "nosuch"]);
    assert_eq!(wrong.status.code(), Some(3), "{}", text(&wrong));
    let checked = run(&["check", &path, "--json"]);
    let checked: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(checked["environments"]["staging"]["counts"]["syncs"], 1, "{checked}");
    let deep = run(&["check", &path, "--deep"]);
    assert!(deep.status.success() && text(&deep).contains("environments/staging: every file"), "{}", text(&deep));
    let keys = two.admin.get("/admin/write-keys?workspace=staging");
    assert_eq!(keys["write_keys"][0]["events"], 2, "{keys}");
    two.server.stop();
}

#[test]
fn a_write_key_is_of_one_environment() {
    let two = TwoEnvironments::new();
    let own = two.server.key.clone();
    staging_source(&two.workspace, &own, "");
    let refused = two.ask("POST", "/admin/reload?workspace=staging", &json!({}));
    assert_eq!(refused.code(), "422 problems", "{}", refused.text());
    assert!(refused.text().contains("environment default") && !refused.text().contains(&own), "{}", refused.text());
    staging_source(&two.workspace, STAGING_KEY, "");
    two.done("POST", "/admin/reload?workspace=staging", &json!({}));
    let keys = "/api/v1/sources/web/write-keys?workspace=staging";
    let refused = two.ask("POST", keys, &json!({"name": "own", "value": own}));
    assert_eq!(refused.code(), "409 write-key-taken", "{}", refused.text());
    // And the other way round.
    let made = two.done("POST", keys, &json!({"name": "mobile"}));
    let made = made["key"].as_str().unwrap().to_owned();
    assert_eq!(send(&two.server, &made, "a").status, 200);
    two.workspace.write("sources/app.yaml", &format!("kind: http\nwrite_key: {made}\n"));
    let refused = two.ask("POST", "/admin/reload", &json!({}));
    assert_eq!(refused.code(), "422 problems", "{}", refused.text());
    assert!(refused.text().contains("workspace staging"), "{}", refused.text());
    let TwoEnvironments { workspace, server, .. } = two;
    server.stop();
    let said = workspace.try_serve_with(&[]).err().unwrap();
    assert!(said.contains("made over the API as well"), "{said}");
    std::fs::remove_file(workspace.path().join("sources/app.yaml")).unwrap();
    staging_source(&workspace, &own, "");
    let said = workspace.try_serve_with(&[]).err().unwrap();
    assert!(said.contains("is the same as"), "{said}");
    staging_source(&workspace, STAGING_KEY, "");
    workspace.serve().stop();
    assert_eq!(ids(&staging(&workspace)), ["a"]);
}

#[test]
fn a_role_in_one_environment_is_none_in_another() {
    let two = TwoEnvironments::new();
    let viewer = two.user("vera", ("staging", "viewer"));
    let chief = two.user("carl", ("staging", "admin"));
    for path in ["/api/v1/objects/source/web", "/api/v1/running", "/api/v1/sources/web/write-keys"] {
        for who in [&viewer, &chief] {
            let staged = who.ask("GET", &format!("{path}?workspace=staging"), b"");
            assert_eq!(staged.status, 200, "{path}: {}", staged.text());
            assert_eq!(who.ask("GET", path, b"").status, 404, "{path}");
        }
    }
    assert_eq!(viewer.get("/api/v1/objects/source")["objects"], json!([]));
    for (method, path) in [
        ("POST", "/admin/reload"),
        ("GET", "/admin/write-keys"),
        ("GET", "/admin/functions"),
        ("GET", "/admin/destinations"),
        ("POST", "/admin/functions/redact/rollback"),
    ] {
        let of_staging = format!("{path}?workspace=staging");
        assert_eq!(viewer.ask(method, path, b"").status, 403, "{path}");
        assert_eq!(viewer.ask(method, &of_staging, b"").status, 403, "{path}");
        assert_eq!(chief.ask(method, path, b"").status, 403, "{path}");
        assert_ne!(chief.ask(method, &of_staging, b"").status, 403, "{path}");
        // The last one counts, for whoever looks.
        assert_eq!(chief.ask(method, &format!("{of_staging}&workspace=default"), b"").status, 403, "{path}");
    }
    assert_eq!(chief.ask("POST", "/admin/reload?workspace=staging", b"{}").status, 200);
    let changed = chief.post("/api/v1/objects/source/web/pause?workspace=default", &json!({}));
    assert_eq!(changed.status, 404, "{}", changed.text());
    for from in ["default", "staging"] {
        let to = if from == "default" { "staging" } else { "default" };
        let promoted = chief.post("/api/v1/promotions", &json!({"from": from, "to": to, "dry_run": true}));
        assert_eq!(promoted.status, 404, "{}", promoted.text());
    }
    let nowhere = two.ask("GET", "/admin/functions?workspace=nosuch", &Value::Null);
    assert_eq!(nowhere.code(), "404 no-such-environment", "{}", nowhere.text());
    two.server.stop();
}

#[test]
fn a_change_of_one_environment_leaves_the_others_as_they_are() {
    let two = TwoEnvironments::new();
    assert_eq!(send(&two.server, &two.server.key, "a").status, 200);
    let before = two.admin.get("/api/v1/running");
    two.done("POST", "/api/v1/objects/sync/web-to-warehouse/pause?workspace=staging", &Value::Null);
    staging_source(&two.workspace, STAGING_KEY, "rate: 100/s\n");
    let reloaded = two.done("POST", "/admin/reload?workspace=staging", &json!({}));
    assert_eq!(reloaded["changed"][0]["key"], "web", "{reloaded}");
    assert_eq!(send(&two.server, STAGING_KEY, "b").status, 200);
    assert_eq!(send(&two.server, &two.server.key, "c").status, 200);
    until("both of its own events are delivered", || {
        two.workspace.status()["syncs"]["web-to-warehouse"]["delivered"] == 2
    });
    let after = two.admin.get("/api/v1/running");
    for field in ["revision", "since", "catalog_revision", "behind"] {
        assert_eq!(before[field], after[field], "{field}");
    }
    let paused = two.workspace.status()["environments"]["staging"]["syncs"]["web-to-warehouse"].clone();
    assert_eq!(paused["delivered"].as_u64().unwrap_or(0), 0, "{paused}");
    // A source that is paused there is open here, under the same name.
    two.done("POST", "/api/v1/objects/source/web/pause?workspace=staging", &Value::Null);
    assert_eq!(send(&two.server, STAGING_KEY, "d").status, 503);
    assert_eq!(send(&two.server, &two.server.key, "e").status, 200);
    two.done("POST", "/api/v1/objects/source/web/resume?workspace=staging", &Value::Null);
    two.done("POST", "/api/v1/objects/sync/web-to-warehouse/resume?workspace=staging", &Value::Null);
    let TwoEnvironments { workspace, server, .. } = two;
    server.stop();
    assert_eq!(ids(&workspace.warehouse()), ["a", "c", "e"]);
    assert_eq!(ids(&staging(&workspace)), ["b"]);
}

#[test]
fn a_signal_has_every_folder_read_again() {
    let two = TwoEnvironments::new();
    let of = |path: &str| two.admin.get(path)["revision"].clone();
    let paths = ["/api/v1/running", "/api/v1/running?workspace=staging"];
    let before = paths.map(of);
    staging_source(&two.workspace, STAGING_KEY, "functions: []\nrate: 50/s\n");
    two.workspace.append("sources/web.yaml", "\nrate: 50/s\n");
    two.server.signal("HUP");
    for (path, before) in paths.into_iter().zip(before) {
        within(PATIENCE, "the folder is read again", || {
            let now = of(path);
            if now == before { Err(now.to_string()) } else { Ok(()) }
        });
    }
    two.server.stop();
}

#[test]
fn what_is_wrong_with_one_environment_starts_none() {
    let workspace = two_folders();
    let path = workspace.path().to_str().unwrap().to_owned();
    workspace.write("environments/staging/tidegate.yaml", "listen: 127.0.0.1:1\n");
    workspace.write("environments/staging/sources/web.yaml", "kind: htpp\n");
    let checked = run(&["check", &path]);
    assert_eq!(checked.status.code(), Some(3), "{}", text(&checked));
    for words in ["environments/staging/tidegate.yaml", "settings are the server's", "htpp"] {
        assert!(text(&checked).contains(words), "{words}: {}", text(&checked));
    }
    let served = run(&["serve", &path, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    assert_eq!(served.status.code(), Some(3), "{}", text(&served));
    std::fs::remove_file(workspace.path().join("environments/staging/tidegate.yaml")).unwrap();
    staging_source(&workspace, STAGING_KEY, "");
    workspace.serve().stop();
    // Damaged data of one environment: it is named, and the other is not started without it.
    let state = workspace.data().join("environments/staging/state.db");
    let whole = std::fs::read(&state).unwrap();
    std::fs::write(&state, vec![7; whole.len()]).unwrap();
    let said = workspace.try_serve_with(&[]).err().unwrap();
    assert!(said.contains("environment staging"), "{said}");
    std::fs::write(&state, whole).unwrap();
    workspace.serve().stop();
}

/// Clients that send with a key until the server is gone, and note what was answered.
fn send_to_the_end(
    server: &Server,
    (key, word): (&str, &str),
    acked: &Arc<Mutex<HashSet<String>>>,
) -> Vec<std::thread::JoinHandle<()>> {
    let clients = (0..2).map(|client| {
        let (address, key, acked) = (server.address.clone(), basic(key), Arc::clone(acked));
        let word = word.to_owned();
        std::thread::spawn(move || {
            for n in 0.. {
                let ids: Vec<String> = (0..3).map(|e| format!("{word}-{client}-{n}-{e}")).collect();
                let events: Vec<Value> = ids.iter().map(|id| track(id)).collect();
                let body = json!({ "batch": events }).to_string();
                match try_request(&address, "POST", "/v1/batch", &[("authorization", &key)], body.as_bytes()) {
                    Ok(reply) if reply.status == 200 => acked.lock().unwrap().extend(ids),
                    _ => return,
                }
            }
        })
    });
    clients.collect()
}

#[test]
fn a_server_that_is_killed_under_load_loses_and_doubles_nothing_of_either() {
    let workspace = two_folders();
    let (own, staged) = (Arc::default(), Arc::default());
    for cycle in 0..3 {
        let server = workspace.serve();
        let mut clients = send_to_the_end(&server, (&server.key, &format!("own{cycle}")), &own);
        clients.extend(send_to_the_end(&server, (STAGING_KEY, &format!("staged{cycle}")), &staged));
        let answered = |acked: &Arc<Mutex<HashSet<String>>>| acked.lock().unwrap().len();
        let (own_before, staged_before) = (answered(&own), answered(&staged));
        until("events of both are answered", || {
            answered(&own) >= own_before + 150 && answered(&staged) >= staged_before + 150
        });
        server.kill();
        for client in clients {
            client.join().unwrap();
        }
    }
    workspace.serve().stop();
    for (warehouse, acked, other) in [(workspace.warehouse(), &own, "staged"), (staging(&workspace), &staged, "own")] {
        let found = ids(&warehouse);
        let there: HashSet<&str> = found.iter().map(String::as_str).collect();
        assert_eq!(found.len(), there.len(), "an event is there twice");
        let acked = acked.lock().unwrap();
        let lost: Vec<&String> = acked.iter().filter(|id| !there.contains(id.as_str())).take(5).collect();
        assert!(lost.is_empty(), "answered with 200 and not there: {lost:?}");
        assert!(!found.iter().any(|id| id.starts_with(other)), "an event of the other environment is there");
    }
}

#[test]
fn a_sync_is_tried_with_the_events_of_its_own_environment() {
    let two = TwoEnvironments::new();
    assert_eq!(send(&two.server, &two.server.key, "own-1").status, 200);
    assert_eq!(send(&two.server, STAGING_KEY, "staged-1").status, 200);
    let of_staging = "/api/v1/objects/sync/web-to-warehouse/test?workspace=staging";
    let tried = two.done("POST", of_staging, &json!({"count": 5}));
    let events = tried["events"].as_array().unwrap();
    let ids: Vec<&Value> = events.iter().map(|event| &event["message_id"]).collect();
    assert_eq!(ids, [&json!("staged-1")], "{tried}");
    assert_eq!(tried["connections"][0]["destination"], "warehouse", "{tried}");
    let new = json!({"spec": {"source": "web", "destination": "warehouse", "schema": "other"}, "count": 0});
    let tried = two.done("POST", "/api/v1/objects/sync/not-made/test?workspace=staging", &new);
    assert_eq!(tried["events"], json!([]), "{tried}");
    // Of a workspace that no environment runs there is nothing to try.
    two.make("archive", ("destination", "db"), &json!({"kind": "sqlite"}));
    let refused = two.ask("POST", "/api/v1/objects/destination/db/test?workspace=archive", &json!({}));
    assert_eq!(refused.code(), "422 not-this-way", "{}", refused.text());
    two.server.stop();
}

#[test]
fn init_writes_two_environments_that_run_side_by_side() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("w");
    let written = run(&["init", path.to_str().unwrap(), "--environments", "--json"]);
    assert!(written.status.success(), "{}", text(&written));
    let written: Value = serde_json::from_slice(&written.stdout).unwrap();
    let (own, staging) = (&written["write_key"], &written["environments"]["staging"]);
    assert!(own.is_string() && staging.is_string() && own != staging, "{written}");
    let source = path.join("environments/staging/sources/web.yaml");
    assert!(std::fs::read_to_string(&source).unwrap().contains(staging.as_str().unwrap()));
    assert_eq!(std::fs::metadata(&source).unwrap().permissions().mode() & 0o777, 0o600);
    let check = run(&["check", path.to_str().unwrap(), "--json"]);
    assert!(check.status.success(), "{}", text(&check));
    let check: Value = serde_json::from_slice(&check.stdout).unwrap();
    assert!(check["environments"]["staging"].is_object(), "{check}");
}
