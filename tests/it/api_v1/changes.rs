//! Objects are changed once, by whoever saw them last, and never behind a file's back.

use serde_json::{Value, json};

use super::{ApiCaller, served};
use crate::support::Workspace;

const CANARY: &str = "canary-hunter2-canary";

#[test]
fn who_changes_what_somebody_else_has_changed_meanwhile_is_told() {
    let (_workspace, server, admin) = served();
    admin.made("user", "ann", json!({}));
    let shown = admin.ask("GET", "/api/v1/objects/user/ann", &Value::Null);
    let tag = shown.header("etag").unwrap().to_owned();
    assert_eq!(tag, format!("\"{}\"", shown.json()["revision"]));
    let with = |tag: &str, email: &str| {
        let body = json!({"name": "ann", "spec": {"email": email}});
        admin.send("PUT", "/api/v1/objects/user/ann", &[("if-match", tag)], &body)
    };
    let changed = with(&tag, "ann@one.example");
    assert_eq!(changed.status, 200, "{}", changed.text());
    let newer = changed.header("etag").unwrap().to_owned();
    assert_ne!(newer, tag);
    assert_eq!(with(&tag, "ann@two.example").code(), "412 conflict");
    let deleted = admin.send("DELETE", "/api/v1/objects/user/ann", &[("if-match", &tag)], &Value::Null);
    assert_eq!(deleted.code(), "412 conflict");
    assert_eq!(with("12", "x").code(), "400 if-match");
    assert_eq!(with(&newer, "ann@two.example").status, 200);
    assert_eq!(with("*", "ann@three.example").status, 200);
    let history = admin.get("/api/v1/objects/user/ann/history");
    let emails: Vec<&Value> =
        history["versions"].as_array().unwrap().iter().map(|version| &version["object"]["spec"]["email"]).collect();
    assert_eq!(
        emails,
        [&json!("ann@three.example"), &json!("ann@two.example"), &json!("ann@one.example"), &json!(null)]
    );
    let diff = admin.get("/api/v1/objects/user/ann/diff");
    assert_eq!(
        diff["fields"],
        json!([{"field": "/spec/email", "before": "ann@two.example", "after": "ann@three.example"}])
    );
    let beyond = admin.ask("GET", "/api/v1/objects/user/ann/diff?to=999999", &Value::Null);
    assert_eq!(beyond.code(), "400 no-such-revision");
    let id = admin.get("/api/v1/objects/user/ann")["id"].as_str().unwrap().to_owned();
    assert_eq!(admin.ask("DELETE", "/api/v1/objects/user/ann", &Value::Null).status, 200);
    assert_eq!(admin.ask("GET", &format!("/api/v1/objects/user/{id}"), &Value::Null).code(), "404 no-such-object");
    let history = admin.get(&format!("/api/v1/objects/user/{id}/history"));
    assert_eq!((&history["versions"][0]["deleted"], history["versions"].as_array().unwrap().len()), (&json!(true), 5));
    server.stop();
}

#[test]
fn a_request_that_comes_again_gets_the_first_answer_and_a_dry_run_changes_nothing() {
    let (workspace, server, admin) = served();
    let body = json!({"name": "ann", "spec": {}});
    let before = workspace.status()["catalog"]["revision"].clone();
    let dry = admin.ask("POST", "/api/v1/objects/user?dry_run=true", &body);
    assert_eq!((dry.status, &dry.json()["dry_run"]), (200, &json!(true)), "{}", dry.text());
    assert_eq!(workspace.status()["catalog"]["revision"], before);
    let make = |key: &str, body: &Value| admin.send("POST", "/api/v1/objects/user", &[("idempotency-key", key)], body);
    let first = make("one", &body);
    assert_eq!(first.status, 201, "{}", first.text());
    let again = make("one", &body).json();
    assert_eq!((&again["repeated"], &again["objects"]), (&json!(true), &first.json()["objects"]));
    assert_eq!(make("one", &json!({"name": "bob", "spec": {}})).code(), "422 idempotency-key");
    assert_eq!(make("two", &body).code(), "409 name-taken");
    let located = first.header("location").unwrap().to_owned();
    assert_eq!(admin.get(&located)["name"], "ann");
    server.stop();
}

#[test]
fn a_problem_names_the_field_and_the_fix() {
    let (_workspace, server, admin) = served();
    for (method, path, body, code, field) in [
        ("POST", "user", json!({"name": "", "spec": {}}), "422 content", "name"),
        ("POST", "user", json!({"name": "a", "spec": {"color": 1}}), "422 content", "spec"),
        ("POST", "user", json!({"name": "a", "spec": {}, "owner": "x"}), "422 owner", "owner"),
        ("POST", "user", json!({"name": "a", "labels": {"a b": "c"}, "spec": {}}), "422 content", "labels"),
        ("POST", "user", json!({"name": 1, "spec": {}}), "400 body", "name"),
        ("POST", "source?workspace=Nowhere", json!({"name": "a", "spec": {}}), "422 content", "workspace"),
        ("POST", "sync", json!({"name": "a", "spec": {"source": "nosuch"}}), "422 dangling", "spec"),
        ("POST", "gadget", json!({"name": "a", "spec": {}}), "404 no-such-kind", "kind"),
        ("GET", "source?cursor=x", Value::Null, "400 cursor", "cursor"),
        ("GET", "source?label=x", Value::Null, "400 label", "label"),
        (
            "POST",
            "destination",
            json!({"name": "a", "spec": {"password": CANARY}}),
            "422 written-secret",
            "spec.password",
        ),
    ] {
        let reply = admin.ask(method, &format!("/api/v1/objects/{path}"), &body);
        let problem = reply.json();
        assert_eq!((reply.code().as_str(), problem["field"].as_str()), (code, Some(field)), "{body}: {problem}");
        assert!(!problem["fix"].as_str().unwrap().is_empty() && !problem.to_string().contains(CANARY), "{problem}");
    }
    for kind in ["secret", "token", "write-key"] {
        let reply = admin.ask("POST", &format!("/api/v1/objects/{kind}"), &json!({"name": "a", "spec": {}}));
        assert_eq!(reply.code(), "422 not-this-way", "{kind}");
    }
    server.stop();
}

#[test]
fn what_a_folder_manages_is_changed_by_its_file_unless_it_is_released() {
    let (workspace, server, admin) = served();
    let shown = admin.get("/api/v1/objects/source/web");
    assert_eq!(shown["managed_by"]["file"], "sources/web.yaml");
    let body = json!({"name": "web", "spec": {"kind": "http", "rate": "10/s"}});
    let put = |more: &str| admin.ask("PUT", &format!("/api/v1/objects/source/web{more}"), &body);
    let refused = put("");
    assert_eq!(refused.code(), "409 managed-by-file");
    assert!(refused.json()["detail"].as_str().unwrap().contains("sources/web.yaml"), "{}", refused.text());
    assert_eq!(admin.ask("DELETE", "/api/v1/objects/source/web", &Value::Null).code(), "409 managed-by-file");
    assert_eq!(put("?force=true").status, 200);
    assert_eq!(admin.get("/api/v1/objects/source/web")["managed_by"]["drifted"], true);
    server.stop();
    // The next start undoes it: the file counts.
    let server = workspace.serve();
    let admin = ApiCaller { address: server.admin.clone(), ..admin };
    let shown = admin.get("/api/v1/objects/source/web");
    assert_eq!((&shown["managed_by"]["drifted"], &shown["spec"]["rate"]), (&json!(false), &Value::Null));
    let released = admin.ask("POST", "/api/v1/objects/source/web/release", &Value::Null);
    assert_eq!(released.status, 200, "{}", released.text());
    let put = admin.ask("PUT", "/api/v1/objects/source/web", &body);
    assert_eq!(put.status, 200, "{}", put.text());
    server.stop();
    let server = workspace.serve();
    let admin = ApiCaller { address: server.admin.clone(), ..admin };
    let shown = admin.get("/api/v1/objects/source/web");
    assert_eq!((&shown["managed_by"], &shown["spec"]["rate"]), (&Value::Null, &json!("10/s")));
    server.stop();
}

/// Every answer that is given without changing anything, for whoever may see everything.
fn answers(admin: &ApiCaller) -> String {
    let mut all = String::new();
    for kind in ["source", "destination", "sync", "secret", "user", "group", "token", "domain", "event"] {
        let listed = admin.get(&format!("/api/v1/objects/{kind}"));
        for object in listed["objects"].as_array().unwrap() {
            let path = format!("/api/v1/objects/{kind}/{}", object["id"].as_str().unwrap());
            for more in ["", "/history", "/diff?from=0", "/used-by"] {
                all += &admin.get(&format!("{path}{more}")).to_string();
            }
        }
        all += &listed.to_string();
    }
    for path in ["/api/v1/tokens", "/api/v1/drafts", "/api/v1/audit", "/api/v1/whoami", "/api/openapi.json"] {
        all += &admin.get(path).to_string();
    }
    all + &admin.ask("GET", "/api/v1/audit/export?limit=1000", &Value::Null).text()
}

#[test]
fn a_secret_is_written_and_named_and_comes_back_in_no_answer() {
    let workspace = Workspace::new();
    let key = format!("{CANARY}-key");
    workspace.write("sources/web.yaml", &format!("kind: http\nwrite_key: {key}\n"));
    let far = format!("kind: postgres\nurl: postgres://ann:{CANARY}@127.0.0.1:1/shop\nsslmode: disable\n");
    workspace.write("destinations/far.yaml", &far);
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = ApiCaller::new(&server, &token);
    let written = admin.ask("PUT", "/api/v1/secrets/crm", &json!({"value": CANARY}));
    assert_eq!(written.status, 200, "{}", written.text());
    let revision = written.json()["revision"].clone();
    let again = admin.ask("PUT", "/api/v1/secrets/crm", &json!({"value": CANARY})).json();
    assert_eq!((&again["revision"], &again["objects"][0]["done"]), (&revision, &json!("unchanged")));
    let spec =
        json!({"kind": "postgres", "host": "127.0.0.1", "user": "ann", "dbname": "shop", "password": "secret:crm"});
    admin.made("destination", "crm", spec);
    let used = admin.get("/api/v1/objects/secret/crm/used-by");
    assert_eq!(used["objects"], json!([{"kind": "destination", "name": "crm"}]));
    let deleted = admin.ask("DELETE", "/api/v1/objects/secret/crm", &Value::Null);
    assert_eq!(deleted.code(), "409 in-use");
    let unknown = json!({"name": "b", "spec": {"token": "secret:nosuch"}});
    assert_eq!(admin.ask("POST", "/api/v1/objects/destination", &unknown).code(), "422 dangling");
    let wrong = admin.ask("PUT", "/api/v1/secrets/crm", &json!({"value": CANARY, "else": CANARY}));
    assert_eq!((wrong.code(), wrong.text().contains(CANARY)), ("400 body".to_owned(), false), "{}", wrong.text());
    let all = answers(&admin);
    assert!(all.contains("secret:crm") && all.contains("postgres://ann:(secret "), "{all}");
    assert!(!all.contains(CANARY), "{all}");
    let said = server.stop();
    assert!(!said.contains(CANARY), "{said}");
}

#[test]
fn a_list_goes_on_page_by_page_and_shows_what_was_asked_for() {
    let (_workspace, server, admin) = served();
    for name in ["geo-1", "geo-2", "geo-3", "prices"] {
        let labels = json!({"team": if name == "prices" { "shop" } else { "web" }});
        let body = json!({"name": name, "labels": labels, "spec": {"kind": "table", "entries": {}}});
        assert_eq!(admin.ask("POST", "/api/v1/objects/lookup", &body).status, 201);
    }
    let (mut names, mut cursor) = (Vec::new(), String::new());
    for _ in 0..2 {
        let page = admin.get(&format!("/api/v1/objects/lookup?limit=2{cursor}"));
        let objects = page["objects"].as_array().unwrap();
        assert_eq!(objects.len(), 2, "{page}");
        names.extend(objects.iter().map(|object| object["name"].as_str().unwrap().to_owned()));
        cursor = page["next"].as_str().map(|next| format!("&cursor={next}")).unwrap_or_default();
    }
    assert_eq!((names.join(" "), cursor.as_str()), ("geo-1 geo-2 geo-3 prices".to_owned(), ""));
    let count = |query: &str| {
        let listed = admin.get(&format!("/api/v1/objects/{query}"));
        listed["objects"].as_array().unwrap().len()
    };
    assert_eq!(count("lookup?prefix=geo"), 3);
    assert_eq!((count("lookup?q=RIC"), count("lookup?q=-"), count("lookup?q=%25")), (1, 3, 0));
    assert_eq!(count("lookup?label=team%3Dshop"), 1);
    assert_eq!((count("source?managed_by=folder"), count("source?managed_by=nobody")), (1, 0));
    assert_eq!((count("lookup?managed_by=folder"), count("lookup?workspace=elsewhere")), (0, 0));
    assert_eq!(count("user"), 1, "the first admin");
    server.stop();
}
