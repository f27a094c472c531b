//! Drafts are approved by somebody else.

use serde_json::{Value, json};

use super::served;

#[test]
fn a_draft_of_one_is_approved_by_another_and_shows_what_it_would_do() {
    let (_workspace, server, admin) = served();
    let author = admin.user(&server, "dora", Some("draft_editor"));
    let editor = admin.user(&server, "ed", Some("editor"));
    let viewer = admin.user(&server, "vera", Some("viewer"));
    let spec = json!({"name": "geo", "spec": {"kind": "table", "entries": {}}});
    let refused = author.ask("POST", "/api/v1/objects/lookup", &spec);
    assert_eq!(refused.code(), "403 forbidden");
    assert!(refused.json()["fix"].as_str().unwrap().contains("/api/v1/drafts"), "{}", refused.text());
    let asked = json!({"title": "a table", "edits": [{"action": "create", "kind": "lookup", "content": spec}]});
    let proposed = author.ask("POST", "/api/v1/drafts", &asked);
    assert_eq!(proposed.status, 200, "{}", proposed.text());
    let draft = proposed.json();
    assert_eq!((&draft["state"], &draft["objects"][0]["action"]), (&json!("open"), &json!("created")));
    let path = format!("/api/v1/drafts/{}", draft["id"].as_str().unwrap());
    assert_eq!(viewer.get(&path)["title"], "a table");
    assert_eq!(author.ask("POST", &format!("{path}/approve"), &Value::Null).code(), "403 own-draft");
    assert_eq!(viewer.ask("POST", &format!("{path}/approve"), &Value::Null).code(), "403 forbidden");
    assert_eq!(admin.ask("POST", &format!("{path}/approve"), &Value::Null).code(), "403 person");
    assert_eq!(admin.ask("GET", "/api/v1/objects/lookup/geo", &Value::Null).code(), "404 no-such-object");
    let approved = editor.ask("POST", &format!("{path}/approve"), &Value::Null);
    assert_eq!(approved.status, 200, "{}", approved.text());
    assert_eq!(admin.get("/api/v1/objects/lookup/geo")["spec"], json!({"kind": "table", "entries": {}}));
    assert_eq!(editor.ask("POST", &format!("{path}/close"), &Value::Null).code(), "409 draft-decided");
    server.stop();
}

#[test]
fn a_draft_whose_object_has_changed_is_stale_and_one_that_is_taken_back_is_over() {
    let (_workspace, server, admin) = served();
    let author = admin.user(&server, "dora", Some("draft_editor"));
    let editor = admin.user(&server, "ed", Some("editor"));
    admin.made("lookup", "geo", json!({"kind": "table", "entries": {}}));
    let content = json!({"name": "geo", "spec": {"kind": "mmdb"}});
    let edit = json!({"action": "update", "kind": "lookup", "object": "geo", "content": content});
    let asked = json!({"title": "another table", "edits": [edit]});
    let propose = || author.ask("POST", "/api/v1/drafts", &asked).json()["id"].as_str().unwrap().to_owned();
    let (first, second) = (propose(), propose());
    let closed = author.ask("POST", &format!("/api/v1/drafts/{first}/close"), &Value::Null);
    assert_eq!(closed.json()["state"], "withdrawn", "{}", closed.text());
    let changed = json!({"name": "geo", "spec": {"kind": "table", "entries": {"a": 1}}});
    assert_eq!(editor.ask("PUT", "/api/v1/objects/lookup/geo", &changed).status, 200);
    assert_eq!(author.get(&format!("/api/v1/drafts/{second}"))["stale"], json!({"kind": "lookup", "name": "geo"}));
    let approved = editor.ask("POST", &format!("/api/v1/drafts/{second}/approve"), &Value::Null);
    assert_eq!(approved.code(), "409 draft-stale");
    let lacking = json!({"title": "x", "edits": [{"action": "update", "kind": "lookup", "object": "geo"}]});
    let lacking = author.ask("POST", "/api/v1/drafts", &lacking);
    assert_eq!((lacking.code(), &lacking.json()["field"]), ("422 body".to_owned(), &json!("edits[0].content")));
    server.stop();
}
