//! Drafts are approved by somebody else.

use rusqlite::Connection;
use serde_json::{Value, json};

use super::commands::{ServerCommands, text};
use super::served;
use crate::reliability::wait;
use crate::support::basic;
use crate::support::http::request;

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
    let content = json!({"name": "geo", "spec": {"kind": "table", "entries": {"b": 2}}});
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

#[test]
fn what_can_never_be_approved_is_refused_to_its_author() {
    let (_workspace, server, admin) = served();
    let author = admin.user(&server, "dora", Some("draft_editor"));
    let viewer = admin.user(&server, "vera", Some("viewer"));
    let empty = author.ask("POST", "/api/v1/drafts", &json!({"title": "nothing", "edits": []}));
    assert_eq!((empty.code(), &empty.json()["field"]), ("422 body".to_owned(), &json!("edits")), "{}", empty.text());
    let content = json!({"name": "geo", "spec": {"kind": "tabel", "entries": {}}});
    let wrong = json!({"title": "wrong", "edits": [{"action": "create", "kind": "lookup", "content": content}]});
    let refused = author.ask("POST", "/api/v1/drafts", &wrong);
    assert_eq!(refused.code(), "422 problems", "{}", refused.text());
    assert_eq!(refused.json()["problems"][0]["file"], "lookups/geo.yaml (catalog)", "{}", refused.text());
    // Whoever may not propose it learns nothing of what runs.
    assert_eq!(viewer.ask("POST", "/api/v1/drafts", &wrong).code(), "403 forbidden");
    assert_eq!(author.get("/api/v1/drafts")["drafts"], json!([]));
    // The value of a secret is in no draft, and so nobody is told to propose one.
    let secret = author.ask("PUT", "/api/v1/secrets/crm", &json!({"value": "x"}));
    assert_eq!(secret.code(), "403 forbidden", "{}", secret.text());
    assert!(!secret.text().contains("draft"), "{}", secret.text());
    server.stop();
}

#[test]
fn a_draft_is_proposed_by_the_commands_that_would_make_the_change() {
    let (workspace, server, admin) = served();
    let author = ServerCommands::new(&server, &admin.user(&server, "dora", Some("draft_editor")));
    let editor = ServerCommands::new(&server, &admin.user(&server, "ed", Some("editor")));
    let file = workspace.dir.path().join("geo.yaml");
    let file = file.to_str().unwrap();
    std::fs::write(file, "kind: table\nentries: {}\n").unwrap();
    let create = ["object", "create", "lookup", "geo", "-f", file];
    let refused = author.run(&create);
    assert!(!refused.status.success() && text(&refused).contains("--draft TITLE"), "{}", text(&refused));
    let draft = |words: &[&str]| {
        let proposed = author.json(&[words, &["--draft", "a table"]].concat(), 0);
        assert_eq!((&proposed["state"], &proposed["title"]), (&json!("open"), &json!("a table")), "{proposed}");
        editor.json(&["draft", "approve", proposed["id"].as_str().unwrap()], 0);
    };
    draft(&create);
    assert_eq!(admin.get("/api/v1/objects/lookup/geo")["spec"]["entries"], json!({}));
    std::fs::write(file, "kind: table\nentries: {a: 1}\n").unwrap();
    draft(&["object", "update", "lookup", "geo", "-f", file]);
    assert_eq!(admin.get("/api/v1/objects/lookup/geo")["spec"]["entries"], json!({"a": 1}));
    draft(&["object", "delete", "lookup", "geo"]);
    assert_eq!(admin.ask("GET", "/api/v1/objects/lookup/geo", &Value::Null).code(), "404 no-such-object");
    let said = author.run(&[&create[..], &["--draft", "again"]].concat());
    assert!(said.status.success() && text(&said).contains("tidegate draft approve drf_"), "{}", text(&said));
    server.stop();
}

#[test]
fn a_draft_that_ends_a_sync_is_approved_with_what_becomes_of_what_waits() {
    let (workspace, server, admin) = served();
    let author = admin.user(&server, "dora", Some("draft_editor"));
    let editor = admin.user(&server, "ed", Some("editor"));
    let key = "app-key-0123456789";
    admin.made("source", "app", json!({"kind": "http"}));
    let made = admin.ask("POST", "/api/v1/sources/app/write-keys", &json!({"name": "first", "value": key}));
    assert_eq!(made.status, 201, "{}", made.text());
    admin.made("destination", "db", json!({"kind": "sqlite", "path": "DATA/other.db"}));
    admin.made("sync", "app-to-db", json!({"source": "app", "destination": "db"}));
    let page = |id: &str| {
        let body = json!({"type": "page", "messageId": id, "userId": "u"}).to_string();
        let reply = request(&server.address, "POST", "/v1/page", &[("authorization", &basic(key))], body.as_bytes());
        assert_eq!(reply.status, 200, "{}", reply.text());
    };
    page("a");
    wait(&workspace, "it is delivered", |status| status["syncs"]["app-to-db"]["delivered"] == 1);
    let held = Connection::open(workspace.data().join("other.db")).unwrap();
    held.execute_batch("BEGIN EXCLUSIVE").unwrap();
    page("b");
    let edit = json!({"action": "delete", "kind": "sync", "object": "app-to-db"});
    let proposed = author.ask("POST", "/api/v1/drafts", &json!({"title": "no sync", "edits": [edit]}));
    assert_eq!(proposed.status, 200, "{}", proposed.text());
    let path = format!("/api/v1/drafts/{}/approve", proposed.json()["id"].as_str().unwrap());
    let approve = |how: &str| editor.ask("POST", &format!("{path}{how}"), &Value::Null);
    assert_eq!(approve("").code(), "409 needs-ending");
    assert_eq!(approve("?drain=true&abandon=true").code(), "422 two-endings");
    let named = |body: &Value| editor.ask("POST", &path, body);
    assert_eq!(named(&json!({"drain": ["app-to-db"], "abandon": ["app-to-db"]})).code(), "422 two-endings");
    assert_eq!(named(&json!({"drain": ["nosuch"]})).code(), "422 cannot-run");
    // What the draft does not touch is not given up by it.
    assert_eq!(named(&json!({"abandon": ["web-to-warehouse"]})).code(), "403 forbidden");
    let approved = named(&json!({"drain": ["app-to-db"]}));
    assert_eq!(approved.status, 200, "{}", approved.text());
    assert_eq!(workspace.status()["endings"]["ending"]["app-to-db"]["how"], "drain");
    // The sync is in no folder and in no catalog any more, so nobody has rights on it.
    let give_up = json!({"documents": [], "abandon": ["app-to-db"]});
    assert_eq!(editor.ask("POST", "/api/v1/apply", &give_up).code(), "403 forbidden");
    let given_up = admin.ask("POST", "/api/v1/apply", &give_up);
    assert_eq!(given_up.status, 200, "{}", given_up.text());
    wait(&workspace, "it ends", |status| status["endings"]["ended"][0]["abandoned"] == 1);
    drop(held);
    server.stop();
}
