//! Who may do what, for every operation that the document of a running server has.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{ApiCaller, served};
use crate::support::Server;
use crate::support::http::request;

/// The statuses for: the admin token, an editor, a draft editor, a viewer, somebody without a role. Each operation is asked of what
/// the test makes: the lookup `geo` for `{kind}/{name}`, a draft that is not there, the secret `crm`.
const EXPECTED: [(&str, [u16; 5]); 27] = [
    ("GET /api/v1/whoami", [200, 200, 200, 200, 200]),
    ("GET /api/v1/objects/{kind}", [200, 200, 200, 200, 200]),
    ("POST /api/v1/objects/{kind}", [200, 200, 403, 403, 404]),
    ("GET /api/v1/objects/{kind}/{name}", [200, 200, 200, 200, 404]),
    ("PUT /api/v1/objects/{kind}/{name}", [200, 200, 403, 403, 404]),
    ("DELETE /api/v1/objects/{kind}/{name}", [200, 200, 403, 403, 404]),
    ("GET /api/v1/objects/{kind}/{name}/history", [200, 200, 200, 200, 404]),
    ("GET /api/v1/objects/{kind}/{name}/diff", [200, 200, 200, 200, 404]),
    ("GET /api/v1/objects/{kind}/{name}/used-by", [200, 200, 200, 200, 404]),
    ("POST /api/v1/objects/{kind}/{name}/release", [200, 200, 403, 403, 404]),
    ("POST /api/v1/objects/{kind}/{name}/adopt", [200, 200, 403, 403, 404]),
    ("PUT /api/v1/secrets/{name}", [200, 200, 403, 403, 404]),
    ("POST /api/v1/plans", [200, 200, 200, 200, 200]),
    // A folder of nothing changes nothing.
    ("POST /api/v1/apply", [200, 200, 200, 200, 200]),
    ("GET /api/v1/running", [200, 200, 200, 200, 200]),
    ("GET /api/v1/blobs/{sha256}", [404, 404, 404, 404, 404]),
    ("PUT /api/v1/blobs/{sha256}", [422, 422, 403, 403, 404]),
    ("GET /api/v1/drafts", [200, 200, 200, 200, 200]),
    ("POST /api/v1/drafts", [403, 200, 200, 403, 404]),
    ("GET /api/v1/drafts/{name}", [404, 404, 404, 404, 404]),
    ("POST /api/v1/drafts/{name}/approve", [403, 404, 404, 404, 404]),
    ("POST /api/v1/drafts/{name}/close", [403, 404, 404, 404, 404]),
    ("GET /api/v1/tokens", [200, 200, 200, 200, 200]),
    // A token makes no tokens.
    ("POST /api/v1/tokens", [201, 403, 403, 403, 403]),
    ("GET /api/v1/audit", [200, 403, 403, 403, 404]),
    ("GET /api/v1/audit/export", [200, 403, 403, 403, 404]),
    ("POST /api/v1/audit/verify", [200, 404, 404, 404, 404]),
];

/// A query that changes nothing, where there is one.
fn dry(operation: &str) -> &'static str {
    let changes = operation.contains("/objects/") && !operation.starts_with("GET");
    if changes {
        "?dry_run=true"
    } else if operation.contains("/audit/verify") {
        ""
    } else {
        "?workspace=default"
    }
}

fn body(operation: &str, at: usize) -> Value {
    let object = json!({"name": format!("new-{at}"), "spec": {"kind": "table", "entries": {}}});
    match operation {
        "POST /api/v1/objects/{kind}" => object,
        "PUT /api/v1/objects/{kind}/{name}" => json!({"name": "geo", "spec": {"kind": "table", "entries": {"a": 1}}}),
        "PUT /api/v1/secrets/{name}" => json!({"value": format!("value {at}")}),
        "POST /api/v1/plans" | "POST /api/v1/apply" => json!({"documents": []}),
        "POST /api/v1/drafts" => {
            json!({"title": "t", "edits": [{"action": "create", "kind": "lookup", "content": object}]})
        }
        "POST /api/v1/tokens" => json!({"name": format!("token {at}")}),
        "POST /api/v1/audit/verify" => json!({}),
        _ => Value::Null,
    }
}

/// The operations below `/api/v1` of a running server.
fn operations(admin: &ApiCaller) -> Vec<String> {
    let document = admin.get("/api/openapi.json");
    let mut found = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        if path.starts_with("/api/v1/") {
            found.extend(
                operations.as_object().unwrap().keys().map(|method| format!("{} {path}", method.to_uppercase())),
            );
        }
    }
    found
}

#[test]
fn every_operation_of_the_document_is_answered_to_those_who_may_have_it_and_to_nobody_else() {
    let (_workspace, server, admin) = served();
    let mut found = operations(&admin);
    let mut known: Vec<&str> = EXPECTED.iter().map(|(operation, _)| *operation).collect();
    found.sort();
    known.sort_unstable();
    assert_eq!(found, known, "an operation without a row here is tried by nobody");
    admin.made("lookup", "geo", json!({"kind": "table", "entries": {}}));
    assert_eq!(admin.ask("PUT", "/api/v1/secrets/crm", &json!({"value": "x"})).status, 200);
    let editor = admin.user(&server, "ed", Some("editor"));
    let author = admin.user(&server, "dora", Some("draft_editor"));
    let viewer = admin.user(&server, "vera", Some("viewer"));
    let nobody = admin.user(&server, "noa", None);
    let mut wrong = BTreeMap::new();
    for (operation, statuses) in EXPECTED {
        let (method, path) = operation.split_once(' ').unwrap();
        let name = if path.contains("/drafts/") { "drf_00000000000000000000" } else { "geo" };
        let name = if path.contains("/secrets/") { "crm" } else { name };
        let path = path.replace("{sha256}", &"0".repeat(64));
        let path = path.replace("{kind}", "lookup").replace("{name}", name) + dry(operation);
        let without = request(&server.admin, method, &path, &[], b"");
        assert_eq!(without.code(), "401 no-token", "{operation}");
        for (at, caller) in [&admin, &editor, &author, &viewer, &nobody].into_iter().enumerate() {
            let reply = caller.ask(method, &path, &body(operation, at));
            if reply.status != statuses[at] {
                wrong.insert((operation, at), (reply.status, statuses[at], reply.text()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    server.stop();
}

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
