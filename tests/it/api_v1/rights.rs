//! What roles of one's own and tokens open.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{ApiCaller, served};
use crate::support::Server;
use crate::support::waiting::until;

/// The names of the objects of a kind that somebody sees.
fn seen(caller: &ApiCaller, kind: &str) -> Vec<String> {
    let listed = caller.get(&format!("/api/v1/objects/{kind}"));
    let names = listed["objects"].as_array().unwrap().iter();
    names.map(|object| object["name"].as_str().unwrap().to_owned()).collect()
}

fn custom(admin: &ApiCaller, server: &Server, name: &str, grants: Value) -> ApiCaller {
    admin.made("role", name, grants);
    admin.user(server, &format!("of {name}"), Some(name))
}

#[test]
fn a_custom_role_sees_and_changes_what_it_was_granted_alone() {
    let (_workspace, server, admin) = served();
    admin.made("lookup", "geo", json!({"kind": "table", "entries": {}}));
    let labelled = json!({"name": "prices", "labels": {"team": "shop"}, "spec": {"kind": "table", "entries": {}}});
    assert_eq!(admin.ask("POST", "/api/v1/objects/lookup", &labelled).status, 201);
    let on_label = json!({"level": "manage", "on": {"kind": "lookup", "label": "team=shop"}});
    let shop = custom(&admin, &server, "shop", json!({"access": [on_label]}));
    assert_eq!(seen(&shop, "lookup"), ["prices"]);
    assert_eq!(seen(&shop, "source"), Vec::<String>::new());
    let put = |name: &str| {
        let body = json!({"name": name, "labels": {"team": "shop"}, "spec": {"kind": "table", "entries": {"a": 1}}});
        shop.ask("PUT", &format!("/api/v1/objects/lookup/{name}"), &body).code()
    };
    assert_eq!((put("prices"), put("geo")), ("200".to_owned(), "404 no-such-object".to_owned()));
    assert_eq!(shop.ask("GET", "/admin/functions", &Value::Null).code(), "403 forbidden");
    let view = json!([{"level": "view", "on": {"kind": "source"}}]);
    let source = custom(&admin, &server, "source", json!({"access": view}));
    // A sync is seen by who sees either end, and changed by who may connect both.
    assert_eq!(seen(&source, "sync"), ["web-to-warehouse"]);
    let released = source.ask("POST", "/api/v1/objects/sync/web-to-warehouse/release", &Value::Null);
    assert_eq!(released.code(), "403 forbidden");
    assert!(released.json()["detail"].as_str().unwrap().contains("`connect`"), "{}", released.text());
    let entries = admin.get("/api/v1/audit?result=denied");
    let denied = entries["entries"].as_array().unwrap().iter().any(|entry| entry["name"] == "web-to-warehouse");
    assert!(denied, "{entries}");
    server.stop();
}

#[test]
fn a_folder_tells_nothing_of_what_may_not_be_viewed_and_each_denial_is_in_the_log() {
    let (_workspace, server, admin) = served();
    let folder = |value: u8| {
        let document = json!({"kind": "table", "entries": {"a": value}});
        json!({"documents": [{"kind": "lookup", "key": "geo", "document": document}]})
    };
    let applied = admin.ask("POST", "/api/v1/apply", &folder(1));
    assert_eq!(applied.status, 200, "{}", applied.text());
    let maker = custom(&admin, &server, "maker", json!({"create": ["lookup"]}));
    for guess in [1, 2] {
        let applied = maker.ask("POST", "/api/v1/apply", &folder(guess));
        assert_eq!(applied.code(), "404 no-such-object", "{}", applied.text());
        let planned = maker.ask("POST", "/api/v1/plans", &folder(guess)).json();
        assert_eq!((&planned["hidden"], &planned["changes"]), (&json!(1), &json!([])), "{planned}");
    }
    // A token makes no tokens.
    assert_eq!(maker.ask("POST", "/api/v1/tokens", &json!({"name": "more"})).code(), "403 forbidden");
    let viewer = custom(&admin, &server, "viewer of all", json!({"access": [{"level": "view", "on": {}}]}));
    let blob = format!("/api/v1/blobs/{}", "0".repeat(64));
    assert_eq!(viewer.ask("PUT", &blob, &Value::Null).code(), "403 forbidden");
    let entries = admin.get("/api/v1/audit?result=denied")["entries"].clone();
    let actions = entries.as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap());
    assert_eq!(actions.collect::<Vec<_>>(), ["create", "create", "update", "update"], "{entries}");
    server.stop();
}

#[test]
fn a_token_that_is_revoked_or_whose_user_is_disabled_opens_nothing() {
    let (_workspace, server, admin) = served();
    let (one, two) = (admin.user(&server, "ann", Some("viewer")), admin.user(&server, "bob", Some("viewer")));
    assert_eq!(one.get("/api/v1/whoami")["admin"], false);
    let revoked = admin.ask("DELETE", "/api/v1/objects/token/of%20ann", &Value::Null);
    assert_eq!(revoked.status, 200, "{}", revoked.text());
    assert_eq!(one.ask("GET", "/api/v1/whoami", &Value::Null).code(), "401 wrong-token");
    let disable = json!({"name": "bob", "spec": {"is_disabled": true}});
    assert_eq!(admin.ask("PUT", "/api/v1/objects/user/bob", &disable).status, 200);
    assert_eq!(two.ask("GET", "/api/v1/whoami", &Value::Null).code(), "401 wrong-token");
    let listed = admin.get("/api/v1/tokens");
    assert!(listed["tokens"].as_array().unwrap().iter().all(|token| token["name"] != "of ann"), "{listed}");
    let admin_user = json!({"name": "admin", "spec": {"is_disabled": true}});
    assert_eq!(admin.ask("PUT", "/api/v1/objects/user/admin", &admin_user).code(), "409 last-admin");
    server.stop();
}

#[test]
fn who_did_something_is_told_by_name() {
    let (_workspace, server, admin) = served();
    let editor = admin.user(&server, "ed", Some("editor"));
    let by = json!("token of ed of ed");
    editor.made("lookup", "geo", json!({"kind": "table", "entries": {}}));
    let person = admin.get("/api/v1/objects/user/ed")["id"].clone();
    let shown = editor.get("/api/v1/objects/lookup/geo");
    assert_eq!((&shown["owner"], &shown["owner_name"]), (&person, &json!("ed")), "the token ends, ed stays");
    assert_eq!(editor.ask("PUT", "/api/v1/secrets/crm", &json!({"value": "x"})).status, 200);
    assert_eq!(editor.get("/api/v1/secrets")["secrets"][0]["changed_by_name"], by);
    let edit = json!({"action": "delete", "kind": "lookup", "object": "geo"});
    let draft = editor.ask("POST", "/api/v1/drafts", &json!({"title": "no table", "edits": [edit]}));
    assert_eq!(draft.json()["author_name"], by, "{}", draft.text());
    let named =
        |list: &Value, name: &str| list.as_array().unwrap().iter().find(|it| it["name"] == name).cloned().unwrap();
    assert_eq!(named(&admin.get("/api/v1/tokens")["tokens"], "of ed")["maker_name"], "ed");
    let entries = admin.get("/api/v1/audit?action=created")["entries"].clone();
    assert_eq!((&named(&entries, "geo")["who"], &named(&entries, "ed")["who"]), (&by, &json!("the admin token")));
    // What a program's token makes is the token's, and is found with what its person owns.
    let made = admin.ask("POST", "/api/v1/tokens", &json!({"name": "ci", "user": "ed", "form": "service"}));
    let program = ApiCaller::new(&server, made.json()["token"].as_str().unwrap());
    program.made("lookup", "names", json!({"kind": "table", "entries": {}}));
    let owned = admin.get(&format!("/api/v1/objects/lookup?owner={}", person.as_str().unwrap()));
    let owners: Vec<&Value> = owned["objects"].as_array().unwrap().iter().map(|object| &object["owner_name"]).collect();
    assert_eq!(owners, [&json!("ed"), &json!("token ci of ed")], "{owned}");
    // A token that is gone still has its name.
    assert_eq!(admin.ask("DELETE", "/api/v1/objects/token/of%20ed", &Value::Null).status, 200);
    assert_eq!(admin.get("/api/v1/objects/lookup/geo/history")["versions"][0]["changed_by_name"], by);
    server.stop();
}

#[test]
fn who_has_asked_for_a_job_or_muted_an_alert_is_told_by_name() {
    let (_workspace, server, admin) = served();
    let ann = admin.user(&server, "ann", Some("admin"));
    let subjects = json!([{"kind": "user", "value": "u-1"}]);
    assert_eq!(ann.ask("POST", "/api/v1/privacy/suppress", &json!({"subjects": subjects})).status, 200);
    let jobs = [
        ("privacy/forget", json!({"subjects": subjects, "dry_run": true})),
        ("quarantine/retry", json!({"entries": {"all": true}})),
        ("replays", json!({"sync": "web-to-warehouse", "from": "beginning", "dry_run": true})),
        ("syncs/web-to-warehouse/rebuild", json!({"from": "beginning", "dry_run": true})),
    ];
    for (path, body) in &jobs {
        let begun = ann.ask("POST", &format!("/api/v1/{path}"), body);
        assert_eq!((begun.status, &begun.json()["asked_by_name"]), (200, &json!("ann")), "{path}: {}", begun.text());
    }
    let person = admin.get("/api/v1/objects/user/ann")["id"].clone();
    for (path, list) in [
        ("privacy/suppressed", "subjects"),
        ("privacy/jobs", "jobs"),
        ("quarantine/jobs", "jobs"),
        ("replays", "replays"),
        ("rebuilds", "rebuilds"),
    ] {
        let one = admin.get(&format!("/api/v1/{path}"))[list][0].clone();
        assert_eq!((&one["asked_by"], &one["asked_by_name"]), (&person, &json!("ann")), "{path}");
    }
    ann.made("alert", "room", json!({"condition": "disk"}));
    until("the alert runs", || ann.ask("POST", "/api/v1/alerts/room/mute", &json!({"for": "2 h"})).status == 200);
    let muted = admin.get("/api/v1/alert-history?alert=room")["entries"][0].clone();
    assert_eq!((&muted["what"], &muted["by"], &muted["by_name"]), (&json!("muted"), &person, &json!("ann")), "{muted}");
    assert!(muted["text"].as_str().unwrap().starts_with("by ann, until "), "{muted}");
    server.stop();
}

#[test]
fn a_role_stays_as_long_as_a_group_names_it() {
    let (_workspace, server, admin) = served();
    let grants = json!({"access": [{"level": "view", "on": {"kind": "source"}}]});
    let ops = custom(&admin, &server, "ops", grants.clone());
    let role = "/api/v1/objects/role/ops";
    let refused = admin.ask("DELETE", role, &Value::Null);
    assert_eq!(refused.code(), "409 in-use", "{}", refused.text());
    assert!(refused.text().contains("the group \\\"of opss\\\""), "{}", refused.text());
    let renamed = admin.ask("PUT", role, &json!({"name": "operators", "spec": grants}));
    assert_eq!(renamed.code(), "409 in-use", "{}", renamed.text());
    let used_by = admin.get(&format!("{role}/used-by"));
    assert_eq!(used_by["objects"], json!([{"kind": "group", "name": "of opss"}]), "{used_by}");
    assert_eq!(seen(&ops, "source"), ["web"]);
    // A role of the same name in another workspace is another one; under `*` that of the server is meant.
    let elsewhere = |workspace: &str| format!("/api/v1/objects/role?workspace={workspace}");
    let body = json!({"name": "ops", "spec": grants});
    for workspace in ["elsewhere", "_server"] {
        assert_eq!(admin.ask("POST", &elsewhere(workspace), &body).status, 201, "{workspace}");
    }
    admin.made("group", "everywhere", json!({"members": [], "roles": {"*": "ops"}}));
    let delete = |workspace: &str| admin.ask("DELETE", &format!("{role}?workspace={workspace}"), &Value::Null).code();
    assert_eq!((delete("elsewhere"), delete("_server")), ("200".to_owned(), "409 in-use".to_owned()));
    assert_eq!(admin.ask("DELETE", "/api/v1/objects/group/of%20opss", &Value::Null).status, 200);
    assert_eq!(delete("default"), "200");
    server.stop();
}

#[test]
fn a_file_is_named_and_read_by_who_has_sent_it_or_may_view_what_names_it() {
    let (_workspace, server, admin) = served();
    let content = json!({"a": "canary-of-names"});
    let sha256 = format!("{:x}", Sha256::digest(content.to_string()));
    let blob = format!("/api/v1/blobs/{sha256}");
    let maker = custom(&admin, &server, "maker", json!({"create": ["lookup"]}));
    let other = custom(&admin, &server, "other", json!({"create": ["lookup"]}));
    let viewer =
        custom(&admin, &server, "viewer of lookups", json!({"access": [{"level": "view", "on": {"kind": "lookup"}}]}));
    let spec = json!({"kind": "table", "path": "names.json", "$files": {"names.json": sha256}});
    let made =
        |by: &ApiCaller, name: &str| by.ask("POST", "/api/v1/objects/lookup", &json!({"name": name, "spec": spec}));
    assert_eq!(maker.ask("PUT", &blob, &content).status, 201);
    assert_eq!(maker.get(&blob), content, "who has sent it");
    // To name it would be to read it.
    let document = json!({"kind": "lookup", "key": "stolen", "document": {"kind": "table", "path": "names.json"}});
    let folder = json!({"documents": [document], "files": {"names.json": sha256}});
    let guess = json!({"documents": [document], "files": {"names.json": "0".repeat(64)}});
    let edit = json!({"action": "create", "kind": "lookup", "content": {"name": "stolen", "spec": spec}});
    for refused in [
        made(&other, "stolen"),
        other.ask("POST", "/api/v1/apply", &folder),
        other.ask("POST", "/api/v1/apply", &guess),
        other.ask("POST", "/api/v1/drafts", &json!({"title": "stolen", "edits": [edit]})),
    ] {
        assert_eq!(refused.code(), "422 missing-files", "{}", refused.text());
    }
    for caller in [&other, &viewer] {
        assert_eq!(caller.ask("GET", &blob, &Value::Null).code(), "404 no-such-object");
    }
    let created = made(&maker, "names");
    assert_eq!(created.status, 201, "{}", created.text());
    assert_eq!(viewer.get(&blob), content, "who may view what names it");
    assert_eq!(other.ask("GET", &blob, &Value::Null).code(), "404 no-such-object");
    // Who has it as well may send it, and then name it.
    assert_eq!(other.ask("PUT", &blob, &content).status, 200);
    let created = made(&other, "own");
    assert_eq!(created.status, 201, "{}", created.text());
    server.stop();
}
