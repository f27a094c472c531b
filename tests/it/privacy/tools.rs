//! The tools behind destination plugins are asked to delete whom a job forgets: each once, whoever dies meanwhile, and no id stays.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::{MARKER, done, forget, track, with_marker};
use crate::delivery::Route;
use crate::support::admin::Admin;
use crate::support::far::{Act, Far};
use crate::support::http::try_request;
use crate::support::{Workspace, guests};

const PATH: &str = "/forget";

/// A workspace whose events go to a webhook that is told of people to forget, with these settings besides its endpoint.
fn route(far: &Far, settings: &str) -> Route {
    let manifest = json!({
        "name": "webhook", "kind": "destination", "forget": true, "settings": {"type": "object"},
        "hosts": ["{{settings.endpoint}}"], "batch": {"events_max": 100, "age_max": "5 ms"},
        "retry": {"age_max": "10 min", "pause_min": "10 ms", "pause_max": "80 ms"},
    });
    let workspace = Workspace::new();
    let component = guests::destination("destination/webhook", &manifest);
    std::fs::write(workspace.path().join("webhook.wasm"), component).unwrap();
    let origin = far.origin();
    workspace.write(
        "destinations/crm.yaml",
        &format!(
            "kind: plugin\ncomponent: webhook.wasm\nsettings: {{endpoint: \"{origin}\"{settings}}}\n\
             allow_hosts: [\"{origin}\"]\nallow_private_hosts: [127.0.0.1]\n"
        ),
    );
    workspace.write("syncs/web-to-crm.yaml", "source: web\ndestination: crm\n");
    Route { workspace }
}

/// Whom the far side was asked to delete.
fn deleted(far: &Far) -> Vec<Value> {
    far.seen().iter().filter(|received| received.path == PATH).map(|received| received.json()).collect()
}

fn of_users(users: &[&str]) -> Value {
    let named: Vec<Value> = users.iter().map(|user| json!({"kind": "user", "value": user})).collect();
    json!({ "subjects": named })
}

/// What is left of the marker in the data directory, but for what was delivered into the warehouse.
fn left_of_marker(workspace: &Workspace) -> Vec<std::path::PathBuf> {
    let found = with_marker(&workspace.data());
    found.into_iter().filter(|path| !path.to_string_lossy().contains("warehouse.db")).collect()
}

#[test]
fn a_tool_is_asked_about_each_subject_and_no_id_is_left() {
    let far = Far::new(|_| Act::status(200));
    let route = route(&far, ", forget: /forget");
    let token = route.workspace.admin_token();
    let server = route.workspace.serve();
    let admin = Admin::new(&server, &token);
    assert_eq!(server.batch(&[track(1, MARKER), track(2, "other")]).status, 200);
    route.wait_for_end(2);
    let digest = "sha256:".to_owned() + &"0a".repeat(32);
    let order = json!({"subjects": [
        {"kind": "user", "value": MARKER}, {"kind": "anonymous", "value": "visitor-1"},
        {"kind": "trait", "name": "email", "value": format!("{MARKER}@example.com")},
        {"kind": "trait", "name": "email", "value": digest},
    ]});
    // A dry run says who would be asked, and asks nobody.
    let mut dry = order.clone();
    dry["dry_run"] = json!(true);
    let tried = forget(&admin, &dry);
    let tool = &tried["report"]["tools"][0];
    assert_eq!(
        (&tool["destination"], &tool["state"], &tool["asked"]),
        (&json!("crm"), &json!("would-ask"), &json!(4)),
        "{tried}"
    );
    assert_eq!(deleted(&far), Vec::<Value>::new());
    let job = forget(&admin, &order);
    let tool = &job["report"]["tools"][0];
    assert_eq!((&tool["state"], &tool["asked"], &tool["failed"]), (&json!("asked"), &json!(3), &json!(0)), "{job}");
    // By a digest no tool knows anybody.
    assert_eq!(tool["left_out"], 1, "{job}");
    assert!(tool["reason"].as_str().unwrap().contains("digest"), "{job}");
    let mut asked = deleted(&far);
    asked.sort_by_key(Value::to_string);
    let mut expected = vec![
        json!({"type": "forget", "anonymousId": "visitor-1"}),
        json!({"type": "forget", "traits": {"email": format!("{MARKER}@example.com")}}),
        json!({"type": "forget", "userId": MARKER}),
    ];
    expected.sort_by_key(Value::to_string);
    assert_eq!(asked, expected);
    assert!(!job.to_string().contains(MARKER), "{job}");
    server.stop();
    assert_eq!(left_of_marker(&route.workspace), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_tool_that_is_away_for_a_while_is_asked_again() {
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tries);
    let far = Far::new(move |received| {
        // More tries than there are in one go.
        let is_away = received.path == PATH && counted.fetch_add(1, Ordering::SeqCst) < 5;
        Act::status(if is_away { 503 } else { 200 })
    });
    let route = route(&far, ", forget: /forget");
    let token = route.workspace.admin_token();
    let server = route.workspace.serve();
    let job = forget(&Admin::new(&server, &token), &of_users(&[MARKER]));
    let tool = &job["report"]["tools"][0];
    assert_eq!((&tool["state"], &tool["asked"]), (&json!("asked"), &json!(1)), "{job}");
    server.stop();
}

#[test]
fn what_a_tool_refuses_is_told_without_naming_anybody() {
    let far = Far::new(|received| {
        if received.path == PATH && received.text().contains(MARKER) {
            Act::Reply(422, Vec::new(), format!(r#"{{"error": "no {MARKER} here"}}"#).into_bytes())
        } else {
            Act::status(200)
        }
    });
    let route = route(&far, ", forget: /forget");
    let token = route.workspace.admin_token();
    let server = route.workspace.serve();
    let job = forget(&Admin::new(&server, &token), &of_users(&[MARKER, "someone-2"]));
    let tool = &job["report"]["tools"][0];
    assert_eq!((&tool["state"], &tool["asked"], &tool["failed"]), (&json!("failed"), &json!(1), &json!(1)), "{job}");
    assert!(tool["reason"].as_str().unwrap().contains("not kept"), "{job}");
    assert!(!job.to_string().contains(MARKER), "{job}");
    server.stop();
    assert_eq!(left_of_marker(&route.workspace), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_tool_that_cannot_be_asked_is_named_with_what_to_do() {
    let far = Far::new(|_| Act::status(200));
    // The plugin has the export, and its settings do not ask for it.
    let quiet = route(&far, "");
    let token = quiet.workspace.admin_token();
    let server = quiet.workspace.serve();
    let job = forget(&Admin::new(&server, &token), &of_users(&[MARKER]));
    let tool = &job["report"]["tools"][0];
    assert_eq!((&tool["state"], &tool["left_out"]), (&json!("not-possible"), &json!(1)), "{job}");
    server.stop();
    // This one was built without it, as all were before there was one.
    let old = Route::new(&far);
    let token = old.workspace.admin_token();
    let server = old.workspace.serve();
    let admin = Admin::new(&server, &token);
    let tried = forget(&admin, &json!({"subjects": [{"kind": "user", "value": MARKER}], "dry_run": true}));
    assert_eq!(tried["report"]["tools"][0]["state"], "not-possible", "{tried}");
    let job = forget(&admin, &of_users(&[MARKER]));
    let tool = &job["report"]["tools"][0];
    assert_eq!(tool["state"], "not-possible", "{job}");
    assert!(tool["reason"].as_str().unwrap().contains("by hand"), "{job}");
    server.stop();
    assert_eq!(deleted(&far), Vec::<Value>::new());
    assert_eq!(left_of_marker(&old.workspace), Vec::<std::path::PathBuf>::new());
}

#[test]
fn killed_when_a_tool_was_asked_and_nobody_knows_it() {
    let far = Far::new(|_| Act::status(200));
    let route = route(&far, ", forget: /forget");
    let token = route.workspace.admin_token();
    let mut server = route.workspace.serve_with(&["forget_asked=return"]);
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str())];
    let order = of_users(&[MARKER]);
    // Whether the answer comes before the end does not matter.
    let _ = try_request(&server.admin, "POST", "/api/v1/privacy/forget", &headers, order.to_string().as_bytes());
    server.wait();
    drop(server);
    let server = route.workspace.serve();
    let admin = Admin::new(&server, &token);
    let job = done(&admin, &admin.get("/api/v1/privacy/jobs")["jobs"][0]["id"]);
    let tool = &job["report"]["tools"][0];
    assert_eq!((&tool["state"], &tool["asked"]), (&json!("asked"), &json!(1)), "{job}");
    server.stop();
    // Once more is no harm; that it was not asked would be.
    let person = json!({"type": "forget", "userId": MARKER});
    assert_eq!(deleted(&far), [person.clone(), person]);
    assert_eq!(left_of_marker(&route.workspace), Vec::<std::path::PathBuf>::new());
}
