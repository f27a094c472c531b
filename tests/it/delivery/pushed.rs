//! Destinations that are pushed: what is live is what a sync sends with, from the next batch on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};

use super::{Route, event, ids, manifest, send};
use crate::support::admin::Admin;
use crate::support::far::{Act, Far};
use crate::support::waiting::until;
use crate::support::{Server, Workspace, guests, run};

/// A workspace that grants the plugin `crm` its far side and names no component.
fn granting(far: &Far) -> Route {
    let (workspace, origin) = (Workspace::new(), far.origin());
    workspace.write(
        "destinations/crm.yaml",
        &format!("kind: plugin\nallow_hosts: [\"{origin}\"]\nallow_private_hosts: [127.0.0.1]\n"),
    );
    workspace.write("syncs/web-to-crm.yaml", "source: web\ndestination: crm\n");
    Route { workspace }
}

/// A version of the plugin `crm`, told apart by `note`.
fn version(note: &str) -> Vec<u8> {
    let mut manifest = manifest();
    (manifest["name"], manifest["description"]) = ("crm".into(), note.into());
    // A machine that is starved answers late: nothing is sent again for that here.
    manifest["traffic"]["timeout"] = "60 s".into();
    guests::destination("hostile/destination", &manifest)
}

/// `tidegate destination ..` against `server`: the exit code, and all that it said.
fn tidegate(server: &Server, token: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let url = format!("http://{}", server.admin);
    let output = run(&[&["destination"], arguments, &["--server", &url, "--token", token]].concat());
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

/// Pushes a version whose requests go to `endpoint`.
fn push(route: &Route, server: &Server, token: &str, note: &str, endpoint: &str) -> (Option<i32>, String) {
    push_with(route, server, token, note, &json!({"endpoint": endpoint, "key": "hunter2hunter2"}))
}

fn push_with(route: &Route, server: &Server, token: &str, note: &str, settings: &Value) -> (Option<i32>, String) {
    let file = |name: &str, bytes: &[u8]| {
        let path = route.workspace.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let component = file(&format!("{note}.wasm"), &version(note));
    let settings = file("settings.json", settings.to_string().as_bytes());
    tidegate(server, token, &["push", &component, "--settings", &settings])
}

#[test]
fn a_sync_sends_with_what_is_live_and_what_waits_goes_on_with_the_next_version() {
    let far = Far::new(|received| Act::status(if received.path.starts_with("/bad") { 503 } else { 200 }));
    let route = granting(&far);
    let check = run(&["check", route.workspace.path().to_str().unwrap()]);
    assert_eq!(check.status.code(), Some(0), "{}", String::from_utf8_lossy(&check.stderr));
    let token = route.workspace.admin_token();
    let server = route.workspace.serve();
    let at = |place: &str| -> Vec<String> { ids(far.seen().iter().filter(|request| request.path == place)) };

    // Nothing is live: the sync says so, and what comes waits.
    send(&server, &[event("a", "u", json!({}))]);
    route.wait("the sync says what it waits for", |sync| {
        sync["failure"].as_str().is_some_and(|failure| failure.contains("no version of destination crm is live yet"))
    });
    assert!(far.seen().is_empty());

    // A version whose far side is away: what it could not deliver is pending.
    let (code, said) = push(&route, &server, &token, "one", &format!("{}/bad", far.origin()));
    assert!(code == Some(0) && said.contains("is live for sync web-to-crm"), "{said}");
    route.wait("the event is tried and deferred", |sync| sync["pending"] == 1 && sync["failure"].is_null());

    // The next version takes over, what waits included.
    let (code, said) = push(&route, &server, &token, "two", &format!("{}/two", far.origin()));
    assert_eq!(code, Some(0), "{said}");
    route.wait_for_end(1);
    send(&server, &[event("b", "u", json!({}))]);
    route.wait_for_end(2);
    assert_eq!(at("/two/events"), ["a", "b"]);

    let two =
        Admin::new(&server, &token).get("/admin/destinations/crm")["live"]["sha256"].as_str().unwrap()[..12].to_owned();

    // What the workspace does not grant never goes live.
    let (code, said) = push(&route, &server, &token, "three", "http://127.0.0.1:9/x");
    assert!(code == Some(1) && said.contains("the workspace does not grant destination \"crm\""), "{said}");
    assert!(said.contains("is uploaded, and not live"), "{said}");

    // Back, and forth again.
    let (code, said) = tidegate(&server, &token, &["rollback", "crm"]);
    assert!(code == Some(0) && said.contains("is live again"), "{said}");
    send(&server, &[event("c", "u", json!({}))]);
    route.wait("the version before carries again", |sync| sync["pending"] == 1);
    assert!(at("/bad/events").contains(&"c".to_owned()));
    // What was rolled back is not gone back to, but it can be named.
    let (code, said) = tidegate(&server, &token, &["rollback", "crm"]);
    assert!(code == Some(1) && said.contains("no earlier version"), "{said}");
    let settings = route.workspace.dir.path().join("two.json");
    let of_two = json!({"endpoint": format!("{}/two", far.origin()), "key": "hunter2hunter2"});
    std::fs::write(&settings, of_two.to_string()).unwrap();
    let (code, said) = tidegate(&server, &token, &["live", "crm", &two, "--settings", settings.to_str().unwrap()]);
    assert!(code == Some(0) && said.contains("is live"), "{said}");
    route.wait_for_end(3);
    server.stop();

    // A start takes what is live.
    let server = route.workspace.serve();
    send(&server, &[event("d", "u", json!({}))]);
    route.wait_for_end(4);
    assert_eq!(at("/two/events"), ["a", "b", "c", "d"]);
    server.stop();

    // A check without a server sees what is live, and that the file does not grant it any more.
    route.workspace.write("destinations/crm.yaml", "kind: plugin\nallow_hosts: [https://other.example]\n");
    let check = run(&["check", route.workspace.path().to_str().unwrap()]);
    let said = String::from_utf8_lossy(&check.stderr).into_owned();
    assert!(check.status.code() == Some(3) && said.contains("which was pushed and is live: "), "{said}");
}

#[test]
fn a_pushed_version_is_given_the_secrets_that_its_settings_name_and_a_rotated_one_at_once() {
    let far = Far::new(|_| Act::status(200));
    let route = granting(&far);
    let token = route.workspace.admin_token();
    let server = route.workspace.serve();
    let admin = Admin::new(&server, &token);
    let keep = |value: &str| {
        let reply = admin.ask("PUT", "/api/v1/secrets/crm-key", json!({ "value": value }).to_string().as_bytes());
        assert!(reply.status < 300, "{}", reply.text());
    };
    let settings = json!({"endpoint": format!("{}/in", far.origin()), "key": "secret:crm-key"});
    let (code, said) = push_with(&route, &server, &token, "one", &settings);
    assert!(code == Some(1) && said.contains("the secret \"crm-key\", which is not there"), "{said}");

    keep("first-of-crm-0001");
    let (code, said) = push_with(&route, &server, &token, "one", &settings);
    assert_eq!(code, Some(0), "{said}");
    send(&server, &[event("a", "u", json!({}))]);
    route.wait_for_end(1);
    keep("second-of-crm-0002");
    send(&server, &[event("b", "u", json!({}))]);
    route.wait_for_end(2);
    let used = admin.get("/api/v1/objects/secret/crm-key/used-by");
    assert_eq!(used["objects"], json!([{"kind": "destination", "name": "crm"}]), "{used}");
    let refused = admin.ask("DELETE", "/api/v1/objects/secret/crm-key", b"");
    assert_eq!(refused.status, 409, "{}", refused.text());
    let shown = admin.get("/admin/destinations/crm").to_string();
    assert!(!shown.contains("of-crm-"), "{shown}");
    server.stop();

    let server = route.workspace.serve();
    send(&server, &[event("c", "u", json!({}))]);
    route.wait_for_end(3);
    server.stop();
    let keys: Vec<_> =
        far.seen().iter().map(|request| request.header("x-key").unwrap_or_default().to_owned()).collect();
    assert_eq!(keys, ["first-of-crm-0001", "second-of-crm-0002", "second-of-crm-0002"]);
}

#[test]
fn versions_change_hands_under_load_and_no_event_is_lost_or_doubled() {
    let taken = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&taken);
    let far = Far::new(move |received| {
        counted.fetch_add(ids([received]).len() as u64, Ordering::SeqCst);
        Act::status(200)
    });
    let route = granting(&far);
    let token = route.workspace.admin_token();
    let server = route.workspace.serve();
    let admin = Admin::new(&server, &token);
    let shas = ["one", "two"].map(|note| {
        let (code, said) = push(&route, &server, &token, note, &format!("{}/{note}", far.origin()));
        assert_eq!(code, Some(0), "{said}");
        admin.get("/admin/destinations/crm")["live"]["sha256"].clone()
    });
    let stop = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let mut sent = 0;
            while !stop.load(Ordering::Relaxed) {
                // A little ahead of the far side, so that batches are always on their way.
                until("the far side takes events", || sent <= taken.load(Ordering::SeqCst) + 200);
                let events: Vec<Value> = (0..20).map(|n| event(&format!("m{}", sent + n), "u", json!({}))).collect();
                send(&server, &events);
                sent += 20;
            }
            sent
        });
        for turn in 0..20 {
            let place = ["one", "two"][turn % 2];
            let settings = json!({"endpoint": format!("{}/{place}", far.origin()), "key": "hunter2hunter2"});
            let live = json!({"sha256": shas[turn % 2], "settings": settings});
            let reply = admin.post("/admin/destinations/crm/live", &live);
            assert_eq!(reply.status, 200, "{}", reply.text());
            // The version that is active by now delivers before it changes again.
            let place = format!("/{place}/events");
            let before = far.seen().len();
            until("it delivers", || far.seen()[before..].iter().any(|request| request.path == place));
        }
        stop.store(true, Ordering::Relaxed);
        sending.join().unwrap()
    });
    let sync = route.wait_for_end(sent);
    assert_eq!((&sync["delivered"], &sync["pending"]), (&json!(sent), &json!(0)), "{sync}");
    let mut times: BTreeMap<String, u32> = BTreeMap::new();
    for id in ids(&far.seen()) {
        *times.entry(id).or_default() += 1;
    }
    assert_eq!(times.len() as u64, sent);
    assert!(times.values().all(|times| *times == 1), "an event was sent twice");
}

#[test]
fn a_push_that_no_sync_uses_says_what_to_write() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let route = Route { workspace };
    let (code, said) = push(&route, &server, &token, "one", "https://crm.example");
    assert!(code == Some(0) && said.contains("is kept; no sync uses it"), "{said}");
    assert!(said.contains("destinations/crm.yaml") && said.contains("`destination: crm`"), "{said}");
    let (code, said) = tidegate(&server, &token, &["list"]);
    assert!(code == Some(0) && said.contains("crm"), "{said}");
    let (code, said) = tidegate(&server, &token, &["logs", "nosuch"]);
    assert!(code == Some(1) && said.contains("there is no destination \"nosuch\""), "{said}");
    // A destination is not tried beside itself: that is not offered.
    let admin = Admin::new(&server, &token);
    assert_eq!(admin.post("/admin/destinations/crm/canary", &json!({"off": true})).status, 404);
}

#[test]
fn a_component_of_the_file_is_the_first_version_until_one_is_pushed() {
    let far = Far::new(|_| Act::status(200));
    let route = Route::new(&far);
    let token = route.workspace.admin_token();
    let server = route.workspace.serve_with(&["destinations_follow=sleep(1000)"]);
    send(&server, &[event("a", "u", json!({}))]);
    route.wait_for_end(1);
    let (code, said) = push(&route, &server, &token, "one", &format!("{}/pushed", far.origin()));
    assert_eq!(code, Some(0), "{said}");
    // The answer of a push comes when the version is in place: not one event goes the old way any more.
    send(&server, &[event("b", "u", json!({}))]);
    route.wait_for_end(2);
    assert_eq!(far.seen().last().unwrap().path, "/pushed/events");
}

#[test]
fn what_a_destination_logs_is_shown_and_chosen_by_level_and_text() {
    let far = Far::new(|_| Act::status(200));
    let route = granting(&far);
    let token = route.workspace.admin_token();
    let server = route.workspace.serve();
    let (code, said) = push(&route, &server, &token, "one", &format!("{}/one", far.origin()));
    assert_eq!(code, Some(0), "{said}");
    send(&server, &[event("a", "u", json!({"attack": "log", "text": "look at me"}))]);
    route.wait_for_end(1);
    let (code, said) = tidegate(&server, &token, &["logs", "crm", "--level", "info"]);
    assert!(code == Some(0) && said.contains("info look at me"), "{said}");
    let (_, said) = tidegate(&server, &token, &["logs", "crm", "--text", "nowhere"]);
    assert!(said.contains("no lines of destination crm"), "{said}");
    let (_, said) = tidegate(&server, &token, &["logs", "crm", "--level", "error"]);
    assert!(said.contains("no lines of destination crm"), "{said}");
}

#[test]
fn a_version_that_has_most_of_its_events_refused_is_said_by_push_versions_status_and_log() {
    let far = Far::new(|_| Act::status(400));
    let route = granting(&far);
    let token = route.workspace.admin_token();
    let server = route.workspace.serve();
    let (code, said) = push(&route, &server, &token, "one", &far.origin());
    assert_eq!(code, Some(0), "{said}");
    let mut sent = 0;
    let mut more = || {
        let events: Vec<_> = (sent..sent + 20).map(|n| event(&format!("m{n}"), "u", json!({}))).collect();
        send(&server, &events);
        sent += 20;
        route.wait_for_end(sent);
    };
    more();
    let status = || {
        let output = run(&["status", route.workspace.path().to_str().unwrap()]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    until("the status says it", || status().contains("failing: destination crm: 20 of 20 events"));
    let (_, said) = tidegate(&server, &token, &["versions", "crm"]);
    assert!(said.contains("warning:") && said.contains("destination rollback crm"), "{said}");
    assert!(said.contains("refused"), "{said}");
    // The next version is looked at while it is pushed.
    let (code, said) = std::thread::scope(|scope| {
        let pushing = scope.spawn(|| {
            let component = route.workspace.dir.path().join("two.wasm");
            std::fs::write(&component, version("two")).unwrap();
            tidegate(&server, &token, &["push", component.to_str().unwrap(), "--watch", "120"])
        });
        while !pushing.is_finished() {
            more();
        }
        pushing.join().unwrap()
    });
    assert!(code == Some(0) && said.contains("warning:") && said.contains("events that it saw"), "{said}");
    let log = server.stop();
    assert!(log.contains("a destination fails most of its events"), "{log}");
}
